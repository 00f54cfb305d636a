//! The rules: what may be asked of an order, what happens then, and what becomes of it.

use quipu::Aggregate;
use serde::{Deserialize, Serialize};

/// An order, as far as its rules need to know it.
#[derive(Debug, Default, Serialize, Deserialize)]
pub struct Order {
    status: Status,
    cents: u64,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
enum Status {
    #[default]
    Unknown,
    Open,
    Paid,
    Shipped,
}

/// What may be asked of an order.
pub enum Command {
    /// Begin one.
    Create {
        /// Whose it is.
        customer: String,
    },
    /// Put something into it.
    AddItem {
        /// What.
        sku: String,
        /// What one costs.
        cents: u64,
        /// How many.
        quantity: u64,
    },
    /// Pay it.
    Pay,
    /// Send it away.
    Ship,
}

/// What happens to an order. Each variant is an event type, and its fields are the event's data.
#[derive(Debug, PartialEq, Serialize, Deserialize)]
pub enum Event {
    /// It was begun.
    OrderCreated {
        /// Whose it is.
        customer: String,
    },
    /// Something was put into it.
    OrderItemAdded {
        /// What.
        sku: String,
        /// What one costs.
        cents: u64,
        /// How many.
        quantity: u64,
    },
    /// It was paid.
    OrderPaid {
        /// How much.
        cents: u64,
    },
    /// It was sent away.
    OrderShipped {},
}

/// Why something is not done.
#[derive(Debug, PartialEq)]
pub enum Refusal {
    /// There is no such order.
    Unknown,
    /// There is one already.
    Exists,
    /// Nothing is in it.
    Empty,
    /// It is not the time for it.
    NotNow {
        /// What it would have to be.
        expected: &'static str,
    },
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Unknown => f.write_str("there is no such order; create it first"),
            Self::Exists => f.write_str("there is such an order already; choose another id"),
            Self::Empty => f.write_str("nothing is in the order; add an item first"),
            Self::NotNow { expected } => write!(f, "expected an order that is {expected}"),
        }
    }
}

impl Aggregate for Order {
    const NAME: &'static str = "order";
    type Command = Command;
    type Event = Event;
    type Refusal = Refusal;

    fn decide(&self, command: &Command) -> Result<Vec<Event>, Refusal> {
        let event = match (command, self.status) {
            (Command::Create { customer }, Status::Unknown) => Event::OrderCreated { customer: customer.clone() },
            (Command::Create { .. }, _) => return Err(Refusal::Exists),
            (_, Status::Unknown) => return Err(Refusal::Unknown),
            (Command::AddItem { sku, cents, quantity }, Status::Open) => {
                Event::OrderItemAdded { sku: sku.clone(), cents: *cents, quantity: *quantity }
            }
            (Command::Pay, Status::Open) if self.cents == 0 => return Err(Refusal::Empty),
            (Command::Pay, Status::Open) => Event::OrderPaid { cents: self.cents },
            (Command::Ship, Status::Paid) => Event::OrderShipped {},
            (Command::AddItem { .. } | Command::Pay, _) => return Err(Refusal::NotNow { expected: "open" }),
            (Command::Ship, _) => return Err(Refusal::NotNow { expected: "paid" }),
        };
        Ok(vec![event])
    }

    fn evolve(&mut self, event: Event) {
        match event {
            Event::OrderCreated { .. } => self.status = Status::Open,
            Event::OrderItemAdded { cents, quantity, .. } => self.cents += cents * quantity,
            Event::OrderPaid { .. } => self.status = Status::Paid,
            Event::OrderShipped {} => self.status = Status::Shipped,
        }
    }
}

#[cfg(test)]
mod tests {
    use quipu::testing::given;

    use super::*;

    fn created() -> Event {
        Event::OrderCreated { customer: "ada".into() }
    }

    fn added(cents: u64, quantity: u64) -> Event {
        Event::OrderItemAdded { sku: "pen".into(), cents, quantity }
    }

    fn paid(cents: u64) -> Event {
        Event::OrderPaid { cents }
    }

    #[test]
    fn an_order_is_paid_for_what_is_in_it_and_then_shipped() {
        given::<Order>([created(), added(150, 2), added(50, 1)]).when(Command::Pay).then([paid(350)]);
        given::<Order>([created(), added(150, 2), paid(300)]).when(Command::Ship).then([Event::OrderShipped {}]);
    }

    #[test]
    fn everything_has_its_time() {
        given::<Order>([]).when(Command::Pay).then_refused(Refusal::Unknown);
        given::<Order>([created()]).when(Command::Pay).then_refused(Refusal::Empty);
        given::<Order>([created()]).when(Command::Create { customer: "bob".into() }).then_refused(Refusal::Exists);
        given::<Order>([created(), added(1, 1)]).when(Command::Ship).then_refused(Refusal::NotNow { expected: "paid" });
        given::<Order>([created(), added(1, 1), paid(1)])
            .when(Command::Pay)
            .then_refused(Refusal::NotNow { expected: "open" });
    }
}
