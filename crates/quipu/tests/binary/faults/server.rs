//! The server: `quipu serve` as a process that is signalled, watched and killed, on the folder `data` in the user's home.

use std::process::{Child, Command, Stdio};
use std::sync::mpsc::Receiver;
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

use crate::process::{DEADLINE, User, lines};

/// A server process, killed when it is dropped, whatever it is at.
pub struct Serving {
    child: Child,
    pub lines: Receiver<String>,
}

impl Serving {
    pub fn start(user: &User, settings: &[&str]) -> Self {
        Self::start_behind(user, &[], settings)
    }

    /// Started by another program, which must become the server (`exec`): a signal is for the server alone.
    pub fn start_behind(user: &User, program: &[String], settings: &[&str]) -> Self {
        let data = user.path("data");
        let serve = user.command(&["serve", "--data", &data, "--listen", "127.0.0.1:0"]);
        let mut command = behind(program, serve);
        command.args(settings.iter().flat_map(|setting| ["--set", setting]));
        let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
        let lines = lines(child.stderr.take().unwrap());
        Self { child, lines }
    }

    /// Where it listens, as soon as it does.
    pub fn address(&self) -> String {
        self.waits_for("listening on http://").split(',').next().unwrap().to_owned()
    }

    /// What stands behind this on the next line on standard error that has it.
    #[track_caller]
    pub fn waits_for(&self, part: &str) -> String {
        let mut said = Vec::new();
        loop {
            let line = self.lines.recv_timeout(DEADLINE);
            let line = line.unwrap_or_else(|_| panic!("expected {part:?} from the server, found {said:#?}"));
            if let Some((_, rest)) = line.split_once(part) {
                return rest.to_owned();
            }
            said.push(line);
        }
    }

    /// Waits until it has a segment of the log open: it began to open the folder.
    pub fn opens(&self) {
        let (begun, descriptors) = (Instant::now(), format!("/proc/{}/fd", self.child.id()));
        let is_segment = |file: std::path::PathBuf| file.extension().is_some_and(|kind| kind == "seg");
        // A file may be closed again before it is looked at.
        let files =
            || std::fs::read_dir(&descriptors).unwrap().filter_map(|file| file.unwrap().path().read_link().ok());
        while !files().any(is_segment) {
            assert!(begun.elapsed() < DEADLINE, "expected the server to open a segment");
        }
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(&self.child), signal).unwrap();
    }

    /// Waits until the process is in this state, as the kernel calls it (`T` is stopped).
    pub fn reaches_state(&self, state: char) {
        let begun = Instant::now();
        while self.state() != state {
            assert!(begun.elapsed() < DEADLINE, "expected the state {state}, found {}", self.state());
            thread::sleep(Duration::from_millis(1));
        }
    }

    fn state(&self) -> char {
        self.stat()[0].chars().next().unwrap()
    }

    /// Fields of the process as in proc(5), from the third on.
    fn stat(&self) -> Vec<String> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        // The name of the program, in brackets before it, may have any byte in it.
        stat.rsplit(") ").next().unwrap().split(' ').map(str::to_owned).collect()
    }

    /// Waits until it has nothing to do: for half a second it uses hardly any time of a processor.
    pub fn rests(&self) {
        // User and system time, in hundredths of a second.
        let ticks = || self.stat()[11..13].iter().map(|ticks| ticks.parse::<u64>().unwrap()).sum::<u64>();
        let (begun, mut before) = (Instant::now(), ticks());
        loop {
            thread::sleep(Duration::from_millis(500));
            let now = ticks();
            if now - before <= 2 {
                return;
            }
            before = now;
            assert!(begun.elapsed() < DEADLINE, "expected the server to rest");
        }
    }

    /// What it has in memory, KiB.
    pub fn resident_kib(&self) -> u64 {
        let status = std::fs::read_to_string(format!("/proc/{}/status", self.child.id())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).expect("VmRSS");
        line.trim().trim_end_matches(" kB").parse().unwrap()
    }

    /// Waits for its end; the exit code.
    pub fn ends(mut self) -> i32 {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status.code().expect("it ended by itself");
            }
            assert!(begun.elapsed() < DEADLINE, "expected the server to end");
            thread::sleep(Duration::from_millis(5));
        }
    }

    /// Asks it to stop, as a service manager does, and waits for that; the exit code.
    pub fn stop(self) -> i32 {
        self.signal(Signal::TERM);
        self.ends()
    }
}

impl Drop for Serving {
    fn drop(&mut self) {
        // SIGKILL: the process gets no chance to do anything more. It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The same command, started by another program.
pub fn behind(program: &[String], command: Command) -> Command {
    let Some((first, rest)) = program.split_first() else { return command };
    let mut other = Command::new(first);
    other.args(rest).arg(command.get_program()).args(command.get_args());
    for (name, value) in command.get_envs() {
        match value {
            Some(value) => other.env(name, value),
            None => other.env_remove(name),
        };
    }
    if let Some(folder) = command.get_current_dir() {
        other.current_dir(folder);
    }
    other
}
