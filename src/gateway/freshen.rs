//! Live reads before a refusal: the holder of a published secret is never refused because a watch is late.
//!
//! A read answers only those who asked before it began. Who comes later waits for the next one, so that reads are few
//! (one a second for each account, ten searches a second in all) and every answer is fresh.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use futures::future::{BoxFuture, Shared, try_join, try_join_all};
use parking_lot::Mutex;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep_until, timeout};
use tracing::debug;

use super::metrics::Metrics;
use crate::domain::names::client_id_label;
use crate::domain::record::Owner;
use crate::index::live::{Labelled, Live, LiveError};
use crate::index::{Accounts, Item};

/// How often is read, and how long is waited.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// How long a caller waits for live reads; it gets 503 then.
    pub patience: Duration,
    /// Between two reads of one account.
    pub account: Duration,
    /// Between two searches.
    pub search: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self { patience: Duration::from_secs(2), account: Duration::from_secs(1), search: Duration::from_millis(100) }
    }
}

/// Reads of accounts at once, so that a storm of bad secrets does not become one of requests to the API server.
const AT_ONCE: usize = 16;
/// Client IDs in one search: with 45 bytes each the URL stays below 8 KiB.
const SEARCHED: usize = 100;
/// Accounts whose last read is remembered before the old ones are forgotten.
const PACED: usize = 1024;

/// Nothing could be found out in time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct NoAnswer;

/// What a live read said about an account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Standing {
    /// It is there, and the index knows now what the API server knows.
    There,
    /// There is no account of that UID any more, or it has no record.
    Gone,
}

type Flight<T> = Shared<BoxFuture<'static, Result<T, NoAnswer>>>;

/// Asks the API server, for all requests of this process together.
#[derive(Clone)]
pub struct Freshener(Arc<Inner>);

struct Inner {
    live: Arc<dyn Live>,
    accounts: Arc<dyn Accounts>,
    metrics: Arc<Metrics>,
    pace: Pace,
    turns: Semaphore,
    seats: Semaphore,
    reads: Mutex<HashMap<String, Paced<Standing>>>,
    search: Mutex<Search>,
}

/// When the last read began, and the one that is about to.
struct Paced<T: Clone> {
    began: Option<Instant>,
    next: Option<Flight<T>>,
}

impl<T: Clone> Default for Paced<T> {
    fn default() -> Self {
        Self { began: None, next: None }
    }
}

impl<T: Clone> Paced<T> {
    fn start(&self, pace: Duration) -> Instant {
        self.began.map_or_else(Instant::now, |began| began + pace)
    }

    fn begin(&mut self) {
        self.began = Some(Instant::now());
        self.next = None;
    }
}

#[derive(Default)]
struct Search {
    paced: Paced<Arc<Labelled>>,
    labels: BTreeSet<String>,
    /// Taken by `labels`, each as often as it was asked for.
    seats: usize,
}

impl Freshener {
    /// What is found goes into `accounts`.
    #[must_use]
    pub fn new(live: Arc<dyn Live>, accounts: Arc<dyn Accounts>, pace: Pace, metrics: Arc<Metrics>) -> Self {
        Self(Arc::new(Inner {
            live,
            accounts,
            metrics,
            pace,
            turns: Semaphore::new(AT_ONCE),
            seats: Semaphore::new(SEARCHED),
            reads: Mutex::default(),
            search: Mutex::default(),
        }))
    }

    /// Finds out about these accounts and about whoever else holds these client IDs; the UIDs of those that are gone.
    ///
    /// # Errors
    /// [`NoAnswer`] when not all of it can be had in time: nothing may be refused then.
    pub async fn refresh(&self, known: &[&Owner], unknown: &[&str]) -> Result<Vec<String>, NoAnswer> {
        let reads = try_join_all(known.iter().map(|owner| self.account(owner)));
        let both = try_join(reads, self.search(unknown));
        let (standings, ()) = timeout(self.0.pace.patience, both).await.map_err(|_| NoAnswer)??;
        let gone = known.iter().zip(standings).filter(|(_, standing)| *standing == Standing::Gone);
        Ok(gone.map(|(owner, _)| owner.uid.clone()).collect())
    }

    fn account(&self, owner: &Owner) -> Flight<Standing> {
        let mut reads = self.0.reads.lock();
        if reads.len() >= PACED {
            let now = Instant::now();
            reads.retain(|_, paced| paced.next.is_some() || paced.start(self.0.pace.account) > now);
        }
        let paced = reads.entry(owner.uid.clone()).or_default();
        if let Some(next) = &paced.next {
            return next.clone();
        }
        let (inner, owner, start) = (self.0.clone(), owner.clone(), paced.start(self.0.pace.account));
        let flight = async move {
            sleep_until(start).await;
            let _turn = inner.turns.acquire().await.map_err(|_| NoAnswer)?;
            inner.reads.lock().entry(owner.uid.clone()).or_default().begin();
            inner.read(&owner).await
        };
        launch(&mut paced.next, flight.boxed())
    }

