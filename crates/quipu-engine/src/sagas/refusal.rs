//! Why something that is asked of sagas is not done.

use std::fmt;

use quipu_domain::saga::{Finding, NotPossible};

use super::records::{DeclarationKind, PlanName};

/// Understood, and not allowed.
#[derive(Clone, Debug, PartialEq)]
pub enum SagaRefusal {
    /// There is none of this name.
    NotFound {
        /// The name.
        name: PlanName,
    },
    /// The declaration is not taken.
    Invalid {
        /// What was found, warnings too.
        findings: Vec<Finding>,
    },
    /// A tenant has as many as it may have.
    TooMany {
        /// Most of them.
        limit: usize,
    },
    /// It has instances that are open.
    InUse {
        /// The name.
        name: PlanName,
        /// How many.
        open: u64,
    },
    /// There is no instance with this number, or it is not remembered any more.
    NoInstance {
        /// The number.
        number: u64,
    },
    /// What is asked does not fit how the instance stands.
    NotPossible(NotPossible),
    /// The saga has no step of this name.
    NoStep {
        /// The name of the step.
        step: String,
    },
    /// A reason is missing or too long.
    InvalidReason {
        /// Most bytes of it.
        limit: usize,
    },
}

impl PlanName {
    /// Of a saga.
    pub fn saga(name: impl Into<String>) -> Self {
        Self { kind: DeclarationKind::Saga, name: name.into() }
    }

    /// Of a rule.
    pub fn rule(name: impl Into<String>) -> Self {
        Self { kind: DeclarationKind::Rule, name: name.into() }
    }

    /// Of an expectation.
    pub fn expectation(name: impl Into<String>) -> Self {
        Self { kind: DeclarationKind::Expectation, name: name.into() }
    }
}

impl DeclarationKind {
    /// The word of it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Saga => "saga",
            Self::Rule => "rule",
            Self::Expectation => "expectation",
        }
    }
}

impl fmt::Display for PlanName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.kind.as_str(), self.name)
    }
}

impl fmt::Display for SagaRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotFound { name } => {
                let word = name.kind.as_str();
                write!(f, "expected the name of a {word}, found {}, which there is not", name.name)
            }
            Self::Invalid { findings } => {
                f.write_str("expected a declaration that can be applied")?;
                findings.iter().take(5).try_for_each(|finding| write!(f, "; {finding}"))
            }
            Self::TooMany { limit } => {
                write!(f, "expected at most {limit} sagas, rules and expectations, found another: remove some")
            }
            Self::InUse { name, open } => {
                write!(
                    f,
                    "expected a {} without open instances, found {open} of {}: let them end, or cancel them",
                    name.kind.as_str(),
                    name.name
                )
            }
            Self::NoInstance { number } => {
                write!(f, "expected the number of an instance that is open or remembered, found {number}")
            }
            Self::NotPossible(why) => why.fmt(f),
            Self::NoStep { step } => {
                write!(f, "expected the name of a step, found {step}, which the saga does not have")
            }
            Self::InvalidReason { limit } => write!(f, "expected a reason of 1 to {limit} bytes"),
        }
    }
}

impl std::error::Error for SagaRefusal {}
