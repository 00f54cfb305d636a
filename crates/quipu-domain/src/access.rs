//! Who may do what. A [`Permission`] is what an operation asks for; a [`Grant`] gives some, narrowed to events that match a
//! pattern and to subscriptions by their names; an [`Access`] is all that a key or a token may do, made ready to be asked.
//!
//! What is not granted is refused: an empty list of grants allows nothing.

mod fingerprint;
mod grant;
mod permission;
mod token;
mod visible;

use std::sync::Arc;

pub use fingerprint::{Fingerprint, InvalidFingerprint};
pub use grant::{Grant, InvalidGrant};
pub use permission::{Narrowing, Permission};
pub use token::{KeySecret, SECRET_BYTES, TOKEN_PREFIX, Token};
pub use visible::Visible;

use crate::Event;

/// Most grants of one key. What a service does takes two or three.
pub const GRANTS_MAX: usize = 16;
/// Most names of subscriptions in one grant.
pub const SUBSCRIPTIONS_MAX: usize = 64;
/// Longest text of all patterns in the grants of a key. It is held in memory for each key, and for each token of a role.
pub const GRANT_PATTERN_BYTES_MAX: usize = 4 << 10;

/// All that somebody may do.
#[derive(Clone, Debug)]
pub struct Access {
    grants: Arc<[Grant]>,
    user: Option<Arc<str>>,
    publish: Option<Arc<Visible>>,
    read: Option<Arc<Visible>>,
}

impl Access {
    /// What these grants allow together; with a user, of the events of that user only.
    ///
    /// # Errors
    /// [`InvalidGrant`] names the member that makes no sense.
    pub fn new(grants: Vec<Grant>, user: Option<&str>) -> Result<Self, InvalidGrant> {
        grant::check(&grants, user)?;
        let patterns = grants.iter().enumerate().map(|(index, grant)| grant.pattern(index));
        let patterns = patterns.collect::<Result<Vec<_>, _>>()?;
        let events = |permission| Visible::of(&grants, &patterns, permission, user).map(Arc::new);
        let (publish, read) = (events(Permission::Publish), events(Permission::Read));
        Ok(Self { grants: grants.into(), user: user.map(Into::into), publish, read })
    }

    /// Nothing at all.
    pub fn nothing() -> Self {
        Self::new(Vec::new(), None).expect("an empty list makes sense")
    }

    /// Everything in a tenant, and nothing beyond it.
    pub fn everything() -> Self {
        let permissions = Permission::ALL.iter().copied().filter(|permission| *permission != Permission::Operate);
        let grants = vec![Grant { permissions: permissions.collect(), pattern: None, subscriptions: None }];
        Self::new(grants, None).expect("a grant that is narrowed by nothing makes sense")
    }

    /// The grants as they were given.
    pub fn grants(&self) -> &[Grant] {
        &self.grants
    }

    /// The user whose events it is limited to.
    pub fn user(&self) -> Option<&str> {
        self.user.as_deref()
    }

    /// Whether it has this permission at all, however narrow.
    pub fn has(&self, permission: Permission) -> bool {
        self.grants_of(permission).next().is_some()
    }

    /// Whether it has this permission for everything that it may be narrowed to.
    pub fn has_whole(&self, permission: Permission) -> bool {
        match permission.narrowing() {
            Narrowing::Events => self.has(permission) && self.events(permission).is_none(),
            Narrowing::Subscriptions => self.grants_of(permission).any(|grant| grant.subscriptions.is_none()),
            Narrowing::Nothing => self.has(permission),
        }
    }

    /// Whether it has this permission for a subscription, whether or not there is one of that name.
    pub fn has_for(&self, permission: Permission, subscription: &str) -> bool {
        self.grants_of(permission).any(|grant| grant.is_for(subscription))
    }

    /// Whether an event may be published.
    pub fn may_publish(&self, event: &Event<'_>) -> bool {
        let shows = |visible: &Arc<Visible>| visible.shows(event, None);
        self.has(Permission::Publish) && self.publish.as_ref().is_none_or(shows)
    }

