//! Whether a secret is the right one: remembered when it was verified before, else by Argon2 on a bounded pool.

use std::num::NonZeroUsize;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::SeqCst};

use quick_cache::UnitWeighter;
use quick_cache::sync::DefaultLifecycle;
use rand::TryRng;
use tokio::sync::Semaphore;
use zeroize::Zeroizing;

use super::hashers::Hashers;
use super::metrics::Metrics;
use super::refusal::Refusal;
use crate::domain::mac::MacKey;
use crate::index::VersionFacts;

/// How many versions are remembered: 100,000 at some 100 bytes each are 10 MB.
const REMEMBERED: usize = 100_000;

/// How many wrong secrets are remembered, at some 50 bytes each: a client that repeats one costs no second hash.
const WRONG: usize = 10_000;

/// How many verifications may wait for their turn. Of imported secrets' 22 ms each, on one core, that is 5.6 s.
const WAITING: usize = 256;

/// Verifies secrets.
pub struct Verifier {
    memory: Arc<Memory>,
    pseudonyms: MacKey,
    turns: Arc<Semaphore>,
    /// One for each turn.
    hashers: Hashers,
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
            memory: Arc::new(Memory { key: random_key(random)?, good: cache(REMEMBERED), wrong: cache(WRONG) }),
            pseudonyms: random_key(random)?,
            turns: Arc::new(Semaphore::new(processors)),
            hashers: Hashers::new(processors),
            waiting: AtomicUsize::new(0),
            metrics,
        })
    }

    /// Whether this secret was verified for this version before; compared in constant time.
    #[must_use]
    pub fn remembers(&self, version: &VersionFacts, secret: &str) -> bool {
        self.memory.has(version, secret)
    }

    /// Whether the secret is this version's; takes its turn among all others.
    ///
    /// # Errors
    /// [`Refusal::Overloaded`] when too many wait already, [`Refusal::Internal`] when the pool is gone.
    pub async fn verify(&self, version: &VersionFacts, secret: &str) -> Result<bool, Refusal> {
        if self.memory.knows_wrong(&version.fingerprint, secret) {
            return Ok(false);
        }
        let turn = {
            let _place = Place::take(&self.waiting)?;
            self.turns.clone().acquire_owned().await.map_err(|_| Refusal::Internal)?
        };
        // While it waited, another request with the same secret may have been served.
        if self.remembers(version, secret) {
            return Ok(true);
        }
        if self.memory.knows_wrong(&version.fingerprint, secret) {
            return Ok(false);
        }
        self.metrics.verifications.inc();
        let (hash, fingerprint, secret) =
            (version.hash.clone(), version.fingerprint, Zeroizing::new(secret.to_owned()));
        let memory = self.memory.clone();
        let hashing = self.hashers.run(move |workspace| {
            let matching = workspace.matches(secret.as_bytes(), &hash);
            memory.keep(fingerprint, &secret, matching);
            // Only now, so that the next in the queue with the same secret finds it remembered.
            drop(turn);
            matching
        });
        hashing.await.ok_or(Refusal::Internal)
    }

    /// A hash of a client ID that nobody holds, for the log: people paste secrets into the wrong field. Holds for this
    /// process only.
    #[must_use]
    pub fn pseudonym(&self, text: &str) -> String {
        let tag = self.pseudonyms.tag(&[text.as_bytes()]);
        tag.iter().take(8).map(|byte| format!("{byte:02x}")).collect()
    }
}

/// Good verifications: fingerprints of versions, each with the MAC of its secret under a key that only this process has;
/// and the MACs of wrong secrets, which stay wrong.
struct Memory {
    key: MacKey,
    good: Cache<[u8; 32]>,
    wrong: Cache<()>,
}

/// Of fingerprints and MACs, which nobody can choose so that their hashes are alike.
type Cache<V> = quick_cache::sync::Cache<[u8; 32], V, UnitWeighter, foldhash::fast::RandomState>;

fn cache<V: Clone>(most: usize) -> Cache<V> {
    Cache::with(most, most as u64, UnitWeighter, foldhash::fast::RandomState::default(), DefaultLifecycle::default())
}

impl Memory {
    fn has(&self, version: &VersionFacts, secret: &str) -> bool {
        let known = version.memo.tag().copied().or_else(|| self.good.get(&version.fingerprint));
        let good = known.filter(|good| self.key.verifies(&[version.fingerprint.as_slice(), secret.as_bytes()], good));
        if let Some(tag) = good {
            version.memo.keep(tag);
        }
        good.is_some()
    }

    fn knows_wrong(&self, fingerprint: &[u8; 32], secret: &str) -> bool {
        self.wrong.get(&self.tag(fingerprint, secret)).is_some()
    }

