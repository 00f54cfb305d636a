//! The order-fulfilment demo: about every two seconds an order, and after it what four services would do with it. Each
//! step is caused by the one before (`causationid`), and all of an order share a `correlationid`, so a trace shows the
//! order as a tree. One order in eight is refused by the bank and cancelled.

use std::sync::mpsc::{RecvTimeoutError, Sender, channel};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use quipu::{Append, Error, Event, Quipu, SystemClock, SystemRandom, Value};
use quipu_engine::{Clock as _, Random as _};

/// Between two steps; an order takes about seven.
const STEP: Duration = Duration::from_millis(280);

const CUSTOMERS: [&str; 6] = ["ada", "grace", "linus", "margaret", "ken", "barbara"];
const CARRIERS: [&str; 3] = ["DHL", "UPS", "Swiss Post"];
/// Article and price in cents.
const ARTICLES: [(&str, u32); 6] = [
    ("espresso-beans-1kg", 2_890),
    ("kettle-gooseneck", 7_900),
    ("mug-stoneware", 1_650),
    ("grinder-hand", 12_900),
    ("filter-paper-100", 590),
    ("scale-0.1g", 4_450),
];

/// The thread that places orders, until this is dropped.
pub struct Trickle {
    run: String,
    stop: Option<Sender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Trickle {
    pub fn start(quipu: Quipu) -> Self {
        let (stop, stopped) = channel::<()>();
        let run = run_id();
        let thread = thread::spawn({
            let run = run.clone();
            move || {
                let pause = |duration| stopped.recv_timeout(duration) == Err(RecvTimeoutError::Timeout);
                (1..).all(|number| place(&quipu, &run, number, &pause));
            }
        });
        Self { run, stop: Some(stop), thread: Some(thread) }
    }

    /// The `id` of the first event of the first order.
    pub fn first_order_id(&self) -> String {
        format!("{}-1-order.placed", self.run)
    }
}

impl Drop for Trickle {
    fn drop(&mut self) {
        self.stop = None;
        if let Some(thread) = self.thread.take() {
            // A panic in there has been printed and concerns no one else.
            let _ = thread.join();
        }
    }
}

/// Order numbers begin anew with every start: this keeps the runs apart.
fn run_id() -> String {
    let mut bytes = [0; 4];
    SystemRandom.fill(&mut bytes);
    format!("{:08x}", u32::from_be_bytes(bytes))
}

/// An order in the making.
struct Order {
    key: String,
    customer: &'static str,
    article: &'static str,
    quantity: u32,
    total_cents: u32,
    carrier: &'static str,
    is_paid: bool,
}

/// What one service does about an order.
struct Step {
    source: &'static str,
    kind: &'static str,
    /// The type of the step that caused it.
    cause: Option<&'static str>,
    subject: String,
    data: String,
}

/// One order from begin to end; false if it is time to stop.
fn place(quipu: &Quipu, run: &str, number: usize, pause: &impl Fn(Duration) -> bool) -> bool {
    let order = Order::pick(run, number);
    for step in order.steps() {
        if let Err(error) = order.record(quipu, step) {
            tracing::warn!("the order demo stops: {error}");
            return false;
        }
        if !pause(STEP) {
            return false;
        }
    }
    true
}

impl Order {
    /// The numbers have no common divisor with the lengths of the lists, so that all combinations come up.
    fn pick(run: &str, number: usize) -> Self {
        let seed = number + usize::from(run.as_bytes()[0]);
        let (article, price_cents) = ARTICLES[(seed * 5 + number / 6) % ARTICLES.len()];
        let quantity = if number.is_multiple_of(4) { 2 } else { 1 };
        Self {
            key: format!("{run}-{number}"),
            customer: CUSTOMERS[seed % CUSTOMERS.len()],
            article,
            quantity,
            total_cents: price_cents * quantity,
            carrier: CARRIERS[number % CARRIERS.len()],
            is_paid: !number.is_multiple_of(8),
        }
    }

    fn steps(&self) -> Vec<Step> {
        let Self { key, customer, article, quantity, total_cents, carrier, .. } = self;
        let (order, stock, payment) = (format!("order/{key}"), format!("stock/{article}"), format!("payment/{key}"));
        let step =
            |source, kind, cause, subject: &str, data| Step { source, kind, cause, subject: subject.into(), data };
        let placed = Some("order.placed");
        let lines = format!(r#"[{{"article":"{article}","quantity":{quantity}}}]"#);
        let goods = format!(r#"{{"article":"{article}","quantity":{quantity}}}"#);
        let amount = format!(r#"{{"amountcents":{total_cents},"currency":"EUR","method":"card"}}"#);
        let placing =
            format!(r#"{{"customer":"{customer}","currency":"EUR","totalcents":{total_cents},"lines":{lines}}}"#);
        let mut steps = vec![
            step("/shop", "order.placed", None, &order, placing),
            step("/warehouse", "inventory.reserved", placed, &stock, goods.clone()),
        ];
        if self.is_paid {
            let parcel = format!(r#"{{"carrier":"{carrier}","parcels":1}}"#);
            steps.extend([
                step("/payments", "payment.charged", placed, &payment, amount),
                step("/shop", "order.confirmed", Some("payment.charged"), &order, "{}".into()),
                step("/shipping", "shipment.created", Some("order.confirmed"), &order, parcel),
                step("/shipping", "shipment.delivered", Some("shipment.created"), &order, "{}".into()),
            ]);
        } else {
            let declined = Some("payment.declined");
            steps.extend([
                step("/payments", "payment.declined", placed, &payment, r#"{"reason":"insufficient_funds"}"#.into()),
                step("/warehouse", "inventory.released", declined, &stock, goods),
                step("/shop", "order.cancelled", declined, &order, r#"{"reason":"payment_declined"}"#.into()),
            ]);
        }
        steps
    }

    fn record(&self, quipu: &Quipu, step: Step) -> Result<(), Error> {
        let Self { key, customer, .. } = self;
        let mut builder = Event::builder(format!("{key}-{}", step.kind), step.source, step.kind)
            .subject(step.subject.clone())
            .time(SystemClock.now().to_string())
            .data_content_type("application/json")
            .correlation_id(format!("order-{key}"))
            .attribute("userid", Value::Text((*customer).into()))
            .tag(format!("order:{key}"))
            .tag(format!("customer:{customer}"))
            .json(step.data);
        if let Some(cause) = step.cause {
            builder = builder.causation_id(format!("{key}-{cause}"));
        }
        let event = builder.build().map_err(|reason| Error::Invalid { index: 0, reason })?;
        let append = Append::of([event]);
        // An order begins once: its first event expects a stream that does not exist yet.
        let append = if step.cause.is_none() { append.expect_version(step.subject, 0) } else { append };
        quipu.append(append).map(|_| ())
    }
}
