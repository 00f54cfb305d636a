//! The five-minute tour of the README, run as it stands: every `console` block's commands against the built binary,
//! and what they print held to what the README shows.
//!
//! Times, lengths of time, random ids and hashes differ from run to run, and the demo goes on placing orders while the
//! tour lasts, so positions behind the GitHub events and the sizes of the store do, too; [`is_same`] says what may
//! differ.
//!
//! `QUIPU_WRITE_GOLDEN=1 cargo test -p quipu tour` writes what the commands print now into the README.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use crate::process::{DEADLINE, Ran, Server, User};

/// Where the README has the repository, and how it calls the binary.
const HOME: &str = "/home/ada/quipu";
const BINARY: &str = "./target/release/quipu";
const SERVER: &str = "cargo run --release -- dev";

/// A command of the tour and what the README has it print.
struct Step {
    command: String,
    shown: String,
    /// Lines of the README that hold `shown`.
    lines: std::ops::Range<usize>,
}

fn repository() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..").canonicalize().unwrap()
}

/// A line that begins with `$ ` is a command, `> ` goes on with it, everything else is what it prints.
fn steps(text: &str) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    let mut is_inside = false;
    for (number, line) in text.lines().enumerate() {
        if line.starts_with("```") {
            is_inside = line == "```console";
        } else if is_inside {
            match (line.strip_prefix("$ "), steps.last_mut()) {
                (Some(command), _) => {
                    steps.push(Step { command: command.into(), shown: String::new(), lines: number + 1..number + 1 });
                }
                (None, Some(step)) if step.shown.is_empty() && line.starts_with("> ") => {
                    write!(step.command, "\n{}", &line[2..]).unwrap();
                    step.lines = number + 1..number + 1;
                }
                (None, Some(step)) => {
                    writeln!(step.shown, "{line}").unwrap();
                    step.lines.end = number + 1;
                }
                (None, None) => panic!("line {}: expected a command before its output", number + 1),
            }
        }
    }
    steps
}

/// Runs a command as a shell does, with the binary on the path and the server where the README says it is.
fn run(user: &User, server: &Server, command: &str) -> String {
    let folder = Path::new(env!("CARGO_BIN_EXE_quipu")).parent().unwrap();
    let path = format!("{}:{}", folder.display(), std::env::var("PATH").unwrap());
    let command = command.replace("127.0.0.1:7070", server.address());
    // `user.command` gives the home and takes our own variables away.
    let quipu = user.command(&[]);
    let mut shell = std::process::Command::new("sh");
    shell.args(["-c", &format!("exec 2>&1\n{command}")]).current_dir(user.home.path());
    for (name, value) in quipu.get_envs() {
        match value {
            Some(value) => shell.env(name, value),
            None => shell.env_remove(name),
        };
    }
    shell.env("PATH", path).env("QUIPU_URL", &server.url).stdin(Stdio::null());
    Ran::of(shell.output().unwrap()).stdout
}

