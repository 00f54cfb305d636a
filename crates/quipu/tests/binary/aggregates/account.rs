//! An account, as a user would write it, and its rules in sentences.

use quipu::Aggregate;
use quipu::testing::given;
use serde::{Deserialize, Serialize};

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Account {
    pub balance: f64,
    /// Keys that are no texts, which JSON has not.
    pub by_size: std::collections::BTreeMap<(u8, bool), u64>,
    pub notes: Vec<String>,
}

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Entry {
    #[serde(rename = "account.credited")]
    Credited { amount: f64 },
    #[serde(rename = "account.debited.v2")]
    Debited { amount: f64, fee: f64 },
    #[serde(rename = "account.noted")]
    Noted(String),
    #[serde(rename = "account.closed")]
    Closed,
}

#[derive(Clone, Debug)]
pub enum Ask {
    Deposit(f64),
    Withdraw(f64),
    Note(String),
    Nothing,
}

#[derive(Clone, Debug, PartialEq)]
pub enum No {
    Missing(f64),
    NotPositive,
}

impl Aggregate for Account {
    const NAME: &'static str = "account";
    const SNAPSHOT_EVERY: u64 = 10;
    type Command = Ask;
    type Event = Entry;
    type Refusal = No;

    fn decide(&self, ask: &Ask) -> Result<Vec<Entry>, No> {
        match ask {
            Ask::Deposit(amount) | Ask::Withdraw(amount) if *amount <= 0.0 => Err(No::NotPositive),
            Ask::Deposit(amount) => Ok(vec![Entry::Credited { amount: *amount }]),
            Ask::Withdraw(amount) if *amount > self.balance => Err(No::Missing(*amount - self.balance)),
            Ask::Withdraw(amount) if *amount == self.balance => {
                Ok(vec![Entry::Debited { amount: *amount, fee: 0.0 }, Entry::Closed])
            }
            Ask::Withdraw(amount) => Ok(vec![Entry::Debited { amount: *amount, fee: 0.0 }]),
            Ask::Note(text) => Ok(vec![Entry::Noted(text.clone())]),
            Ask::Nothing => Ok(Vec::new()),
        }
    }

    fn evolve(&mut self, event: Entry) {
        match event {
            Entry::Credited { amount } => {
                self.balance += amount;
                *self.by_size.entry((amount.log10() as u8, true)).or_default() += 1;
            }
            Entry::Debited { amount, fee } => {
                self.balance -= amount + fee;
                *self.by_size.entry((amount.log10() as u8, false)).or_default() += 1;
            }
            Entry::Noted(text) => self.notes.push(text),
            Entry::Closed => self.notes.push("closed".into()),
        }
    }

    fn tags(_: &Entry) -> Vec<String> {
        vec!["bank:b1".into()]
    }
}

#[test]
fn a_withdrawal_within_the_balance_is_made() {
    given::<Account>([Entry::Credited { amount: 100.0 }])
        .when(Ask::Withdraw(30.0))
        .then([Entry::Debited { amount: 30.0, fee: 0.0 }]);
}

#[test]
fn a_withdrawal_of_all_closes_the_account() {
    given::<Account>([Entry::Credited { amount: 100.0 }])
        .when(Ask::Withdraw(100.0))
        .then([Entry::Debited { amount: 100.0, fee: 0.0 }, Entry::Closed]);
}

#[test]
fn a_withdrawal_beyond_the_balance_is_refused() {
    given::<Account>([Entry::Credited { amount: 100.0 }]).when(Ask::Withdraw(130.0)).then_refused(No::Missing(30.0));
}

#[test]
fn a_request_for_nothing_leads_to_nothing() {
    given::<Account>([]).when(Ask::Nothing).then([]);
}

#[test]
fn a_sentence_that_is_not_so_fails_and_says_what_is() {
    let given = || given::<Account>([Entry::Credited { amount: 100.0 }]);
    let said = |sentence: &dyn Fn()| {
        let panic =
            std::panic::catch_unwind(std::panic::AssertUnwindSafe(sentence)).expect_err("the sentence is wrong");
        panic.downcast_ref::<String>().unwrap().clone()
    };
    for (said, expected) in [
        (said(&|| given().when(Ask::Withdraw(30.0)).then([])), "Debited { amount: 30.0, fee: 0.0 }"),
        (said(&|| given().when(Ask::Withdraw(130.0)).then([])), "expected [], found the refusal Missing(30.0)"),
        (
            said(&|| given().when(Ask::Nothing).then_refused(No::NotPositive)),
            "expected the refusal NotPositive, found []",
        ),
        (said(&|| given().when(Ask::Withdraw(130.0)).then_refused(No::NotPositive)), "Missing(30.0)"),
    ] {
        assert!(said.contains(expected), "{said}");
    }
}

/// An event that does not survive its own JSON.
#[test]
fn an_event_that_is_read_as_another_one_is_found() {
    #[derive(Default, Serialize, Deserialize)]
    struct Counter;
    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    enum Counted {
        #[serde(rename = "counter.counted")]
        Counted {
            #[serde(skip)]
            by: u64,
        },
    }
    impl Aggregate for Counter {
        const NAME: &'static str = "counter";
        type Command = u64;
        type Event = Counted;
        type Refusal = ();
        fn decide(&self, by: &u64) -> Result<Vec<Counted>, ()> {
            Ok(vec![Counted::Counted { by: *by }])
        }
        fn evolve(&mut self, _: Counted) {}
    }
    given::<Counter>([]).when(0).then([Counted::Counted { by: 0 }]);
    let lost = || given::<Counter>([]).when(7).then([Counted::Counted { by: 7 }]);
    assert!(std::panic::catch_unwind(lost).is_err());
}
