//! Starting the binary: once and to its end, or as a server that ends with the test.

use std::io::{BufRead, BufReader, Write};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::thread;
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

/// A machine that is slower than this is broken.
pub const DEADLINE: Duration = Duration::from_secs(30);

/// A user: a home folder, and a current folder that is empty.
pub struct User {
    pub home: TempDir,
}

/// How a command ended.
#[derive(Debug)]
pub struct Ran {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl User {
    pub fn new() -> Self {
        Self { home: TempDir::new().unwrap() }
    }

    /// The binary, in the user's home, with no variables of ours but `variables`.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_quipu"));
        command.args(args).current_dir(self.home.path()).env("HOME", self.home.path()).env_remove("XDG_CONFIG_HOME");
        for (name, _) in std::env::vars_os().filter(|(name, _)| name.to_string_lossy().starts_with("QUIPU_")) {
            command.env_remove(name);
        }
        command
    }

    pub fn run(&self, args: &[&str]) -> Ran {
        finish(self.command(args).stdin(Stdio::null()))
    }

    /// With a text on standard input.
    pub fn run_with(&self, args: &[&str], stdin: &str) -> Ran {
        let mut command = self.command(args);
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
        let mut child = command.spawn().unwrap();
        child.stdin.take().unwrap().write_all(stdin.as_bytes()).unwrap();
        Ran::of(child.wait_with_output().unwrap())
    }

    /// A server on a free port.
    pub fn serve(&self, args: &[&str]) -> Server {
        self.serve_on("127.0.0.1:0", args)
    }

    pub fn serve_on(&self, address: &str, args: &[&str]) -> Server {
        let mut command = self.command(&[&["dev", "--listen", address], args].concat());
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let lines = lines(child.stderr.take().unwrap());
        let mut server = Server { child, lines, url: String::new(), said: Vec::new() };
        let api = server.wait_for("  API ");
        server.url = api.trim_start_matches("  API").trim().trim_end_matches("/v1/events").to_owned();
        server.wait_for("Ctrl-C");
        server
    }

    pub fn write(&self, name: &str, text: &str) -> String {
        let path = self.home.path().join(name);
        std::fs::write(&path, text).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// The files in the home folder whose names begin so, sorted.
    pub fn files(&self, prefix: &str) -> Vec<String> {
        self.files_in("", prefix)
    }

    /// The same for a folder below it.
    pub fn files_in(&self, folder: &str, prefix: &str) -> Vec<String> {
        let entries = std::fs::read_dir(self.home.path().join(folder)).unwrap();
        let names = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap());
        let mut names: Vec<String> = names.filter(|name| name.starts_with(prefix)).collect();
        names.sort();
        names
    }

    pub fn path(&self, name: &str) -> String {
        self.home.path().join(name).to_str().unwrap().to_owned()
    }
}

pub fn finish(command: &mut Command) -> Ran {
    Ran::of(command.output().unwrap())
}

impl Ran {
    pub fn of(output: std::process::Output) -> Self {
        Self {
            code: output.status.code().expect("the process ended by itself"),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Expects it to have ended so; everything it said is in the message otherwise.
    #[track_caller]
    pub fn ended(self, code: i32) -> Self {
        assert_eq!(self.code, code, "{self:#?}");
        self
    }

    #[track_caller]
    pub fn ok(self) -> Self {
        self.ended(0)
    }

    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.stdout).unwrap_or_else(|error| panic!("{error}: {self:#?}"))
    }

    #[track_caller]
    pub fn lines(&self) -> Vec<Value> {
        self.stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }
}

/// A server process, killed when it is dropped.
pub struct Server {
    child: Child,
    lines: Receiver<String>,
    pub url: String,
    /// What it said on standard error so far.
    pub said: Vec<String>,
}

impl Server {
    pub fn address(&self) -> &str {
        self.url.trim_start_matches("http://")
    }

    /// The next line on standard error that contains a text.
    #[track_caller]
    pub fn wait_for(&mut self, part: &str) -> String {
        loop {
            let line = self.lines.recv_timeout(DEADLINE);
            let line = line.unwrap_or_else(|_| panic!("expected {part:?} from the server, found {:#?}", self.said));
            self.said.push(line.clone());
            if line.contains(part) {
                return line;
            }
        }
    }

    /// Asks it to stop, as a service manager does; the exit code, and what it wrote to standard output.
    pub fn stop(mut self) -> (i32, String) {
        let id = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(id, rustix::process::Signal::TERM).unwrap();
        let mut stdout = String::new();
        std::io::Read::read_to_string(&mut self.child.stdout.take().unwrap(), &mut stdout).unwrap();
        (self.child.wait().unwrap().code().expect("it ended by itself"), stdout)
    }
}

impl Server {
    /// Ends it without a last write.
    pub fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Ends it, and returns everything that it said on standard error.
    pub fn all_said(mut self) -> Vec<String> {
        self.kill();
        let mut said = std::mem::take(&mut self.said);
        said.extend(self.lines.iter());
        said
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The lines of a stream as they come.
pub fn lines(stream: impl std::io::Read + Send + 'static) -> Receiver<String> {
    let (send, receive) = channel();
    thread::spawn(move || {
        for line in BufReader::new(stream).lines().map_while(Result::ok) {
            if send.send(line).is_err() {
                return;
            }
        }
    });
    receive
}

/// So many events as JSON lines, ten a stream.
pub fn events(count: usize) -> String {
    let event = |n: usize| {
        let stream = n / 10;
        format!(
            r#"{{"specversion":"1.0","id":"{n}","source":"/test","type":"order.placed","subject":"order/{stream}","data":{{"n":{n}}}}}"#
        ) + "\n"
    };
    (0..count).map(event).collect()
}

/// Whether a folder has any file in it.
pub fn is_empty(folder: &Path) -> bool {
    std::fs::read_dir(folder).map_or(true, |mut entries| entries.next().is_none())
}

/// A user with a server.
pub struct Shop {
    pub user: User,
    pub server: Server,
}

impl Shop {
    pub fn open() -> Self {
        let user = User::new();
        let server = user.serve(&["--temporary"]);
        Self { user, server }
    }

    pub fn run(&self, args: &[&str]) -> Ran {
        self.user.run(&[&["--url", &self.server.url], args].concat())
    }

    pub fn run_with(&self, args: &[&str], stdin: &str) -> Ran {
        self.user.run_with(&[&["--url", &self.server.url], args].concat(), stdin)
    }

    /// Publishes an event of a type.
    pub fn publish(&self, kind: &str, data: &str) -> Ran {
        self.run(&["event", "publish", "--source", "/shop", "--type", kind, "--data", data])
    }
}