/// Runs a step. What asks why nothing moves is asked again for a while if it says something else: an order of the demo that
/// came just now is behind for as long as it takes to look at it.
fn as_it_settles(user: &User, server: &Server, step: &Step) -> String {
    let deadline = Instant::now() + DEADLINE;
    loop {
        let printed = run(user, server, &step.command);
        let is_question = step.command.starts_with("quipu subscription explain");
        let settles = differ_from(&step.shown, &as_at_home(&printed, user, server)).is_some() && is_question;
        if !settles || Instant::now() > deadline {
            return printed;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// What was printed, as it would have been at the place and with the port of the README.
fn as_at_home(printed: &str, user: &User, server: &Server) -> String {
    let home = user.home.path().canonicalize().unwrap();
    printed
        .replace(&server.url, "http://127.0.0.1:7070")
        .replace(server.address(), "127.0.0.1:7070")
        .replace(env!("CARGO_BIN_EXE_quipu"), BINARY)
        .replace(" --url http://127.0.0.1:7070", "")
        .replace(&home.display().to_string(), HOME)
        .trim_end()
        .to_owned()
}

/// Words, numbers, times and signs; spaces only separate, since the width of a column depends on what is in it.
fn tokens(text: &str) -> Vec<&str> {
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let is_of_time = |c: char| c.is_ascii_digit() || "TZ:.-".contains(c);
    let mut tokens = Vec::new();
    for word in text.split_whitespace() {
        let mut rest = word;
        while let Some(first) = rest.chars().next() {
            let time = rest[..rest.find(|c| !is_of_time(c)).unwrap_or(rest.len())].trim_end_matches('.');
            let end = match is_word(first) {
                _ if is_time(time) => time.len(),
                true => rest.find(|c| !is_word(c)).unwrap_or(rest.len()),
                false => first.len_utf8(),
            };
            tokens.push(&rest[..end]);
            rest = &rest[end..];
        }
    }
    tokens
}

/// As this product writes it: `2026-01-01T00:00:00Z`, with or without a fraction.
fn is_time(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes.len() >= 20 && bytes[4] == b'-' && bytes[10] == b'T' && bytes.ends_with(b"Z")
}

/// Half or all of a hash, random ids, and the keys of deliveries, which are hashed for each store.
fn is_hash(text: &str) -> bool {
    matches!(text.len(), 8 | 16 | 32) && text.bytes().all(|c| c.is_ascii_hexdigit())
}

/// Positions after the demo's 324 events, numbers of commits, and sizes. Versions, and counts of what the tour has done,
/// are smaller than 5, the least number that the commit it shows can have; the demo's own test counts its duplicates. The log
/// of the tenant `system` has some 290 bytes.
fn is_moving(text: &str) -> bool {
    text.parse().is_ok_and(|number: u64| (5..100).contains(&number) || (280..300).contains(&number) || number > 324)
}

/// As a lag is shown: `412ms`, `13s`.
fn is_duration(text: &str) -> bool {
    let number = text.strip_suffix("ms").or_else(|| text.strip_suffix('s')).unwrap_or_default();
    !number.is_empty() && number.bytes().all(|c| c.is_ascii_digit())
}

/// From which word on what was printed is not what is shown.
fn differ_from(shown: &str, printed: &str) -> Option<usize> {
    let (expected, found) = (tokens(shown), tokens(printed));
    let same = expected.iter().zip(&found).take_while(|(shown, printed)| is_same(shown, printed)).count();
    (same < expected.len() || same < found.len()).then_some(same)
}

fn is_same(shown: &str, printed: &str) -> bool {
    let may_differ: [fn(&str) -> bool; 4] = [is_time, is_hash, is_moving, is_duration];
    shown == printed || may_differ.iter().any(|kind| kind(shown) && kind(printed))
}

#[test]
fn every_command_of_the_tour_prints_what_the_readme_shows() {
    let readme = repository().join("README.md");
    let text = std::fs::read_to_string(&readme).unwrap();
    let steps = steps(&text);
    assert!(steps[0].command.starts_with(SERVER), "the tour begins with starting the server");
    let user = User::new();
    std::os::unix::fs::symlink(repository().join("examples"), user.home.path().join("examples")).unwrap();
    let flags: Vec<&str> = steps[0].command[SERVER.len()..].split_whitespace().collect();
    let server = user.serve(&flags);

    let mut lines: Vec<&str> = text.lines().collect();
    let mut printed = vec![server.said.join("\n")];
    printed.extend(steps[1..].iter().map(|step| as_it_settles(&user, &server, step)));
    let printed: Vec<String> = printed.iter().map(|text| as_at_home(text, &user, &server)).collect();
    if std::env::var_os("QUIPU_WRITE_GOLDEN").is_some() {
        for (step, printed) in steps.iter().zip(&printed).rev() {
            lines.splice(step.lines.clone(), printed.lines());
        }
        std::fs::write(readme, lines.join("\n") + "\n").unwrap();
        return;
    }
    for (step, printed) in steps.iter().zip(&printed) {
        let Some(from) = differ_from(&step.shown, printed) else { continue };
        panic!(
            "README.md, line {}: $ {}\nexpected\n{}\nfound\n{printed}\nwhich differ from {:?} and {:?} on",
            step.lines.start,
            step.command,
            step.shown,
            tokens(&step.shown).get(from),
            tokens(printed).get(from),
        );
    }
}

#[test]
fn only_what_changes_from_run_to_run_may_differ() {
    for (shown, printed, expected) in [
        ("a 331", "a  340", true),
        ("324 recorded", "323 recorded", false),
        ("version 1", "version 2", false),
        ("2026-01-01T00:00:00Z x", "2027-01-01T00:00:00.123456Z x", true),
        ("id 0123abcd-1", "id 9999ffff-1", true),
        ("due 2026-01-01T00:00:00Z.", "due 2027-01-01T00:00:00.5Z.", true),
        ("2 events; 412ms.", "2 events; 13s.", true),
        ("2 events; 412ms.", "3 events; 412ms.", false),
        ("[id-conflict]", "[wrong-version]", false),
        (r#"{"time":"2026-01-01T00:00:00Z","v":1}"#, r#"{"time":"2027-12-31T23:59:59.5Z","v":1}"#, true),
        (r#""commit":7"#, r#""commit":12"#, true),
    ] {
        let (shown, printed) = (tokens(shown), tokens(printed));
        assert_eq!(shown.iter().zip(&printed).all(|(a, b)| is_same(a, b)), expected, "{shown:?} {printed:?}");
    }
}
