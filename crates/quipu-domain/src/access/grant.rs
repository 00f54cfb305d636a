//! One grant: which permissions, and what they are narrowed to. The JSON form is public and is what the log keeps.

use std::collections::BTreeSet;
use std::fmt;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::{GRANT_PATTERN_BYTES_MAX, GRANTS_MAX, Narrowing, Permission, SUBSCRIPTIONS_MAX};
use crate::Pattern;
use crate::limits::ATTRIBUTE_VALUE_BYTES_MAX;
use crate::subscription::is_subscription_name;

/// Most branches that the `$or`s of a pattern multiply out to: it is compiled, and kept, for each key.
const BRANCHES_MAX: usize = 64;

/// Some permissions, narrowed or not.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(feature = "schema", derive(schemars::JsonSchema))]
pub struct Grant {
    /// What is allowed.
    pub permissions: BTreeSet<Permission>,
    /// Only for events that this EventBridge event pattern matches; beside `publish` and `read` only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[cfg_attr(feature = "schema", schemars(with = "Option<serde_json::Value>"))]
    pub pattern: Option<Box<RawValue>>,
    /// Only for the subscriptions of these names, whether or not they exist; one that ends with `*` stands for all that
    /// begin alike. Beside `consume`, `manage`, `observe`, `redrive` and `edit` only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subscriptions: Option<Vec<String>>,
}

/// Something in a list of grants that makes no sense.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidGrant {
    /// Which member, as a JSON pointer into what has `grants` and `user`.
    pub pointer: String,
    /// What was expected and what was found.
    pub detail: String,
}

impl fmt::Display for InvalidGrant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.pointer, self.detail)
    }
}

impl std::error::Error for InvalidGrant {}

impl Grant {
    /// Whether it is for a subscription of that name.
    pub(super) fn is_for(&self, subscription: &str) -> bool {
        self.subscriptions.as_ref().is_none_or(|names| names.iter().any(|name| is_named(name, subscription)))
    }

    /// Its pattern, if it has one.
    pub(super) fn pattern(&self, index: usize) -> Result<Option<Pattern>, InvalidGrant> {
        let Some(text) = self.pattern.as_ref().map(|pattern| pattern.get()) else { return Ok(None) };
        let refuse = |detail| InvalidGrant { pointer: format!("/grants/{index}/pattern"), detail };
        let parsed = Pattern::parse(text);
        let invalid = |invalid| {
            let mut detail = format!("expected an event pattern: {invalid}");
            detail.truncate(detail.floor_char_boundary(300));
            refuse(detail)
        };
        let pattern = parsed.map_err(invalid)?;
        // `detail` is what EventBridge calls the data.
        let is_of_data = |path: &&str| matches!(path.split('.').next(), Some("data" | "detail"));
        if pattern.branch_count() > BRANCHES_MAX {
            return Err(refuse(format!("expected a pattern of at most {BRANCHES_MAX} branches, found more")));
        }
        if self.permissions.contains(&Permission::Publish) && pattern.paths().iter().any(is_of_data) {
            // Of several values at a path, and of two members of one name, one that matches is enough for a pattern.
            return Err(refuse("expected a pattern of attributes beside publish, found one of data".to_owned()));
        }
        Ok(Some(pattern))
    }
}

fn is_named(name: &str, subscription: &str) -> bool {
    match name.strip_suffix('*') {
        Some(prefix) => subscription.starts_with(prefix),
        None => subscription == name,
    }
}

/// Checks everything but the patterns.
pub(super) fn check(grants: &[Grant], user: Option<&str>) -> Result<(), InvalidGrant> {
    let refuse = |pointer: &str, detail: String| Err(InvalidGrant { pointer: pointer.into(), detail });
    if grants.len() > GRANTS_MAX {
        return refuse("/grants", format!("expected at most {GRANTS_MAX} grants, found {}", grants.len()));
    }
    if user.is_some_and(|user| user.is_empty() || user.len() > ATTRIBUTE_VALUE_BYTES_MAX) {
        return refuse("/user", format!("expected 1 to {ATTRIBUTE_VALUE_BYTES_MAX} bytes, the userid of events"));
    }
    let bytes = grants.iter().filter_map(|grant| Some(grant.pattern.as_ref()?.get().len())).sum::<usize>();
    if bytes > GRANT_PATTERN_BYTES_MAX {
        let detail = format!("expected patterns of at most {GRANT_PATTERN_BYTES_MAX} bytes together, found {bytes}");
        return refuse("/grants", detail);
    }
    for (index, grant) in grants.iter().enumerate() {
        let refuse = |member: &str, detail: String| refuse(&format!("/grants/{index}/{member}"), detail);
        if grant.permissions.is_empty() {
            return refuse("permissions", "expected at least one permission, found none".into());
        }
        let other = |narrowing| grant.permissions.iter().find(move |found| found.narrowing() != narrowing);
        if let Some(found) = grant.pattern.as_ref().and_then(|_| other(Narrowing::Events)) {
            return refuse("pattern", format!("expected a pattern beside publish and read only, found {found}"));
        }
        if let Some(found) = user.and_then(|_| other(Narrowing::Events)) {
            let detail = format!("expected publish and read only for the events of one user, found {found}");
            return refuse("permissions", detail);
        }
        let Some(names) = &grant.subscriptions else { continue };
        if let Some(found) = other(Narrowing::Subscriptions) {
            let expected = "names of subscriptions beside consume, manage, observe, redrive and edit only";
            return refuse("subscriptions", format!("expected {expected}, found {found}"));
        }
        if !(1..=SUBSCRIPTIONS_MAX).contains(&names.len()) {
            let detail = format!("expected 1 to {SUBSCRIPTIONS_MAX} names, found {}", names.len());
            return refuse("subscriptions", detail);
        }
        if let Some(at) = names.iter().position(|name| !is_subscription_name(name.strip_suffix('*').unwrap_or(name))) {
            let detail = "expected the name of a subscription, or its beginning and *".to_owned();
            return refuse(&format!("subscriptions/{at}"), detail);
        }
    }
    Ok(())
}
