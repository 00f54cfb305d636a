//! Named contexts: which server a command talks to. They live in `contexts.toml` in the user's configuration folder
//! and hold nothing secret.
//!
//! The server is, in this order: `--url`, `--context`, `QUIPU_URL`, `QUIPU_CONTEXT`, the context in use, and
//! `http://127.0.0.1:7070`. The key, or the token of an identity provider, is in the file of `--key-file` or `QUIPU_KEY_FILE`, or in `QUIPU_KEY`; what TLS needs, in
//! the files of `--ca-file`, `--certificate-file` and `--certificate-key-file`, or of the variables named like these.

use std::collections::BTreeMap;
use std::env;
use std::ffi::OsString;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use clap::Subcommand;
use quipu::client_tls::ClientTls;
use quipu_api::server_url;
use quipu_domain::access::Token;
use quipu_server::is_token;
use serde::{Deserialize, Serialize};
use serde_json::json;
use zeroize::Zeroizing;

use super::Global;
use super::exit::{Exit, Failure, Outcome};
use super::output::{Format, Out};
use super::tls::{read, read_key};

/// Where `quipu dev` and `quipu serve` listen unless told otherwise.
pub const URL_DEFAULT: &str = "http://127.0.0.1:7070";

#[derive(Debug, Subcommand)]
pub enum ContextCommand {
    /// Add or change a context
    Add {
        /// The name of the context
        name: String,
        /// The URL of the server, such as http://127.0.0.1:7070
        #[arg(value_name = "URL")]
        server: String,
    },
    /// List the contexts; the one in use has a star
    List,
    /// Use a context from now on
    Use {
        /// The name of the context
        name: String,
    },
    /// Remove a context
    Remove {
        /// The name of the context
        name: String,
    },
}

#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Contexts {
    current: Option<String>,
    #[serde(default)]
    contexts: BTreeMap<String, Context>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Context {
    url: String,
}

/// The server that a command talks to.
pub fn url(global: &Global) -> Result<String, Failure> {
    if let Some(url) = &global.url {
        return checked(url);
    }
    let variable = |name: &str| variable(name).and_then(|value| value.into_string().ok());
    if global.context.is_none()
        && let Some(url) = variable("QUIPU_URL")
    {
        return checked(&url);
    }
    let named = global.context.clone().or_else(|| variable("QUIPU_CONTEXT"));
    let Ok(path) = path() else { return Ok(URL_DEFAULT.to_owned()) };
    let contexts = load(&path)?;
    match named.or_else(|| contexts.current.clone()) {
        None => Ok(URL_DEFAULT.to_owned()),
        Some(name) => checked(&find(&contexts, &name)?.url),
    }
}

/// The key that a command uses, if there is one. It is no flag: flags are seen by everybody who lists processes.
pub fn key(global: &Global) -> Result<Option<Zeroizing<String>>, Failure> {
    let Some(path) = file(&global.key_file, "QUIPU_KEY_FILE") else {
        let Some(text) = variable("QUIPU_KEY") else { return Ok(None) };
        return key_of("QUIPU_KEY", &Zeroizing::new(text.to_string_lossy().into_owned())).map(Some);
    };
    let text = fs::read_to_string(&path).map_err(|error| Failure::file("read", path.display(), &error))?;
    key_of(&path.display().to_string(), &Zeroizing::new(text)).map(Some)
}

/// What TLS needs beside what the machine trusts.
pub fn tls(global: &Global) -> Result<ClientTls, Failure> {
    let mut tls = ClientTls::default();
    let wrong = |path: &Path, said: String| Failure::usage(format!("{}: {said}", path.display()));
    if let Some(path) = file(&global.ca_file, "QUIPU_CA_FILE") {
        tls.believe(&read(&path)?).map_err(|said| wrong(&path, said))?;
    }
    let certificate = file(&global.certificate_file, "QUIPU_CERTIFICATE_FILE");
    let key = file(&global.certificate_key_file, "QUIPU_CERTIFICATE_KEY_FILE");
    match (certificate, key) {
        (None, None) => {}
        (Some(certificate), Some(key)) => {
            let shown = tls.show(&read(&certificate)?, &read_key(&key)?);
            shown.map_err(|said| wrong(&certificate, format!("{}: {said}", key.display())))?;
        }
        _ => {
            return Err(Failure::usage(
                "--certificate-file, --certificate-key-file: expected both or neither, found one of them",
            ));
        }
    }
    Ok(tls)
}

/// The file that a flag names, or a variable.
fn file(flag: &Option<PathBuf>, name: &str) -> Option<PathBuf> {
    flag.clone().or_else(|| variable(name).map(PathBuf::from))
}