    /// Which events may be read, if not all: what is not among them is as if it were absent.
    pub fn visible(&self) -> Option<&Arc<Visible>> {
        self.read.as_ref()
    }

    fn events(&self, permission: Permission) -> Option<&Arc<Visible>> {
        if permission == Permission::Publish { self.publish.as_ref() } else { self.read.as_ref() }
    }

    fn grants_of(&self, permission: Permission) -> impl Iterator<Item = &Grant> {
        self.grants.iter().filter(move |grant| grant.permissions.contains(&permission))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grants(text: &str) -> Vec<Grant> {
        serde_json::from_str(text).unwrap()
    }

    fn access(text: &str) -> Access {
        Access::new(grants(text), None).unwrap()
    }

    fn event(kind: &'static str, source: &'static str, user: Option<&'static str>) -> Event<'static> {
        let builder = Event::builder("1", source, kind).json("{\"total\":5}");
        match user {
            Some(user) => builder.attribute("userid", crate::Value::Text(user.into())).build().unwrap(),
            None => builder.build().unwrap(),
        }
    }

    #[test]
    fn nothing_is_allowed_that_is_not_granted() {
        let none = access("[]");
        for permission in Permission::ALL {
            assert!(!none.has(*permission) && !none.has_whole(*permission) && !none.has_for(*permission, "s"));
            let text = format!(r#"[{{"permissions":["{}"]}}]"#, permission.as_str());
            let one = access(&text);
            for other in Permission::ALL {
                assert_eq!(one.has(*other), other == permission, "{text} {other:?}");
                assert_eq!(one.has_whole(*other), other == permission, "{text} {other:?}");
            }
        }
        assert!(!none.may_publish(&event("order.placed", "/shop", None)));
        assert!(none.visible().is_some_and(|visible| !visible.shows(&event("a.b", "/s", None), None)));
    }

    #[test]
    fn publishing_is_narrowed_by_type_and_source() {
        let narrow = access(
            r#"[{"permissions":["publish"],"pattern":{"type":[{"prefix":"order."}],"source":["/shop"]}},
                {"permissions":["publish"],"pattern":{"type":["ping"]}}]"#,
        );
        for (kind, source, expected) in [
            ("order.placed", "/shop", true),
            ("order.placed", "/other", false),
            ("ordered", "/shop", false),
            ("ping", "/other", true),
        ] {
            assert_eq!(narrow.may_publish(&event(kind, source, None)), expected, "{kind} {source}");
        }
        assert!(narrow.has(Permission::Publish) && !narrow.has_whole(Permission::Publish));
        assert!(!narrow.has(Permission::Read));
        // One grant without a pattern is for all.
        let both = access(r#"[{"permissions":["publish"],"pattern":{"type":["a"]}},{"permissions":["publish"]}]"#);
        assert!(both.has_whole(Permission::Publish) && both.may_publish(&event("b", "/s", None)));
    }

    #[test]
    fn a_pattern_narrows_only_the_permissions_beside_it() {
        let mixed = access(
            r#"[{"permissions":["publish"]},{"permissions":["read"],"pattern":{"data":{"total":[{"numeric":[">",9]}]}}}]"#,
        );
        let seen = mixed.visible().unwrap();
        assert!(mixed.may_publish(&event("a", "/s", None)) && !seen.shows(&event("a", "/s", None), None));
    }

    #[test]
    fn subscriptions_are_named() {
        let named = access(r#"[{"permissions":["consume"],"subscriptions":["billing","mail.*"]}]"#);
        for (name, expected) in
            [("billing", true), ("billing2", false), ("mail.a", true), ("mail.", true), ("mail", false)]
        {
            assert_eq!(named.has_for(Permission::Consume, name), expected, "{name}");
        }
        assert!(!named.has_whole(Permission::Consume) && !named.has_for(Permission::Manage, "billing"));
    }

    #[test]
    fn a_personal_one_has_the_events_of_its_user_only() {
        let text = r#"[{"permissions":["publish","read"],"pattern":{"type":[{"prefix":"a."}]}}]"#;
        let personal = Access::new(grants(text), Some("ada")).unwrap();
        let whole = Access::new(grants(r#"[{"permissions":["read","publish"]}]"#), Some("ada")).unwrap();
        for (kind, user, expected) in [
            ("a.b", Some("ada"), (true, true)),
            ("a.b", Some("bob"), (false, false)),
            ("a.b", None, (false, false)),
            ("b.a", Some("ada"), (false, true)),
        ] {
            let event = event(kind, "/s", user);
            let seen = |access: &Access| access.visible().unwrap().shows(&event, None);
            assert_eq!((seen(&personal), seen(&whole)), expected, "{kind} {user:?}");
            assert_eq!((personal.may_publish(&event), whole.may_publish(&event)), expected, "{kind} {user:?}");
        }
        assert!(!whole.has_whole(Permission::Read));
    }

    #[test]
    fn everything_in_a_tenant_is_not_the_tenants() {
        let everything = Access::everything();
        for permission in Permission::ALL {
            assert_eq!(everything.has_whole(*permission), *permission != Permission::Operate, "{permission:?}");
        }
        assert!(everything.visible().is_none());
    }

    #[test]
    fn what_makes_no_sense_is_named() {
        let name = |length: usize| "a".repeat(length);
        let long =
            format!(r#"[{{"permissions":["read"],"pattern":{{"type":["{}"]}}}}]"#, name(GRANT_PATTERN_BYTES_MAX));
        let or = |name: &str| format!(r#"{{"$or":[{{"{name}":["a"]}},{{"{name}":["b"]}}]"#);
        let ors = ["a", "b", "c", "d", "e", "f", "g"].map(or).join(r#","in":"#) + &"}".repeat(7);
        let branched = format!(r#"[{{"permissions":["read"],"pattern":{ors}}}]"#);
        let many = format!(
            r#"[{{"permissions":["consume"],"subscriptions":[{}]}}]"#,
            vec![r#""a""#; SUBSCRIPTIONS_MAX + 1].join(",")
        );
        let grants_many = format!("[{}]", vec![r#"{"permissions":["read"]}"#; GRANTS_MAX + 1].join(","));
        for (text, user, pointer) in [
            (r#"[{"permissions":[]}]"#, None, "/grants/0/permissions"),
            (r#"[{"permissions":["consume"],"pattern":{"type":["a"]}}]"#, None, "/grants/0/pattern"),
            (r#"[{"permissions":["read","manage"],"pattern":{"type":["a"]}}]"#, None, "/grants/0/pattern"),
            (
                r#"[{"permissions":["read"]},{"permissions":["read"],"pattern":{"type":"a"}}]"#,
                None,
                "/grants/1/pattern",
            ),
            (r#"[{"permissions":["publish"],"pattern":{"data":{"total":[1]}}}]"#, None, "/grants/0/pattern"),
            (r#"[{"permissions":["publish"],"pattern":{"detail":{"kind":["refund"]}}}]"#, None, "/grants/0/pattern"),
            (branched.as_str(), None, "/grants/0/pattern"),
            (long.as_str(), None, "/grants"),
            (r#"[{"permissions":["read"],"subscriptions":["a"]}]"#, None, "/grants/0/subscriptions"),
            (r#"[{"permissions":["consume"],"subscriptions":["*a"]}]"#, None, "/grants/0/subscriptions/0"),
            (r#"[{"permissions":["consume"],"subscriptions":["a",""]}]"#, None, "/grants/0/subscriptions/1"),
            (r#"[{"permissions":["consume"],"subscriptions":[]}]"#, None, "/grants/0/subscriptions"),
            (many.as_str(), None, "/grants/0/subscriptions"),
            (grants_many.as_str(), None, "/grants"),
            (r#"[{"permissions":["read","consume"]}]"#, Some("ada"), "/grants/0/permissions"),
            (r#"[{"permissions":["read"]}]"#, Some(""), "/user"),
        ] {
            let invalid = Access::new(grants(text), user).unwrap_err();
            assert_eq!(invalid.pointer, pointer, "{text}");
            assert!(invalid.detail.starts_with("expected ") && invalid.detail.len() < 400, "{invalid}");
        }
    }
}
