//! A progress bar on standard error for what lasts longer than a second, if that is a terminal.

use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// What is done quicker than this needs no bar.
const PATIENCE: Duration = Duration::from_secs(1);

pub struct Progress {
    started: Instant,
    bar: ProgressBar,
    total: Option<u64>,
    is_drawn: bool,
}

impl Progress {
    /// Of `total` bytes, if that is known.
    pub fn new(total: Option<u64>) -> Self {
        let bar = ProgressBar::with_draw_target(total, ProgressDrawTarget::hidden());
        Self { started: Instant::now(), bar, total, is_drawn: false }
    }

    /// So many bytes and events are done.
    pub fn at(&mut self, bytes: u64, events: u64) {
        let rate = events as f64 / self.started.elapsed().as_secs_f64().max(0.001);
        self.draw(bytes, format!("{events} events, {rate:.0}/s"));
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

    fn draw(&mut self, bytes: u64, message: String) {
        if !self.is_drawn {
            if self.started.elapsed() < PATIENCE {
                return;
            }
            self.is_drawn = true;
            let template = match self.total {
                Some(_) => "{bar:30} {percent:>3}%  {msg}  {bytes_per_sec}  {eta} left",
                None => "{spinner} {bytes}  {msg}  {bytes_per_sec}",
            };
            let style = ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar());
            self.bar.set_style(style);
            self.bar.reset_elapsed();
            // Draws nothing if standard error is no terminal.
            self.bar.set_draw_target(ProgressDrawTarget::stderr());
        }
        self.bar.set_message(message);
        self.bar.set_position(bytes);
    }

    pub fn finish(&self) {
        self.bar.finish_and_clear();
    }
}
