//! A writer that never waits: lines go to memory, and a thread of their own writes them out many at a time.

use std::io::{self, Write};
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use parking_lot::{Condvar, Mutex};
use tracing_subscriber::fmt::MakeWriter;

/// How much may wait, in bytes; beyond it lines are dropped and counted. A reader that stopped reading must not stop
/// the gateway.
const CAPACITY: usize = 8 * 1024 * 1024;

/// How long lines are gathered: waking the thread for each would cost more than writing it.
const GATHER: Duration = Duration::from_millis(5);

/// Where lines go. Clones share the memory.
#[derive(Clone)]
pub struct Sink(Arc<Shared>);

struct Shared {
    lines: Mutex<Lines>,
    filled: Condvar,
}

#[derive(Default)]
struct Lines {
    waiting: Vec<u8>,
    dropped: u64,
    ended: bool,
}

/// Writes what still waits when it is dropped, and ends the thread.
pub struct Flusher {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

/// Starts the thread.
///
/// # Errors
/// When the operating system gives none.
pub fn start(output: impl Write + Send + 'static) -> io::Result<(Sink, Flusher)> {
    let shared = Arc::new(Shared { lines: Mutex::default(), filled: Condvar::new() });
    let of_thread = shared.clone();
    let thread = thread::Builder::new().name("log".into()).spawn(move || write_out(&of_thread, output))?;
    Ok((Sink(shared.clone()), Flusher { shared, thread: Some(thread) }))
}

fn write_out(shared: &Shared, mut output: impl Write) {
    let mut batch = Vec::new();
    loop {
        let mut lines = shared.lines.lock();
        while lines.waiting.is_empty() && !lines.ended {
            shared.filled.wait(&mut lines);
        }
        if !lines.ended {
            // Gathers for a while; whoever ends it all wakes it up.
            shared.filled.wait_for(&mut lines, GATHER);
        }
        std::mem::swap(&mut batch, &mut lines.waiting);
        let (dropped, ended) = (std::mem::take(&mut lines.dropped), lines.ended);
        drop(lines);
        if dropped > 0 {
            batch.extend(
                format!("{{\"level\":\"WARN\",\"message\":\"log lines dropped\",\"lines\":{dropped}}}\n").bytes(),
            );
        }
        // A full disk or a closed pipe: there is nobody left to tell.
        let _ = output.write_all(&batch).and_then(|()| output.flush());
        batch.clear();
        if ended {
            return;
        }
    }
}

impl Sink {
    fn put(&self, line: &[u8]) {
        let mut lines = self.0.lines.lock();
        if lines.waiting.len() + line.len() > CAPACITY {
            lines.dropped += 1;
            return;
        }
        let first = lines.waiting.is_empty();
        lines.waiting.extend_from_slice(line);
        drop(lines);
        if first {
            self.0.filled.notify_one();
        }
    }
}

impl Write for Sink {
    fn write(&mut self, line: &[u8]) -> io::Result<usize> {
        self.put(line);
        Ok(line.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Sink {
    type Writer = Self;

    fn make_writer(&'a self) -> Self::Writer {
        self.clone()
    }
}

impl Drop for Flusher {
    fn drop(&mut self) {
        self.shared.lines.lock().ended = true;
        self.shared.filled.notify_all();
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::mpsc;

    /// Takes batches one by one, as the test allows.
    struct Slow(mpsc::Receiver<()>, Arc<Mutex<Vec<u8>>>);

    impl Write for Slow {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.recv().map_err(io::Error::other)?;
            self.1.lock().extend_from_slice(bytes);
            Ok(bytes.len())
        }
        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn everything_is_written_in_order_before_the_flusher_is_gone() {
        let written = Arc::new(Mutex::new(Vec::new()));
        let (allow, allowed) = mpsc::channel();
        let (mut sink, flusher) = start(Slow(allowed, written.clone())).unwrap();
        for line in ["one\n", "two\n", "three\n"] {
            sink.write_all(line.as_bytes()).unwrap();
        }
        (0..3).for_each(|_| allow.send(()).unwrap());
        drop(flusher);
        assert_eq!(written.lock().as_slice(), b"one\ntwo\nthree\n");
    }

    #[test]
    fn a_reader_that_does_not_read_stops_nobody_and_what_it_missed_is_counted() {
        let written = Arc::new(Mutex::new(Vec::new()));
        let (allow, allowed) = mpsc::channel();
        let (mut sink, flusher) = start(Slow(allowed, written.clone())).unwrap();
        let line = vec![b'x'; CAPACITY / 4];
        // Nothing is read: at most one batch is being written and one waits, the rest is dropped.
        (0..20).for_each(|_| sink.write_all(&line).unwrap());
        (0..20).for_each(|_| allow.send(()).unwrap());
        drop(flusher);
        let text = String::from_utf8(written.lock().clone()).unwrap();
        assert!(text.contains("\"message\":\"log lines dropped\"") && text.len() < 9 * CAPACITY / 4 + 500);
    }

    #[test]
    fn a_closed_output_is_no_trouble() {
        let (allow, allowed) = mpsc::channel();
        drop(allow);
        let (mut sink, flusher) = start(Slow(allowed, Arc::default())).unwrap();
        sink.write_all(b"nobody reads this\n").unwrap();
        drop(flusher);
    }
}
