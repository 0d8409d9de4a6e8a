//! How many connections there are at once: beyond a bound they are closed as soon as they come, since those that are
//! served must not run out of memory and file descriptors with them.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tracing::{info, warn};

/// The connections of one listener.
#[derive(Clone, Debug)]
pub(super) struct Crowd(Arc<State>);

#[derive(Debug)]
struct State {
    most: usize,
    places: Arc<Semaphore>,
    full: AtomicBool,
}

/// A connection's place, free again once it is dropped.
#[derive(Debug)]
pub(super) struct Place(#[expect(dead_code, reason = "held, not looked at")] OwnedSemaphorePermit);

/// File descriptors that are needed besides connections: watches, calls of the API server, probes, the log.
const SPARE: usize = 100;

impl Crowd {
    /// Of at most so many, and no more than this process may have open files, whose soft limit is raised to the hard one:
    /// a container begins with 1,024 of them, which is for programs that use select(2).
    pub(super) fn of(most: usize) -> Self {
        Self::bounded(most.min(open_files().saturating_sub(SPARE)))
    }

    fn bounded(most: usize) -> Self {
        let places = Arc::new(Semaphore::new(most.min(Semaphore::MAX_PERMITS)));
        Self(Arc::new(State { most, places, full: AtomicBool::new(false) }))
    }

    /// Takes a place.
    ///
    /// # Errors
    /// When all are taken. Said once in the log, and once when it is over.
    pub(super) fn enter(&self) -> io::Result<Place> {
        let State { most, places, full } = &*self.0;
        let place = places.clone().try_acquire_owned();
        match (&place, full.swap(place.is_err(), Relaxed)) {
            (Err(_), false) => warn!(connections = most, "as many connections as allowed: more are closed at once"),
            (Ok(_), true) => info!("connections are accepted again"),
            _ => {}
        }
        place.map(Place).map_err(|_| io::Error::other("too many connections"))
    }
}

/// How many files may be open; all, if there is no limit.
fn open_files() -> usize {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    if current != maximum {
        // Refused where the system has a lower limit of its own: what holds is asked for again.
        let _ = setrlimit(Resource::Nofile, Rlimit { current: maximum, maximum });
    }
    getrlimit(Resource::Nofile).current.map_or(usize::MAX, |files| usize::try_from(files).unwrap_or(usize::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_free_again_once_its_connection_is_gone() {
        let crowd = Crowd::bounded(2);
        let (first, second) = (crowd.enter(), crowd.enter());
        assert!(first.is_ok() && second.is_ok() && crowd.enter().is_err());
        drop(first);
        assert!(crowd.enter().is_ok());
    }
}
