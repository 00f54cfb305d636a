//! The database that a read model is in, as a declaration names it: a word, or the URL of a PostgreSQL database. Only what can be checked
//! without asking anybody is checked here.

use std::fmt;
use std::net::Ipv6Addr;

use serde::de::{self, MapAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// Longest URL, bytes.
const URL_BYTES_MAX: usize = 512;
/// Longest password, bytes.
const PASSWORD_BYTES_MAX: usize = 1_024;
/// Longest name of a user or a database: what PostgreSQL keeps of one.
const NAME_BYTES_MAX: usize = 63;
/// Where PostgreSQL listens, if nothing else is said.
const PORT: u16 = 5_432;

/// The database that a read model is in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum ReadModelStore {
    /// A file of SQLite in the tenant's folder.
    #[default]
    Sqlite,
    /// Schemas of a PostgreSQL database.
    Postgres(PostgresUrl),
}

/// A PostgreSQL database: `postgres://user@host:port/database`.
#[derive(Clone, PartialEq, Eq)]
pub struct PostgresUrl {
    text: String,
    /// Who connects.
    pub user: String,
    /// A name or an address, without brackets.
    pub host: String,
    /// Its port.
    pub port: u16,
    /// The database.
    pub database: String,
    /// Whether the connection is encrypted.
    pub encryption: Encryption,
    /// Given with a declaration, and never written down with it.
    pub password: Option<Password>,
}

/// Whether a connection is encrypted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encryption {
    /// If the server can: `sslmode` is not said. Over a public network always.
    Preferred,
    /// `require` and `verify-full`: always, with a certificate of the host that an authority vouches for.
    Required,
    /// `disable`.
    Never,
}

/// A password, which is never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Password(String);

/// What is wrong with the store of a declaration. Nothing of it is repeated: there may be a password in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InvalidStore {
    /// It is no word and no URL.
    Unreadable,
    /// There is a password in the URL.
    HasPassword,
    /// The host is none, or there are several.
    Host,
    /// The user or the database is none.
    Name,
    /// Something behind a `?` that is not `sslmode`.
    Parameter,
    /// The password is none.
    Password,
}

impl Password {
    /// Reads one.
    ///
    /// # Errors
    /// It is empty, too long, or has a NUL.
    pub fn new(text: &str) -> Result<Self, InvalidStore> {
        match text.is_empty() || text.len() > PASSWORD_BYTES_MAX || text.contains('\0') {
            true => Err(InvalidStore::Password),
            false => Ok(Self(text.to_owned())),
        }
    }

    /// It.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Password {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Password(…)")
    }
}

impl PostgresUrl {
    /// Reads `postgres://user@host:port/database?sslmode=require`.
    ///
    /// # Errors
    /// [`InvalidStore`].
    pub fn parse(text: &str) -> Result<Self, InvalidStore> {
        let rest = text.strip_prefix("postgres://").or_else(|| text.strip_prefix("postgresql://"));
        let rest = rest.filter(|_| text.len() <= URL_BYTES_MAX).ok_or(InvalidStore::Unreadable)?;
        let (rest, query) = rest.split_once('?').map_or((rest, None), |(rest, query)| (rest, Some(query)));
        let (user, rest) = rest.rsplit_once('@').ok_or(InvalidStore::Unreadable)?;
        if user.contains([':', '@']) {
            return Err(InvalidStore::HasPassword);
        }
        let (host, database) = rest.split_once('/').ok_or(InvalidStore::Unreadable)?;
        if !is_name(user) || !is_name(database) {
            return Err(InvalidStore::Name);
        }
        let (host, port) = split_host(host).ok_or(InvalidStore::Host)?;
        let encryption = match query {
            None => Encryption::Preferred,
            Some("sslmode=require" | "sslmode=verify-full") => Encryption::Required,
            Some("sslmode=disable") => Encryption::Never,
            Some(_) => return Err(InvalidStore::Parameter),
        };
        let (user, host, database) = (user.to_owned(), host.to_owned(), database.to_owned());
        Ok(Self { text: text.to_owned(), user, host, port, database, encryption, password: None })
    }