    /// Searches for accounts that hold these client IDs and reads those that the index does not have.
    async fn search(&self, client_ids: &[&str]) -> Result<(), NoAnswer> {
        if client_ids.is_empty() {
            return Ok(());
        }
        let labels: Vec<String> = client_ids.iter().map(|id| client_id_label(id)).collect();
        let found = self.join_search(&labels).await?.await?;
        if labels.iter().any(|label| found.unreadable.contains(label)) {
            return Err(NoAnswer);
        }
        let theirs = found.records.iter().filter(|record| record.client_ids().any(|id| client_ids.contains(&&**id)));
        try_join_all(theirs.map(|record| self.account(&record.owner))).await.map(drop)
    }

    /// In the order of their coming: however many strangers there are, nobody waits for more than those before.
    async fn join_search(&self, labels: &[String]) -> Result<Flight<Arc<Labelled>>, NoAnswer> {
        let seats = u32::try_from(labels.len()).map_err(|_| NoAnswer)?;
        self.0.seats.acquire_many(seats).await.map_err(|_| NoAnswer)?.forget();
        let mut search = self.0.search.lock();
        search.seats += labels.len();
        search.labels.extend(labels.iter().cloned());
        if let Some(next) = &search.paced.next {
            return Ok(next.clone());
        }
        let (inner, start) = (self.0.clone(), search.paced.start(self.0.pace.search));
        let flight = async move {
            sleep_until(start).await;
            let labels: Vec<String> = {
                let mut search = inner.search.lock();
                search.paced.begin();
                inner.seats.add_permits(std::mem::take(&mut search.seats));
                std::mem::take(&mut search.labels).into_iter().collect()
            };
            inner.counted("search", inner.live.records(&labels)).await.map(Arc::new)
        };
        Ok(launch(&mut search.paced.next, flight.boxed()))
    }
}

