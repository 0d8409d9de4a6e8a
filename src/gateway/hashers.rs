//! Threads that hash secrets, at a low priority: as many as there are processors, and whoever sends wrong secrets keeps them
//! all busy. Beside equals a client whose secret is known waited four times as long as otherwise.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, OnceLock};
use std::thread;

use parking_lot::Mutex;
use tokio::sync::oneshot;
use tracing::warn;

use crate::domain::verifier::Workspace;

/// With nice(2)'s 10 a thread gets a tenth of what others get where all want the processor: a new secret is never shut out.
#[cfg(target_os = "linux")]
const NICENESS: i32 = 10;

type Job = Box<dyn FnOnce(&mut Workspace) + Send>;

/// Started when the first secret is to be hashed; they end with what is dropped here.
pub(super) struct Hashers {
    threads: usize,
    jobs: OnceLock<Sender<Job>>,
}

impl Hashers {
    pub(super) fn new(threads: usize) -> Self {
        Self { threads, jobs: OnceLock::new() }
    }

    /// Does some work on one of them, in the order of asking; none if it panicked or there is no thread.
    pub(super) async fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&mut Workspace) -> T + Send + 'static,
    ) -> Option<T> {
        let (done, result) = oneshot::channel();
        let job = move |workspace: &mut Workspace| drop(done.send(work(workspace)));
        self.jobs.get_or_init(|| start(self.threads)).send(Box::new(job)).ok()?;
        result.await.ok()
    }
}

fn start(threads: usize) -> Sender<Job> {
    let (sender, receiver) = channel();
    let receiver = Arc::new(Mutex::new(receiver));
    for _ in 0..threads {
        let receiver = receiver.clone();
        if let Err(error) = thread::Builder::new().name("argon2".into()).spawn(move || work(&receiver)) {
            warn!(%error, "a thread that hashes secrets cannot be started");
        }
    }
    sender
}

fn work(jobs: &Mutex<Receiver<Job>>) {
    // Of the calling thread alone, says Linux; elsewhere of the whole process.
    #[cfg(target_os = "linux")]
    if let Err(error) = rustix::process::nice(NICENESS) {
        warn!(%error, "secrets are hashed at the priority of everything else");
    }
    let mut workspace = Workspace::default();
    loop {
        let next = jobs.lock().recv();
        let Ok(job) = next else { return };
        // Whoever waits for it learns from the dropped sender.
        let _ = catch_unwind(AssertUnwindSafe(|| job(&mut workspace)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn work_that_panics_has_no_result_and_takes_no_thread_with_it() {
        let hashers = Hashers::new(1);
        assert_eq!(hashers.run(|_| assert!(std::hint::black_box(false), "on purpose")).await, None);
        assert_eq!(hashers.run(|_| thread::current().name().map(str::to_owned)).await, Some(Some("argon2".to_owned())));
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn only_those_that_hash_have_a_low_priority() {
        let niceness = || rustix::process::getpriority_process(None).unwrap();
        let ours = niceness();
        assert_eq!(Hashers::new(1).run(move |_| niceness()).await, Some((ours + NICENESS).min(19)));
        assert_eq!(niceness(), ours);
    }
}