    /// As it was written, without a password.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

fn is_name(text: &str) -> bool {
    let is_of_name = |byte: u8| byte.is_ascii_alphanumeric() || b"_.-".contains(&byte);
    !text.is_empty() && text.len() <= NAME_BYTES_MAX && text.bytes().all(is_of_name)
}

fn split_host(text: &str) -> Option<(&str, u16)> {
    let (host, port) = match text.strip_prefix('[') {
        Some(rest) => {
            let (host, port) = rest.split_once(']')?;
            host.parse::<Ipv6Addr>().ok()?;
            (host, if port.is_empty() { None } else { Some(port.strip_prefix(':')?) })
        }
        None => {
            let (host, port) = text.split_once(':').map_or((text, None), |(host, port)| (host, Some(port)));
            let is_of_host = |byte: u8| byte.is_ascii_alphanumeric() || b".-_".contains(&byte);
            if host.is_empty() || host.len() > 253 || !host.bytes().all(is_of_host) {
                return None;
            }
            (host, port)
        }
    };
    let Some(port) = port else { return Some((host, PORT)) };
    let port = port.bytes().all(|byte| byte.is_ascii_digit()).then(|| port.parse().ok())??;
    (port != 0).then_some((host, port))
}

/// For messages: which database where, and nothing else.
impl fmt::Display for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port, database, .. } = self;
        match host.contains(':') {
            true => write!(f, "the database {database} at [{host}]:{port}"),
            false => write!(f, "the database {database} at {host}:{port}"),
        }
    }
}

impl fmt::Debug for PostgresUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("PostgresUrl").field(&self.text).finish()
    }
}

impl fmt::Display for InvalidStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Unreadable => {
                "expected sqlite, or a URL such as postgres://user@db.example/shop, found something else (it is not repeated, since it may \
                 hold a password)"
            }
            Self::HasPassword => {
                "expected a URL without a password, found one with it; give it apart, as {postgres: URL, password: …}: it is kept beside the \
                 log and never shown"
            }
            Self::Host => {
                "expected one host in the URL of the store, a name or an address, and a port from 1 to 65535 if one, found something else"
            }
            Self::Name => {
                "expected a user and a database in the URL of the store, each 1 to 63 letters, digits, _, - and ., found something else"
            }
            Self::Parameter => {
                "expected nothing behind the database in the URL of the store but ?sslmode=disable, require or verify-full, found something else"
            }
            Self::Password => "expected a password of 1 to 1024 bytes without NUL, found something else",
        })
    }
}

impl std::error::Error for InvalidStore {}

/// Without the password, wherever it goes.
impl Serialize for ReadModelStore {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(match self {
            Self::Sqlite => "sqlite",
            Self::Postgres(url) => url.as_str(),
        })
    }
}

impl<'de> Deserialize<'de> for ReadModelStore {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct EitherForm;
        impl<'de> Visitor<'de> for EitherForm {
            type Value = ReadModelStore;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("sqlite, the URL of a PostgreSQL database, or an object with postgres and password")
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<ReadModelStore, E> {
                match text {
                    "sqlite" => Ok(ReadModelStore::Sqlite),
                    text => PostgresUrl::parse(text).map(ReadModelStore::Postgres).map_err(E::custom),
                }
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<ReadModelStore, A::Error> {
                let (mut url, mut password) = (None, None);
                while let Some(member) = map.next_key::<String>()? {
                    match member.as_str() {
                        "postgres" => url = Some(PostgresUrl::parse(&map.next_value::<String>()?)),
                        "password" => password = Some(map.next_value::<Password>()?),
                        _ => {
                            return Err(de::Error::custom(
                                "expected postgres and password in store, found something else",
                            ));
                        }
                    }
                }
                let url = url.ok_or_else(|| de::Error::missing_field("postgres"))?.map_err(de::Error::custom)?;
                Ok(ReadModelStore::Postgres(PostgresUrl { password, ..url }))
            }
        }
        deserializer.deserialize_any(EitherForm)
    }
}

/// By hand: what is wrong with it is not repeated.
impl<'de> Deserialize<'de> for Password {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let read = String::deserialize(deserializer).map_err(|_| de::Error::custom(InvalidStore::Password))?;
        Self::new(&read).map_err(de::Error::custom)
    }
}

