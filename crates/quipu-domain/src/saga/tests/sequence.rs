//! Steps one after the other: done, refused, timed out, undone.

use super::instance::{Instance, plan};
use crate::saga::{Outcome, Status, What};

/// The saga of the documentation.
const ORDER: &str = include_str!("order.json");

fn order() -> Instance {
    let mut instance = Instance::new(plan(&serde_json::from_str(ORDER).unwrap()));
    instance.start();
    instance
}

#[test]
fn an_order_is_fulfilled() {
    order()
        .sends(&["inventory.reserve 1.0/1"])
        .event("inventory.reserved", "1.0/1")
        .sends(&["payment.charge 2.0/1"])
        .event("payment.charged.v2", "2.0/1")
        .sends(&["shipment.create 3.0/1"])
        .is(Status::Running)
        .event("shipment.created", "")
        .sends(&["order.fulfilled end/1"])
        .is(Status::Ended(Outcome::Completed))
        .noted(What::Ended);
}

#[test]
fn a_payment_that_is_declined_releases_the_inventory_and_refunds_nothing() {
    order()
        .event("inventory.reserved", "1.0/1")
        .event("payment.declined", "2.0/1")
        .sends(&["inventory.reserve 1.0/1", "payment.charge 2.0/1", "inventory.release 1.0/c/1", "order.failed end/1"])
        .is(Status::Ended(Outcome::Compensated));
}

#[test]
fn a_shipment_that_times_out_is_cancelled_too_since_it_may_have_been_made() {
    order()
        .event("inventory.reserved", "1.0/1")
        .event("payment.charged", "2.0/1")
        .wait(86_400_000 - 1)
        .is(Status::Running)
        .wait(1)
        .sends(&[
            "inventory.reserve 1.0/1",
            "payment.charge 2.0/1",
            "shipment.create 3.0/1",
            "shipment.cancel 3.0/c/1",
            "payment.refund 2.0/c/1",
            "inventory.release 1.0/c/1",
            "order.failed end/1",
        ])
        .is(Status::Ended(Outcome::Compensated));
}

#[test]
fn a_step_that_nobody_answers_is_tried_again_as_often_as_it_says() {
    order()
        .wait(30_000)
        .sends(&["inventory.reserve 1.0/1"])
        .wait(1_000)
        .sends(&["inventory.reserve 1.0/2"])
        .wait(30_000 + 2_000)
        .sends(&["inventory.reserve 1.0/3"])
        .wait(30_000)
        .sends(&["inventory.release 1.0/c/1", "order.failed end/1"]);
}
