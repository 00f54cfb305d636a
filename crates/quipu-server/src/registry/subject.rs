//! Subjects: what the dialect calls types. A type has two names: its own, for clients that name subjects by records, and its own
//! with `-value`, for those that name them by topics: the contract of the topic `order.placed` is that of the events `order.placed`.
//! Both are listed, so that whatever a client has registered it finds under the name that it used.

use std::sync::Arc;

use quipu_domain::schema::compatibility::Level;
use quipu_engine::{REASON_BYTES_MAX, SchemaEntry, SchemaInfo, Tenant};

use super::page::Shown;
use super::refusal::{Number, Refused};

/// What a topic's name has behind it to name the subject of its values.
const OF_VALUES: &str = "-value";
/// What the name of a subject in the only context may begin with, and what that of one in another does.
const CONTEXT_DEFAULT: &str = ":.:";
const CONTEXT: &str = ":.";
/// The reason of a version that a client of the dialect has deleted and that is kept, as everybody may read it. Behind a colon comes the
/// one that it had before.
const DELETED: &str = "deleted in the registry";
const DELETED_BEFORE: &str = "deleted in the registry: ";
/// Largest version that the dialect knows.
const VERSION_MAX: u32 = i32::MAX as u32;

/// A subject.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Subject {
    /// As the client says it.
    pub name: String,
    /// The type that it is.
    pub kind: String,
}

/// Which version of a subject.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum VersionAsked {
    Latest,
    Number(u32),
}

impl Subject {
    /// A subject of the only context.
    pub fn parse(name: &str) -> Result<Self, Refused> {
        if name.starts_with(CONTEXT) && !name.starts_with(CONTEXT_DEFAULT) {
            let name: String = name.chars().take(64).collect();
            let detail = format!("expected a subject without a context, since there is one context, found {name}");
            return Err(Refused::new(Number::InvalidSubject, detail));
        }
        Ok(Self { name: name.to_owned(), kind: Self::kind_of(name) })
    }

    /// The type that a subject is.
    pub fn kind_of(name: &str) -> String {
        let name = name.strip_prefix(CONTEXT_DEFAULT).unwrap_or(name);
        name.strip_suffix(OF_VALUES).unwrap_or(name).to_owned()
    }

    /// The subjects that a type is. One whose own name is that of the values of another topic has one.
    pub fn names(kind: &str) -> Vec<String> {
        let of_values = format!("{kind}{OF_VALUES}");
        match kind.ends_with(OF_VALUES) {
            true => vec![of_values],
            false => vec![kind.to_owned(), of_values],
        }
    }

    /// The one that references say.
    pub fn of_reference(kind: &str) -> String {
        Self::names(kind).swap_remove(0)
    }

    /// Its versions, oldest first.
    pub fn entries(&self, tenant: &Tenant, shown: Shown) -> Vec<SchemaEntry> {
        let mut entries = tenant.schema_entries(Some(&self.kind));
        entries.retain(|entry| shown.shows(is_deleted(entry.deprecated.as_deref())));
        entries
    }

    /// The same of one that has some.
    pub fn some_entries(&self, tenant: &Tenant, shown: Shown) -> Result<Vec<SchemaEntry>, Refused> {
        let entries = self.entries(tenant, shown);
        if entries.is_empty() { Err(self.not_found()) } else { Ok(entries) }
    }

    /// One version.
    pub fn version(&self, tenant: &Tenant, asked: VersionAsked, shown: Shown) -> Result<SchemaEntry, Refused> {
        let is_shown = |deprecated: Option<&str>| shown.shows(is_deleted(deprecated));
        let number = match asked {
            VersionAsked::Latest => None,
            VersionAsked::Number(number) => Some(number),
        };
        tenant.schema_entry(&self.kind, number, is_shown).ok_or_else(|| {
            // Which of both is missing.
            match number.filter(|_| tenant.schema_entry(&self.kind, None, is_shown).is_some()) {
                Some(number) => self.version_not_found(number),
                None => self.not_found(),
            }
        })
    }

    /// What new versions of it are held to, if it is said of it.
    pub fn own_level(&self, tenant: &Tenant) -> Option<Level> {
        tenant.schema_type_rules(&self.kind).compatibility
    }

    pub fn not_found(&self) -> Refused {
        Refused::new(
            Number::SubjectNotFound,
            format!("expected a subject, found none with the name {}", self.clipped()),
        )
    }

    fn version_not_found(&self, version: u32) -> Refused {
        let detail = format!("expected a version of {}, found no version {version}", self.clipped());
        Refused::new(Number::VersionNotFound, detail)
    }