#[cfg(feature = "schema")]
impl schemars::JsonSchema for ReadModelStore {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "ReadModelStore".into()
    }

    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({
            "description": "The database that a read model is in: `sqlite`, or the URL of a PostgreSQL database without a password. A password is given \
                            once, in an object beside the URL; it is never recorded or shown.",
            "anyOf": [
                { "type": "string", "maxLength": URL_BYTES_MAX, "examples": ["sqlite", "postgres://shop@db.example/shop"] },
                {
                    "type": "object",
                    "properties": {
                        "postgres": { "type": "string", "maxLength": URL_BYTES_MAX },
                        "password": { "type": "string", "minLength": 1, "maxLength": PASSWORD_BYTES_MAX, "writeOnly": true }
                    },
                    "required": ["postgres"],
                    "additionalProperties": false
                }
            ]
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(json: &str) -> Result<ReadModelStore, String> {
        serde_json::from_str(json).map_err(|error| error.to_string())
    }

    #[test]
    fn urls_are_read_and_written_as_they_were() {
        for (text, user, host, port, database, encryption) in [
            ("postgres://shop@localhost/orders", "shop", "localhost", 5432, "orders", Encryption::Preferred),
            (
                "postgresql://a.b-c_1@db.example:7000/x?sslmode=require",
                "a.b-c_1",
                "db.example",
                7000,
                "x",
                Encryption::Required,
            ),
            ("postgres://u@[::1]:1/d?sslmode=disable", "u", "::1", 1, "d", Encryption::Never),
            ("postgres://u@10.0.0.1/d?sslmode=verify-full", "u", "10.0.0.1", 5432, "d", Encryption::Required),
        ] {
            let ReadModelStore::Postgres(url) = read(&format!("{text:?}")).unwrap() else { panic!("{text}") };
            assert_eq!((url.user.as_str(), url.host.as_str(), url.port), (user, host, port), "{text}");
            assert_eq!((url.database.as_str(), url.encryption), (database, encryption), "{text}");
            assert_eq!(serde_json::to_string(&ReadModelStore::Postgres(url)).unwrap(), format!("{text:?}"));
        }
        assert_eq!(read("\"sqlite\"").unwrap(), ReadModelStore::Sqlite);
    }

    #[test]
    fn what_is_no_store_is_refused_and_not_repeated() {
        use InvalidStore as No;
        for (text, expected) in [
            ("mysql://hunter2@localhost/d", No::Unreadable),
            ("postgres://localhost/hunter2", No::Unreadable),
            ("postgres://u@hunter2", No::Unreadable),
            ("postgres://u:hunter2@localhost/d", No::HasPassword),
            ("postgres://u:hunter@2@localhost/d", No::HasPassword),
            ("postgres://u@%2Ftmp%2Fhunter2/d", No::Host),
            ("postgres://u@hunter2,b/d", No::Host),
            ("postgres://u@hunter2:0/d", No::Host),
            ("postgres://u@hunter2:65536/d", No::Host),
            ("postgres://u@hunter2:+1/d", No::Host),
            ("postgres://u@[hunter2]/d", No::Host),
            ("postgres://u@/hunter2", No::Host),
            ("postgres://u@localhost/", No::Name),
            ("postgres://@localhost/hunter2", No::Name),
            ("postgres://u@localhost/d/hunter2", No::Name),
            ("postgres://hunter%32@localhost/d", No::Name),
            ("postgres://u@localhost/d?password=hunter2", No::Parameter),
            ("postgres://u@localhost/d?hostaddr=10.0.0.1", No::Parameter),
            ("postgres://u@localhost/d?host=/tmp/hunter2", No::Parameter),
            ("postgres://u@localhost/d?options=-c%20hunter2", No::Parameter),
            ("postgres://u@localhost/d?sslmode=prefer", No::Parameter),
            ("postgres://u@localhost/d?sslmode=require&host=hunter2", No::Parameter),
        ] {
            assert_eq!(PostgresUrl::parse(text), Err(expected), "{text}");
            let said = read(&format!("{text:?}")).unwrap_err();
            assert!(!said.contains("hunter") && said.contains("expected"), "{said}");
        }
        for json in [
            r#"{"password":"hunter2"}"#,
            r#"{"postgres":"postgres://u@h/d","password":["hunter2"]}"#,
            r#"{"postgres":"postgres://u@h/d","password":""}"#,
            r#"{"postgres":"postgres://u@h/d","password":"a\u0000hunter2"}"#,
            r#"{"postgres":"postgres://u@h/d","hunter2":"x"}"#,
            r#"["hunter2"]"#,
        ] {
            let said = read(json).unwrap_err();
            assert!(!said.contains("hunter"), "{said}");
        }
    }

    #[test]
    fn a_password_is_read_and_never_written() {
        let store = read(r#"{"postgres":"postgres://u@h/d","password":"hunter2"}"#).unwrap();
        let ReadModelStore::Postgres(url) = &store else { panic!() };
        assert_eq!(url.password.as_ref().unwrap().expose(), "hunter2");
        assert_eq!(serde_json::to_string(&store).unwrap(), r#""postgres://u@h/d""#);
        assert!(!format!("{store:?} {url} {:?}", url.password).contains("hunter2"));
    }
}
