//! Progress on standard error, if that is a terminal, for what lasts longer than a second: a bar for what is counted, a
//! line for what is not.

use std::fs::File;
use std::io;
use std::os::fd::AsFd as _;
use std::sync::mpsc::{RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use super::count::counted;

/// What is done quicker than this needs no bar.
const PATIENCE: Duration = Duration::from_secs(1);

pub struct Progress {
    started: Instant,
    bar: ProgressBar,
    total: Option<u64>,
    unit: Unit,
    state: State,
}

/// What the length of the bar counts.
#[derive(Clone, Copy)]
enum Unit {
    Bytes,
    Events,
}

enum State {
    /// It has not lasted long.
    Waiting,
    Drawn,
    /// It would stand among what is printed.
    Off,
}

impl Progress {
    /// Of `total` bytes, if that is known.
    pub fn new(total: Option<u64>) -> Self {
        Self::of(total, Unit::Bytes, State::Waiting)
    }

    /// Of `total` events, if that is known.
    pub fn of_events(total: Option<u64>) -> Self {
        Self::of(total, Unit::Events, State::Waiting)
    }

    /// The same for events that go to standard output. Where that is no file, on a terminal or in a pipe to whatever may
    /// print, a bar would stand among the lines.
    pub fn beside_output(total: Option<u64>) -> Self {
        let state = if is_output_a_file() { State::Waiting } else { State::Off };
        Self::of(total, Unit::Events, state)
    }

    fn of(total: Option<u64>, unit: Unit, state: State) -> Self {
        let bar = ProgressBar::with_draw_target(total, ProgressDrawTarget::hidden());
        Self { started: Instant::now(), bar, total, unit, state }
    }

    /// So many bytes and events are done.
    pub fn at(&mut self, bytes: u64, events: u64) {
        let rate = events as f64 / self.started.elapsed().as_secs_f64().max(0.001);
        let done = match self.unit {
            Unit::Bytes => bytes,
            Unit::Events => events,
        };
        self.draw(done, format!("{}, {rate:.0}/s", counted(events, "event")));
    }

    /// So many of all events are done, where bytes are not counted.
    pub fn at_events(&mut self, done: u64, all: u64) {
        self.total = Some(all);
        self.bar.set_length(all);
        self.at(0, done);
    }

    /// So many of all bytes are done, where events are not counted.
    pub fn at_bytes(&mut self, done: u64, all: u64) {
        self.total = Some(all);
        self.bar.set_length(all);
        self.draw(done, String::new());
    }

    /// A message on standard error that does not disturb the bar.
    pub fn say(&self, message: &str) {
        self.bar.suspend(|| eprintln!("{message}"));
    }

    fn draw(&mut self, done: u64, message: String) {
        match self.state {
            State::Off => return,
            State::Waiting if self.started.elapsed() < PATIENCE => return,
            State::Waiting => self.show(),
            State::Drawn => {}
        }
        self.bar.set_message(message);
        self.bar.set_position(done);
    }

    fn show(&mut self) {
        self.state = State::Drawn;
        let template = match (self.total, self.unit) {
            (Some(_), Unit::Bytes) => "{bar:30} {percent:>3}%  {msg}  {bytes_per_sec}  {eta} left",
            (Some(_), Unit::Events) => "{bar:30} {percent:>3}%  {msg}  {eta} left",
            (None, Unit::Bytes) => "{spinner} {bytes}  {msg}  {bytes_per_sec}",
            (None, Unit::Events) => "{spinner} {msg}",
        };
        let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
        self.bar.set_style(style);
        self.bar.reset_elapsed();
        // Draws nothing if standard error is no terminal.
        self.bar.set_draw_target(ProgressDrawTarget::stderr());
    }

    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }
}

fn is_output_a_file() -> bool {
    let output = io::stdout().as_fd().try_clone_to_owned().map(File::from);
    output.and_then(|output| output.metadata()).is_ok_and(|metadata| metadata.is_file())
}

/// Does what cannot say how far it is, and says after a second what it is doing. In a log that is worth a line too, so
/// standard error need not be a terminal.
pub fn saying<T>(message: &str, work: impl FnOnce() -> T) -> T {
    after(PATIENCE, || eprintln!("{message}"), work)
}

fn after<T>(patience: Duration, say: impl FnOnce() + Send, work: impl FnOnce() -> T) -> T {
    let (done, is_done) = channel::<()>();
    thread::scope(|scope| {
        scope.spawn(move || {
            if is_done.recv_timeout(patience) == Err(RecvTimeoutError::Timeout) {
                say();
            }
        });
        let result = work();
        drop(done);
        result
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_takes_long_is_said_and_what_does_not_is_not() {
        let (said, is_said) = channel();
        let long = after(Duration::ZERO, move || said.send(()).unwrap(), || is_said.recv_timeout(10 * PATIENCE));
        assert_eq!(long, Ok(()));
        assert_eq!(after(Duration::MAX, || panic!("it was done at once"), || 7), 7);
    }

    #[test]
    fn a_bar_knows_how_much_is_left_of_events_and_of_bytes() {
        for (mut progress, done) in [(Progress::of_events(Some(200)), 50), (Progress::new(Some(200)), 7_000)] {
            progress.show();
            progress.bar.set_draw_target(ProgressDrawTarget::hidden());
            progress.at(7_000, 50);
            assert_eq!((progress.bar.position(), progress.bar.length()), (done, Some(200)));
        }
    }
}
