//! Whether a secret is the right one: remembered when it was verified before, else by Argon2 on a bounded pool.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use aws_lc_rs::constant_time::verify_slices_are_equal;
use aws_lc_rs::hmac;
use moka::sync::Cache;
use rand::TryRng;
use tokio::sync::Semaphore;
use zeroize::Zeroizing;

use super::metrics::Metrics;
use super::refusal::Refusal;
use crate::domain::verifier;
use crate::index::VersionFacts;

/// How many versions are remembered: 100,000 at some 200 bytes each are 20 MB.
const REMEMBERED: u64 = 100_000;

/// How many verifications may wait for their turn. Of imported secrets' 22 ms each, on one core, that is 5.6 s.
const WAITING: usize = 256;

/// Verifies secrets.
pub struct Verifier {
    key: hmac::Key,
    pseudonyms: hmac::Key,
    good: Cache<[u8; 32], [u8; 32]>,
    turns: Arc<Semaphore>,
    waiting: AtomicUsize,
    metrics: Arc<Metrics>,
}

impl Verifier {
    /// Remembers under a fresh random key, and runs as many verifications at once as there are processors, so that they
    /// take no more than 19 MiB each.
    ///
    /// # Errors
    /// When the operating system gives no randomness.
    pub fn new<R: TryRng>(random: &mut R, metrics: Arc<Metrics>) -> Result<Self, R::Error> {
        let processors = std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
        Ok(Self {
            key: random_key(random)?,
            pseudonyms: random_key(random)?,
            good: Cache::new(REMEMBERED),
            turns: Arc::new(Semaphore::new(processors)),
            waiting: AtomicUsize::new(0),
            metrics,
        })
    }

    /// Whether this secret was verified for this version before; compared in constant time.
    #[must_use]
    pub fn remembers(&self, version: &VersionFacts, secret: &str) -> bool {
        let good = self.good.get(&version.fingerprint);
        good.is_some_and(|good| verify_slices_are_equal(&good, self.tag(version, secret).as_ref()).is_ok())
    }

    /// Whether the secret is this version's; takes its turn among all others.
    ///
    /// # Errors
    /// [`Refusal::Overloaded`] when too many wait already, [`Refusal::Internal`] when the pool is gone.
    pub async fn verify(&self, version: &VersionFacts, secret: &Zeroizing<String>) -> Result<bool, Refusal> {
        let turn = {
            let _place = Place::take(&self.waiting)?;
            self.turns.clone().acquire_owned().await.map_err(|_| Refusal::Internal)?
        };
        // While it waited, another request with the same secret may have been served.
        if self.remembers(version, secret) {
            return Ok(true);
        }
        self.metrics.verifications.inc();
        let (hash, presented) = (version.hash.clone(), secret.clone());
        let matching = tokio::task::spawn_blocking(move || {
            let matching = verifier::matches(presented.as_bytes(), &hash);
            drop(turn);
            matching
        });
        let matching = matching.await.map_err(|_| Refusal::Internal)?;
        if matching {
            let mut good = [0; 32];
            good.copy_from_slice(self.tag(version, secret).as_ref());
            self.good.insert(version.fingerprint, good);
        }
        Ok(matching)
    }

    /// A hash of a client ID that nobody holds, for the log: people paste secrets into the wrong field. Holds for this
    /// process only.
    #[must_use]
    pub fn pseudonym(&self, text: &str) -> String {
        let tag = hmac::sign(&self.pseudonyms, text.as_bytes());
        tag.as_ref().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
    }

    fn tag(&self, version: &VersionFacts, secret: &str) -> hmac::Tag {
        let mut context = hmac::Context::with_key(&self.key);
        context.update(&version.fingerprint);
        context.update(secret.as_bytes());
        context.sign()
    }
}

fn random_key<R: TryRng>(random: &mut R) -> Result<hmac::Key, R::Error> {
    let mut bytes = Zeroizing::new([0; 32]);
    random.try_fill_bytes(&mut *bytes)?;
    Ok(hmac::Key::new(hmac::HMAC_SHA256, &*bytes))
}

/// A place in the queue, given up when it is dropped, also by a caller that went away.
struct Place<'a>(&'a AtomicUsize);

impl<'a> Place<'a> {
    fn take(waiting: &'a AtomicUsize) -> Result<Self, Refusal> {
        let place = Self(waiting);
        if waiting.fetch_add(1, SeqCst) < WAITING { Ok(place) } else { Err(Refusal::Overloaded) }
    }
}

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, SeqCst);
    }
}