fn variable(name: &str) -> Option<OsString> {
    env::var_os(name).filter(|value| !value.is_empty())
}

/// The key or token in a text; where the text is from is said if it is neither, and never the text.
fn key_of(place: &str, text: &Zeroizing<String>) -> Result<Zeroizing<String>, Failure> {
    let text = text.trim();
    match Token::parse(text).is_some() || is_token(text) {
        true => Ok(Zeroizing::new(text.to_owned())),
        false => Err(Failure::usage(format!(
            "{place}: expected a key, qp_<tenant>_<id>_<secret>, or a token of an identity provider, and nothing else"
        ))),
    }
}

pub fn run(command: ContextCommand, out: &mut Out) -> Outcome {
    let path = path()?;
    let mut contexts = load(&path)?;
    match command {
        ContextCommand::Add { name, server } => {
            let url = checked(&server)?;
            contexts.contexts.insert(name.clone(), Context { url });
            // The first one is used at once: why else would somebody add it?
            contexts.current.get_or_insert(name);
            save(&path, &contexts)?;
        }
        ContextCommand::Use { name } => {
            find(&contexts, &name)?;
            contexts.current = Some(name);
            save(&path, &contexts)?;
        }
        ContextCommand::Remove { name } => {
            find(&contexts, &name)?;
            contexts.contexts.remove(&name);
            contexts.current = contexts.current.filter(|current| *current != name);
            save(&path, &contexts)?;
        }
        ContextCommand::List => list(&contexts, out)?,
    }
    Ok(Exit::Ok)
}

fn list(contexts: &Contexts, out: &mut Out) -> io::Result<()> {
    let is_current = |name: &String| contexts.current.as_ref() == Some(name);
    let entry =
        |(name, context): (&String, &Context)| json!({"name": name, "url": context.url, "current": is_current(name)});
    match out.format {
        Format::Table => {
            let row = |(name, context): (&String, &Context)| {
                vec![if is_current(name) { "*" } else { "" }.to_owned(), name.clone(), context.url.clone()]
            };
            out.table(&["", "NAME", "URL"], &contexts.contexts.iter().map(row).collect::<Vec<_>>())
        }
        Format::Json => out.document(&contexts.contexts.iter().map(entry).collect::<Vec<_>>()),
        Format::Ndjson => contexts.contexts.iter().map(entry).try_for_each(|entry| out.document(&entry)),
    }
}

fn find<'c>(contexts: &'c Contexts, name: &str) -> Result<&'c Context, Failure> {
    contexts.contexts.get(name).ok_or_else(|| {
        let known: Vec<_> = contexts.contexts.keys().map(String::as_str).collect();
        let known = if known.is_empty() { "none".to_owned() } else { known.join(", ") };
        let message =
            format!("expected a context that exists ({known}), found {name}; add it: quipu context add {name} URL");
        Failure::new(Exit::NotFound, message)
    })
}

fn checked(url: &str) -> Result<String, Failure> {
    server_url(url).map(str::to_owned).map_err(|invalid| Failure::usage(invalid.to_string()))
}

/// `$XDG_CONFIG_HOME/quipu/contexts.toml`, or below `~/.config` (XDG Base Directory Specification).
fn path() -> Result<PathBuf, Failure> {
    let folder = |name: &str| env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let config = folder("XDG_CONFIG_HOME").or_else(|| folder("HOME").map(|home| home.join(".config")));
    let config = config.ok_or_else(|| Failure::usage("expected HOME or XDG_CONFIG_HOME to be set, found neither"))?;
    Ok(config.join("quipu").join("contexts.toml"))
}

fn load(path: &Path) -> Result<Contexts, Failure> {
    let text = match fs::read_to_string(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Contexts::default()),
        Err(error) => return Err(Failure::file("read", path.display(), &error)),
    };
    toml::from_str(&text).map_err(|error| Failure::usage(format!("{}: {error}", path.display())))
}

/// Written beside and renamed, so that a second command never reads half a file.
fn save(path: &Path, contexts: &Contexts) -> Result<(), Failure> {
    let failed = |error: io::Error| Failure::file("write", path.display(), &error);
    let text = toml::to_string(contexts).map_err(|error| Failure::failed(error.to_string()))?;
    let folder = path.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder).map_err(failed)?;
    let beside = folder.join(format!(".contexts.{}.toml", std::process::id()));
    fs::write(&beside, text).map_err(failed)?;
    fs::rename(&beside, path).map_err(failed)
}
