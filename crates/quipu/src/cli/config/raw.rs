//! Raw configuration: texts and where they came from, before anybody has looked at what they mean.

use std::collections::BTreeMap;
use std::env;
use std::fmt;
use std::fs;
use std::io;
use std::str::FromStr;

use super::key::{KEYS, Key, Kind, nearest};
use crate::cli::exit::Failure;

/// The file that is read if no other is named.
const FILE_DEFAULT: &str = "quipu.toml";

/// `QUIPU_*` variables that other parts of the command line read.
const OTHER_VARIABLES: [&str; 8] = [
    "QUIPU_URL",
    "QUIPU_CONTEXT",
    "QUIPU_CONFIG",
    "QUIPU_KEY",
    "QUIPU_KEY_FILE",
    "QUIPU_CA_FILE",
    "QUIPU_CERTIFICATE_FILE",
    "QUIPU_CERTIFICATE_KEY_FILE",
];

/// Where a value came from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    Default,
    File(String),
    Variable(String),
    Flag,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path) => f.write_str(path),
            Self::Variable(name) => f.write_str(name),
            Self::Flag => f.write_str("flag"),
        }
    }
}

/// What was given, before it is merged.
#[derive(Debug, Default)]
pub struct Sources {
    /// Path and text of the file.
    pub file: Option<(String, String)>,
    /// Variables that begin with `QUIPU_`.
    pub variables: Vec<(String, String)>,
    /// Keys and values from flags.
    pub flags: Vec<(String, String)>,
}

/// Every key has a value.
#[derive(Debug)]
pub struct Raw {
    values: BTreeMap<&'static str, (String, Origin)>,
}

impl Sources {
    /// Reads the file and the environment.
    pub fn read(config: Option<&str>, flags: Vec<(String, String)>) -> Result<Self, Failure> {
        let variables: Vec<(String, String)> = env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .filter(|(name, value)| name.starts_with("QUIPU_") && !value.is_empty())
            .collect();
        let named = variables.iter().find(|(name, _)| name == "QUIPU_CONFIG").map(|(_, value)| value.as_str());
        let named = config.or(named);
        let path = named.unwrap_or(FILE_DEFAULT);
        let file = match fs::read_to_string(path) {
            Ok(text) => Some((path.to_owned(), text)),
            Err(error) if error.kind() == io::ErrorKind::NotFound && named.is_none() => None,
            Err(error) => return Err(Failure::usage(format!("cannot read the configuration {path}: {error}"))),
        };
        Ok(Self { file, variables, flags })
    }

    /// Merges them; and warnings. An unknown key is refused, an unknown variable is only warned of: platforms put
    /// variables of their own beside ours, such as `QUIPU_PORT` for a Kubernetes service named quipu.
    pub fn merge(self) -> Result<(Raw, Vec<String>), Failure> {
        let mut values: BTreeMap<_, _> =
            KEYS.iter().map(|key| (key.name, (key.default.to_owned(), Origin::Default))).collect();
        if let Some((path, text)) = self.file {
            let table: toml::Table = text.parse().map_err(|error| Failure::usage(format!("{path}: {error}")))?;
            for (name, value) in table {
                let key = find(&name).map_err(|message| Failure::usage(format!("{path}: {message}")))?;
                let value = of_file(key, &value).map_err(|message| Failure::usage(format!("{path}: {message}")))?;
                values.insert(key.name, (value, Origin::File(path.clone())));
            }
        }
        let mut warnings = Vec::new();
        for (variable, value) in self.variables {
            if let Some(key) = KEYS.iter().find(|key| key.variable() == variable) {
                values.insert(key.name, (value, Origin::Variable(variable)));
            } else if !OTHER_VARIABLES.contains(&variable.as_str()) {
                warnings.push(unknown_variable(&variable));
            }
        }
        for (name, value) in self.flags {
            let key = find(&name).map_err(|message| Failure::usage(format!("--set: {message}")))?;
            values.insert(key.name, (value, Origin::Flag));
        }
        Ok((Raw { values }, warnings))
    }
}

fn unknown_variable(variable: &str) -> String {
    let known: Vec<String> = KEYS.iter().map(Key::variable).collect();
    let hint = nearest(variable, known.iter().map(String::as_str));
    let hint = hint.map_or(String::new(), |name| format!("; did you mean {name}?"));
    format!("the variable {variable} is not one of quipu's and is ignored{hint}")
}

fn find(name: &str) -> Result<&'static Key, String> {
    KEYS.iter().find(|key| key.name == name).ok_or_else(|| {
        let hint = match nearest(name, KEYS.iter().map(|key| key.name)) {
            Some(near) => format!("did you mean {near}?"),
            None => "`quipu serve --print-config` lists the keys".to_owned(),
        };
        format!("expected a known key, found {name}; {hint}")
    })
}

/// A value of the file must be of its key's type, so that `listen = 7070` is refused here and not misread later.
fn of_file(key: &Key, value: &toml::Value) -> Result<String, String> {
    let expected = match (key.kind, value) {
        (Kind::Text, toml::Value::String(text)) => return Ok(text.clone()),
        (Kind::Number { .. }, toml::Value::Integer(number)) => return Ok(number.to_string()),
        (Kind::Switch, toml::Value::Boolean(switch)) => return Ok(switch.to_string()),
        (Kind::Text, _) => "a string",
        (Kind::Number { .. }, _) => "a whole number",
        (Kind::Switch, _) => "true or false",
    };
    Err(format!("{}: expected {expected}, found {value}", key.name))
}

impl Raw {
    /// The value of a key and where it came from.
    pub fn get(&self, name: &str) -> (&str, &Origin) {
        let (value, origin) = self.values.get(name).expect("every key of the table has a value");
        (value, origin)
    }

    pub fn text(&self, name: &str) -> Result<&str, Failure> {
        match self.get(name).0 {
            "" => Err(self.wrong(name, "a text that is not empty")),
            text => Ok(text),
        }
    }

    pub fn parsed<T: FromStr>(&self, name: &str, expected: &str) -> Result<T, Failure> {
        self.get(name).0.parse().map_err(|_| self.wrong(name, expected))
    }

    /// Values that are separated by commas, or `none`.
    pub fn list<T: FromStr>(&self, name: &str, expected: &str) -> Result<Vec<T>, Failure> {
        match self.text(name)? {
            "none" => Ok(Vec::new()),
            text => text.split(',').map(|part| self.part(name, part.trim(), expected)).collect(),
        }
    }

    fn part<T: FromStr>(&self, name: &str, part: &str, expected: &str) -> Result<T, Failure> {
        part.parse().map_err(|_| self.wrong(name, expected))
    }

    pub fn number(&self, name: &str) -> Result<u64, Failure> {
        let kind = KEYS.iter().find(|key| key.name == name).map(|key| key.kind);
        let Some(Kind::Number { min, max }) = kind else { return self.parsed(name, "a whole number") };
        let number: u64 = self.parsed(name, "a whole number")?;
        if number < min {
            return Err(self.wrong(name, &format!("at least {min}")));
        }
        if number > max {
            return Err(self.wrong(name, &format!("at most {max}")));
        }
        Ok(number)
    }

    fn wrong(&self, name: &str, expected: &str) -> Failure {
        let (value, origin) = self.get(name);
        Failure::usage(format!("{name} (from {origin}): expected {expected}, found {value}"))
    }
}