/// Runs on its own, so that it goes on when all who wait for it have left.
fn launch<T>(next: &mut Option<Flight<T>>, flight: BoxFuture<'static, Result<T, NoAnswer>>) -> Flight<T>
where
    T: Clone + Send + Sync + 'static,
{
    let flight = flight.shared();
    drop(tokio::spawn(flight.clone()));
    *next = Some(flight.clone());
    flight
}

impl Inner {
    /// The record first: an account that is there afterwards was there all the time.
    async fn read(&self, owner: &Owner) -> Result<Standing, NoAnswer> {
        let record = self.counted("record", self.live.record(&owner.uid)).await?;
        let account = self.counted("account", self.live.account(owner)).await?;
        let account = account.filter(|account| account.owner.uid == owner.uid);
        match (account, record) {
            (Some(account), Some(record)) => {
                self.accounts.offer(Item::Account(account));
                self.accounts.offer(Item::Record(record));
                Ok(Standing::There)
            }
            _ => Ok(Standing::Gone),
        }
    }

    async fn counted<T>(&self, kind: &'static str, read: BoxFuture<'_, Result<T, LiveError>>) -> Result<T, NoAnswer> {
        let result = timeout(self.pace.patience, read).await.unwrap_or(Err(LiveError::Late));
        self.metrics.live_read(kind, result.is_ok());
        result.map_err(|error| {
            debug!(kind, %error, "a live read failed");
            NoAnswer
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::index::Index;
    use crate::index::testing::{FakeLive, Fixture, account, feed, filled_index, holder};
    use futures::future::join_all;
    use prometheus_client::registry::Registry;
    use std::sync::atomic::Ordering::SeqCst;

    const QUICK: Pace =
        Pace { patience: Duration::from_secs(60), account: Duration::from_millis(5), search: Duration::from_millis(5) };

    fn freshener(live: &Arc<FakeLive>, index: &Arc<Index>, pace: Pace) -> Freshener {
        let metrics = Arc::new(Metrics::register(&mut Registry::default()));
        Freshener::new(live.clone(), index.clone(), pace, metrics)
    }

    fn setting(known: &[&Fixture]) -> (Arc<FakeLive>, Arc<Index>) {
        let (live, index) = (Arc::new(FakeLive::default()), filled_index());
        known.iter().for_each(|fixture| feed(&index, fixture));
        (live, index)
    }

    #[tokio::test]
    async fn callers_of_one_account_share_a_read_but_none_is_answered_by_an_earlier_one() {
        let fixture = account("a").current("id", "s");
        let (live, index) = setting(&[&fixture]);
        let (freshener, owner) = (freshener(&live, &index, QUICK), fixture.account.owner.clone());
        live.holds(&fixture);
        // The first read begins at once; the others have to wait for the second, and share it.
        assert_eq!(freshener.refresh(&[&owner], &[]).await, Ok(vec![]));
        let known = [&owner];
        let answers = join_all((0..20).map(|_| freshener.refresh(&known, &[]))).await;
        assert!(answers.iter().all(|answer| *answer == Ok(vec![])));
        assert_eq!(live.reads.load(SeqCst), 4, "two reads, each of record and account");
        live.accounts.lock().clear();
        assert_eq!(freshener.refresh(&[&owner], &[]).await, Ok(vec![owner.uid.clone()]));
    }

    #[tokio::test]
    async fn an_account_that_was_recreated_under_its_name_is_gone() {
        let fixture = account("a").current("id", "s");
        let (live, index) = setting(&[&fixture]);
        let mut successor = fixture.clone();
        successor.account.owner.uid = "another".into();
        live.holds(&successor);
        live.records.lock().insert(fixture.uid(), fixture.record_facts());
        let gone = freshener(&live, &index, QUICK).refresh(&[&fixture.account.owner], &[]).await;
        assert_eq!(gone, Ok(vec![fixture.uid()]));
    }

    #[tokio::test]
    async fn strangers_who_come_together_share_a_search() {
        let (live, index) = setting(&[]);
        let freshener = freshener(&live, &index, QUICK);
        assert_eq!(freshener.refresh(&[], &["first"]).await, Ok(vec![]));
        let (b, c) = (["b", "B"], ["c"]);
        let both = futures::join!(freshener.refresh(&[], &b), freshener.refresh(&[], &c));
        assert_eq!(both, (Ok(vec![]), Ok(vec![])));
        let sizes: Vec<usize> = live.searches.lock().iter().map(Vec::len).collect();
        assert_eq!(sizes, [1, 3]);
    }

    #[tokio::test]
    async fn a_search_finds_what_the_watch_has_not_told_yet() {
        let (live, index) = setting(&[]);
        live.holds(&account("a").current("new", "s"));
        assert_eq!(freshener(&live, &index, QUICK).refresh(&[], &["new"]).await, Ok(vec![]));
        assert_eq!(holder(&index, "new"), Some("a".into()));
    }

    #[tokio::test]
    async fn more_strangers_than_a_search_takes_come_into_the_next_ones_in_their_order() {
        let (live, index) = setting(&[]);
        let freshener = freshener(&live, &index, QUICK);
        let ids: Vec<String> = (0..SEARCHED * 5 / 2).map(|n| n.to_string()).collect();
        let answers = join_all(ids.iter().map(async |id| freshener.refresh(&[], &[id]).await)).await;
        assert!(answers.iter().all(|answer| *answer == Ok(vec![])));
        let searches = live.searches.lock();
        assert_eq!(searches.iter().map(Vec::len).collect::<Vec<_>>(), [SEARCHED, SEARCHED, SEARCHED / 2]);
        assert!(
            searches[0].contains(&client_id_label("0")) && searches[2].contains(&client_id_label(&ids[ids.len() - 1]))
        );
    }

    #[tokio::test]
    async fn who_would_wait_too_long_among_strangers_is_told_to_come_back() {
        let (live, index) = setting(&[]);
        let pace = Pace { search: Duration::from_secs(3600), patience: Duration::from_millis(50), ..QUICK };
        let freshener = freshener(&live, &index, pace);
        assert_eq!(freshener.refresh(&[], &["first"]).await, Ok(vec![]));
        let ids: Vec<String> = (0..=SEARCHED).map(|n| n.to_string()).collect();
        let answers = join_all(ids.iter().map(async |id| freshener.refresh(&[], &[id]).await)).await;
        assert!(answers.iter().all(|answer| *answer == Err(NoAnswer)));
        assert_eq!(freshener.0.seats.available_permits(), 0, "those who left took their seats");
    }

    #[tokio::test]
    async fn without_an_answer_in_time_nothing_is_concluded() {
        let fixture = account("a").current("id", "s");
        let (live, index) = setting(&[&fixture]);
        let freshener = freshener(&live, &index, Pace { patience: Duration::from_millis(5), ..QUICK });
        live.hangs.store(true, SeqCst);
        assert_eq!(freshener.refresh(&[&fixture.account.owner], &[]).await, Err(NoAnswer));
        assert_eq!(freshener.refresh(&[], &["unknown"]).await, Err(NoAnswer));
    }

    #[tokio::test]
    async fn a_failed_read_is_no_answer_and_the_next_one_may_succeed() {
        let fixture = account("a").current("id", "s");
        let (live, index) = setting(&[&fixture]);
        let freshener = freshener(&live, &index, QUICK);
        live.holds(&fixture);
        live.away.store(true, SeqCst);
        assert_eq!(freshener.refresh(&[&fixture.account.owner], &[]).await, Err(NoAnswer));
        assert_eq!(freshener.refresh(&[], &["unknown"]).await, Err(NoAnswer));
        live.away.store(false, SeqCst);
        assert_eq!(freshener.refresh(&[&fixture.account.owner], &["unknown"]).await, Ok(vec![]));
    }
}
