//! Visible progress on stderr: one line redrawn in place on a terminal, a line every ten seconds
//! elsewhere, so that neither a person nor a CI log is left wondering.

use std::io::{IsTerminal, Write};
use std::time::{Duration, Instant};

use tokio::time::{MissedTickBehavior, interval};

/// Redrawing more often would only flicker.
const ON_TERMINAL: Duration = Duration::from_secs(1);
/// CI systems call a job hung when it says nothing for minutes.
const IN_A_LOG: Duration = Duration::from_secs(10);

/// Shows `what` and the seconds it has taken so far until `work` is done.
pub(super) async fn during<T, E>(what: &str, work: impl Future<Output = Result<T, E>>) -> Result<T, E> {
    let started = Instant::now();
    let terminal = std::io::stderr().is_terminal();
    let mut tick = interval(if terminal { ON_TERMINAL } else { IN_A_LOG });
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    tokio::pin!(work);
    loop {
        tokio::select! {
            biased;
            outcome = &mut work => {
                finish(terminal, what, started.elapsed(), outcome.is_ok());
                return outcome;
            }
            _ = tick.tick() => show(terminal, what, started.elapsed()),
        }
    }
}

fn show(terminal: bool, what: &str, elapsed: Duration) {
    let seconds = elapsed.as_secs();
    match (terminal, seconds) {
        (true, _) => write(&format!("\r\x1b[2K{what} … {seconds} s")),
        (false, 0) => write(&format!("{what} …\n")),
        (false, _) => write(&format!("{what} … {seconds} s\n")),
    }
}

fn finish(terminal: bool, what: &str, elapsed: Duration, succeeded: bool) {
    let clear = if terminal { "\r\x1b[2K" } else { "" };
    let outcome = if succeeded { "done in" } else { "failed after" };
    write(&format!("{clear}{what}: {outcome} {:.1} s\n", elapsed.as_secs_f64()));
}

/// Says something that does not repeat.
pub(super) fn note(text: &str) {
    write(&format!("{text}\n"));
}

/// Writes past the capture of the test harness; a closed stderr must not end a build.
fn write(text: &str) {
    let mut stderr = std::io::stderr().lock();
    let _ = stderr.write_all(text.as_bytes()).and_then(|()| stderr.flush());
}
