//! What the demo has done so far, and how long it took.

use std::time::{Duration, Instant};

/// Prints a line for each step that is done, with its time.
pub struct Steps {
    started: Instant,
    last: Instant,
}

impl Steps {
    /// Starts the clock.
    pub fn start() -> Self {
        let now = Instant::now();
        Self { started: now, last: now }
    }

    /// A step is done: prints it with the time since the one before.
    pub fn done(&mut self, what: &str) {
        let now = Instant::now();
        println!("{:>6.1} s  {what}", (now - self.last).as_secs_f64());
        self.last = now;
    }

    /// The time since the start.
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// The present step is still going on: prints what it waits for.
    pub fn waiting(&self, for_what: &str) {
        eprintln!("{:>6.1} s  … {for_what}", self.last.elapsed().as_secs_f64());
    }
}