    fn keep(&self, fingerprint: [u8; 32], secret: &str, matching: bool) {
        let tag = self.tag(&fingerprint, secret);
        match matching {
            true => self.good.insert(fingerprint, tag),
            false => self.wrong.insert(tag, ()),
        }
    }

    fn tag(&self, fingerprint: &[u8; 32], secret: &str) -> [u8; 32] {
        self.key.tag(&[fingerprint, secret.as_bytes()])
    }
}

/// A fresh key that only this process has.
///
/// # Errors
/// When the operating system gives no randomness.
pub fn random_key<R: TryRng>(random: &mut R) -> Result<MacKey, R::Error> {
    let mut bytes = Zeroizing::new([0; 32]);
    random.try_fill_bytes(&mut *bytes)?;
    Ok(MacKey::new(&*bytes))
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::testing::account;
    use prometheus_client::registry::Registry;
    use rand::SeedableRng;
    use rand::rngs::StdRng;

    fn verifier(seed: u64) -> Verifier {
        let metrics = Arc::new(Metrics::register(&mut Registry::default()));
        Verifier::new(&mut StdRng::seed_from_u64(seed), metrics).unwrap()
    }

    fn version(account_name: &str) -> VersionFacts {
        account(account_name).current("id", "right").record_facts().versions.remove(0)
    }

    fn secret(text: &str) -> Zeroizing<String> {
        Zeroizing::new(text.into())
    }

    #[tokio::test]
    async fn a_secret_is_hashed_once_and_a_good_one_is_remembered_as_good() {
        let (verifier, version) = (verifier(1), version("a"));
        assert!(!verifier.remembers(&version, "right"));
        assert_eq!(verifier.verify(&version, &secret("right")).await, Ok(true));
        assert!(verifier.remembers(&version, "right") && !verifier.remembers(&version, "wrong"));
        assert_eq!(verifier.verify(&version, &secret("right")).await, Ok(true));
        assert_eq!(verifier.metrics.verifications.get(), 1);
        assert_eq!(verifier.verify(&version, &secret("wrong")).await, Ok(false));
        assert_eq!(verifier.verify(&version, &secret("wrong")).await, Ok(false));
        assert!(!verifier.remembers(&version, "wrong"));
        assert_eq!(verifier.metrics.verifications.get(), 2);
        assert_eq!(verifier.verify(&version, &secret("another")).await, Ok(false));
        assert_eq!(verifier.metrics.verifications.get(), 3);
    }

    #[tokio::test]
    async fn what_is_remembered_for_one_account_or_hash_counts_for_no_other() {
        let (verifier, ours) = (verifier(1), version("a"));
        assert_eq!(verifier.verify(&ours, &secret("right")).await, Ok(true));
        // The same hash in another account's record, and another hash of the same secret.
        let copied = version("b");
        assert_eq!(copied.hash, ours.hash);
        let rehashed = account("a").current("x", "y").current("id", "right").record_facts().versions.remove(1);
        assert!(!verifier.remembers(&copied, "right") && !verifier.remembers(&rehashed, "right"));
    }

    #[tokio::test]
    async fn a_rush_with_one_new_secret_is_hashed_once() {
        let (verifier, version, secret) = (verifier(1), version("a"), secret("right"));
        let processors = std::thread::available_parallelism().unwrap().get();
        let all = (0..100).map(|_| verifier.verify(&version, &secret));
        assert!(futures::future::join_all(all).await.into_iter().all(|result| result == Ok(true)));
        assert!(verifier.metrics.verifications.get() <= u64::try_from(processors).unwrap());
    }

    #[tokio::test]
    async fn a_full_queue_refuses_and_those_who_leave_make_room() {
        let (verifier, version, secret) = (verifier(1), version("a"), secret("right"));
        let all = u32::try_from(verifier.turns.available_permits()).unwrap();
        let held = verifier.turns.clone().acquire_many_owned(all).await.unwrap();
        let mut queue: Vec<_> = (0..WAITING).map(|_| Box::pin(verifier.verify(&version, &secret))).collect();
        for waiting in &mut queue {
            assert!(futures::poll!(waiting).is_pending());
        }
        assert_eq!(verifier.verify(&version, &secret).await, Err(Refusal::Overloaded));
        queue.pop();
        let mut late = Box::pin(verifier.verify(&version, &secret));
        assert!(futures::poll!(&mut late).is_pending());
        drop((queue, held));
        assert_eq!(late.await, Ok(true));
    }

    #[test]
    fn a_pseudonym_is_stable_in_one_process_and_means_nothing_in_another() {
        let (first, second) = (verifier(1), verifier(2));
        assert_eq!(first.pseudonym("pasted secret"), first.pseudonym("pasted secret"));
        assert_ne!(first.pseudonym("pasted secret"), second.pseudonym("pasted secret"));
        assert_eq!(first.pseudonym("x").len(), 16);
    }
}