    /// Its name, short enough for a message.
    pub fn clipped(&self) -> String {
        self.name.chars().take(128).collect()
    }
}

impl VersionAsked {
    /// A number from 1, or the newest: `latest` or -1.
    pub fn parse(text: &str) -> Result<Self, Refused> {
        if text.eq_ignore_ascii_case("latest") || text == "-1" {
            return Ok(Self::Latest);
        }
        let is_number = text.bytes().all(|byte| byte.is_ascii_digit());
        let number = text.parse().ok().filter(|number| is_number && (1..=VERSION_MAX).contains(number));
        number.map(Self::Number).ok_or_else(|| {
            let found: String = text.chars().take(64).collect();
            let detail = format!("expected a version, from 1 to {VERSION_MAX} or latest, found {found}");
            Refused::new(Number::InvalidVersion, detail)
        })
    }
}

/// Whether a version is one that a client of the dialect has deleted.
pub(super) fn is_deleted(deprecated: Option<&str>) -> bool {
    deprecated.is_some_and(|reason| reason == DELETED || reason.starts_with(DELETED_BEFORE))
}

/// The reason of a version that is deleted: that it is, and the one that it has. The end of one that is too long for both goes.
pub(super) fn deleted(before: Option<&str>) -> String {
    match before {
        Some(before) => {
            let room = REASON_BYTES_MAX - DELETED_BEFORE.len();
            format!("{DELETED_BEFORE}{}", &before[..before.floor_char_boundary(room)])
        }
        None => DELETED.to_owned(),
    }
}

/// Takes back that a version was deleted.
pub(super) fn restore(tenant: &Arc<Tenant>, found: &SchemaInfo) -> Result<(), Refused> {
    match is_deleted(found.deprecated.as_deref()) {
        true => {
            let before = found.deprecated.as_deref().and_then(|reason| reason.strip_prefix(DELETED_BEFORE));
            Ok(tenant.deprecate_schema(&found.kind, found.version, before.map(str::to_owned)).map(drop)?)
        }
        false => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn a_subject_is_the_type_of_its_topic_or_of_its_record() {
        for (name, kind) in [
            ("order.placed-value", "order.placed"),
            ("order.placed", "order.placed"),
            ("order.placed-key", "order.placed-key"),
            ("order.placed-value-value", "order.placed-value"),
            (":.:order.placed-value", "order.placed"),
            ("-value", ""),
        ] {
            assert_eq!(Subject::parse(name).unwrap().kind, kind, "{name}");
        }
        for name in [":.other:order.placed", ":.other:"] {
            assert_eq!(Subject::parse(name).unwrap_err().number(), Number::InvalidSubject, "{name}");
        }
    }

    #[test]
    fn a_deleted_version_keeps_the_reason_that_it_had() {
        assert_eq!(deleted(None), "deleted in the registry");
        assert_eq!(deleted(Some("too old")), "deleted in the registry: too old");
        let long = deleted(Some(&"ä".repeat(REASON_BYTES_MAX / 2)));
        assert!(is_deleted(Some(&long)) && long.len() <= REASON_BYTES_MAX, "{}", long.len());
        assert!(!is_deleted(Some("deleted in the registry?")) && !is_deleted(None));
    }

    proptest! {
        #[test]
        fn whatever_is_registered_under_a_name_is_listed_under_that_name(name in "[a-z.]{1,4}(-value|-key|-|){0,3}") {
            let subject = Subject::parse(&name).unwrap();
            prop_assert!(Subject::names(&subject.kind).contains(&name), "{subject:?}");
        }

        #[test]
        fn every_name_of_a_type_is_that_type(kind in "[a-z.]{1,4}(-value|-key|-|){0,3}") {
            for name in Subject::names(&kind) {
                prop_assert_eq!(&Subject::parse(&name).unwrap().kind, &kind);
            }
            prop_assert_eq!(Subject::kind_of(&Subject::of_reference(&kind)), kind);
        }
    }

    #[test]
    fn a_version_is_a_number_or_the_latest() {
        for (text, expected) in [
            ("1", Some(VersionAsked::Number(1))),
            ("2147483647", Some(VersionAsked::Number(VERSION_MAX))),
            ("latest", Some(VersionAsked::Latest)),
            ("LATEST", Some(VersionAsked::Latest)),
            ("-1", Some(VersionAsked::Latest)),
            ("0", None),
            ("-2", None),
            ("+1", None),
            ("", None),
            ("2147483648", None),
            ("x", None),
        ] {
            assert_eq!(VersionAsked::parse(text).ok(), expected, "{text}");
        }
    }
}
