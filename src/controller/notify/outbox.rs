//! The outbox: each pending delivery waits for its server on its own, is looked at afresh, tried, and settled.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use kube::Api;
use parking_lot::Mutex;
use tokio::sync::{Semaphore, mpsc};
use tokio::task::JoinSet;

use super::lane::{Gate, Lane, Lanes};
use super::{event, webhook};
use crate::api::ServiceAccount;
use crate::controller::apply;
use crate::controller::calls::find;
use crate::controller::context::Context;
use crate::controller::error::Error;
use crate::controller::observe;
use crate::domain::account::{Account, Authentication};
use crate::domain::names;
use crate::domain::notice::letter::{Facts, Letter};
use crate::domain::notice::{self, Channel, Key, Outcome};
use crate::domain::record::{Owner, Record};
use crate::mail::{Blame, Mail, MailError};
use kube::runtime::reflector::ObjectRef;

/// How many deliveries are under way at once, to all servers together.
const AT_ONCE: usize = 32;
/// A little more than the slowest delivery takes (a mail, 20 s), and less than the kubelet waits (30 s).
const LAST_WORDS: Duration = Duration::from_secs(25);
/// Pauses after the API server could not be asked; every other deadline is on our own clock.
const LEAST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// Why a delivery did not get through.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Fault {
    blame: Blame,
    /// For status and log: without addresses, URLs and the words of servers.
    problem: String,
    /// For the log alone.
    said: String,
}

impl Fault {
    /// Nothing gets through to this server at present.
    pub fn server(problem: impl Into<String>) -> Self {
        Self { blame: Blame::Server, problem: problem.into(), said: String::new() }
    }

    /// The webhook's keys cannot be had; which Secret is at fault is for the log alone.
    pub fn unkeyed(error: &anyhow::Error) -> Self {
        let problem = "the webhook's keys cannot be read".into();
        Self { blame: Blame::Server, problem, said: format!("{error:#}") }
    }

    /// This one never will.
    pub fn for_good(problem: impl Into<String>) -> Self {
        Self { blame: Blame::MailForGood, problem: problem.into(), said: String::new() }
    }
}

impl From<MailError> for Fault {
    fn from(error: MailError) -> Self {
        Self { blame: error.blame, problem: error.to_string(), said: error.said }
    }
}

/// One delivery of one account.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Parcel {
    owner: Owner,
    key: Key,
}

/// What is to be delivered, and what is known of the servers.
pub struct Outbox {
    accepted: Mutex<HashSet<Parcel>>,
    queue: mpsc::UnboundedSender<Parcel>,
    arrivals: Mutex<Option<mpsc::UnboundedReceiver<Parcel>>>,
    lanes: Lanes,
    places: Semaphore,
}

impl Default for Outbox {
    fn default() -> Self {
        let (queue, arrivals) = mpsc::unbounded_channel();
        Self {
            accepted: Mutex::default(),
            queue,
            arrivals: Mutex::new(Some(arrivals)),
            lanes: Lanes::default(),
            places: Semaphore::new(AT_ONCE),
        }
    }
}

impl Outbox {
    /// Takes a delivery that stands in the record as pending, unless it has it already.
    pub fn offer(&self, owner: &Owner, key: Key) {
        let parcel = Parcel { owner: owner.clone(), key };
        if self.accepted.lock().insert(parcel.clone()) {
            // Without its worker the process is ending.
            let _ = self.queue.send(parcel);
        }
    }

    /// Whether every delivery that was offered is settled, or no longer wanted.
    pub fn is_empty(&self) -> bool {
        self.accepted.lock().is_empty()
    }

    /// Begins nothing more, and waits for the end of what is under way: only a crash may send a notice twice.
    pub async fn finish(&self) {
        let all = u32::try_from(AT_ONCE).unwrap_or(u32::MAX);
        match tokio::time::timeout(LAST_WORDS, self.places.acquire_many(all)).await {
            Ok(_) => self.places.close(),
            Err(_) => tracing::warn!("notices under way did not come to an end; some may be sent twice"),
        }
    }
}

/// Delivers what comes, for ever.
pub async fn keep_delivering(context: Arc<Context>) {
    let Some(mut arrivals) = context.outbox.arrivals.lock().take() else { return };
    let mut under_way = JoinSet::new();
    loop {
        tokio::select! {
            parcel = arrivals.recv() => match parcel {
                Some(parcel) => drop(under_way.spawn(bring(context.clone(), parcel))),
                None => return,
            },
            Some(_) = under_way.join_next() => {}
        }
    }
}

async fn bring(context: Arc<Context>, parcel: Parcel) {
    deliver(&context, &parcel).await;
    context.outbox.accepted.lock().remove(&parcel);
}

/// Until it is settled, or no longer wanted.
async fn deliver(context: &Context, parcel: &Parcel) {
    let mut pause = LEAST_PAUSE;
    let mut told_to_wait = false;
    loop {
        let Some(lane) = lane(context, parcel) else { return };
        let gate = context.outbox.lanes.gate(&lane);
        if let Some((until, problem)) = gate.closed(context.clock.now()) {
            if !told_to_wait {
                settle(context, parcel, &Outcome::Waiting(problem)).await;
                told_to_wait = true;
            }
            context.clock.wait_until(until).await;
            continue;
        }
        let Ok(_place) = gate.places.acquire().await else { return };
        let Ok(_any) = context.outbox.places.acquire().await else { return };
        if gate.closed(context.clock.now()).is_some() {
            continue;
        }
        match look(context, parcel).await {
            Ok(None) => return,
            Ok(Some(facts)) => {
                let tried = attempt(context, parcel, &lane, &gate, &facts).await;
                settle(context, parcel, &tried.outcome).await;
                match tried.again {
                    Again::No => return,
                    Again::WithTheServer => {}
                    Again::After(until) => {
                        drop((_place, _any));
                        context.clock.wait_until(until).await;
                    }
                }
                continue;
            }
            Err(error) => tracing::debug!(%error, "a notice waits for the API server"),
        }
        drop((_place, _any));
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

/// Where a delivery goes; none when its webhook has been taken away.
fn lane(context: &Context, parcel: &Parcel) -> Option<Lane> {
    match parcel.key.channel {
        Channel::Event => Some(Lane::Cluster),
        Channel::Email => Some(Lane::Mail),
        Channel::Webhook => {
            let issuers = context.issuers();
            let name = &issuers.of_namespace(&parcel.owner.namespace)?.name;
            context.stores.issuers.get(&ObjectRef::new(name))?.spec.notifications.webhook.clone().map(Lane::Webhook)
        }
    }
}

/// The account and its record as they are now: nobody is told of what has been rotated, disabled or deleted meanwhile.
async fn look(context: &Context, parcel: &Parcel) -> Result<Option<Facts>, Error> {
    let Owner { uid, namespace, name } = &parcel.owner;
    let accounts: Api<ServiceAccount> = Api::namespaced(context.client.clone(), namespace);
    let (records, record_name) = (context.own_secrets(), names::record(uid));
    let (object, record) = tokio::try_join!(
        find(|| format!("read the ServiceAccount {namespace}/{name}"), accounts.get(name)),
        find(|| format!("read the record {record_name}"), records.get(&record_name)),
    )?;
    let Some((object, record)) = object.zip(record) else { return Ok(None) };
    let Some(account) = Account::parse(&object).ok().filter(|account| account.owner.uid == *uid) else {
        return Ok(None);
    };
    let record = observe::parse_record(&record)?;
    Ok(facts(context, parcel, &account, &record))
}

fn facts(context: &Context, parcel: &Parcel, account: &Account, record: &Record) -> Option<Facts> {
    let Authentication::Internal(settings) = &account.authentication else { return None };
    let now = context.clock.timestamp();
    if !notice::deliverable(account, settings, record, now).contains(&parcel.key) {
        return None;
    }
    Facts::of(account, settings, record, parcel.key.threshold, context.settings.ways.cluster.as_deref(), now)
}

/// An attempt that was made.
struct Tried {
    outcome: Outcome,
    again: Again,
}

enum Again {
    No,
    WithTheServer,
    After(chrono::DateTime<chrono::Utc>),
}

async fn attempt(context: &Context, parcel: &Parcel, lane: &Lane, gate: &Gate, facts: &Facts) -> Tried {
    let before = gate.failures();
    let sent = send(context, parcel, lane, facts).await;
    let Key { channel, threshold, .. } = parcel.key;
    let Owner { namespace, name, .. } = &parcel.owner;
    let tried = match sent {
        Ok(()) => {
            gate.worked();
            tracing::info!(
                namespace,
                account = name,
                channel = channel.name(),
                threshold_days = threshold,
                "a notice was sent"
            );
            Tried { outcome: Outcome::Sent, again: Again::No }
        }
        Err(Fault { blame, problem, said }) => {
            tracing::warn!(
                namespace,
                account = name,
                channel = channel.name(),
                threshold_days = threshold,
                problem,
                said,
                "a notice was not sent"
            );
            let (now, draw) = (context.clock.now(), draw(context));
            match blame {
                Blame::Server => {
                    gate.failed(before, &problem, now, draw);
                    Tried { outcome: Outcome::Failed(problem), again: Again::WithTheServer }
                }
                Blame::Mail => {
                    gate.worked();
                    let until = now + super::lane::pause(4, draw);
                    Tried { outcome: Outcome::Failed(problem), again: Again::After(until) }
                }
                Blame::MailForGood => {
                    gate.worked();
                    Tried { outcome: Outcome::Refused(problem), again: Again::No }
                }
            }
        }
    };
    context.settings.ways.metrics.count(channel, &tried.outcome);
    tried
}

async fn send(context: &Context, parcel: &Parcel, lane: &Lane, facts: &Facts) -> Result<(), Fault> {
    let ways = &context.settings.ways;
    match (lane, &parcel.key.to, &ways.mail, &ways.webhook_keys) {
        (Lane::Cluster, ..) => event::send(&context.client, facts).await,
        (Lane::Webhook(url), _, _, Some(keys)) => webhook::send(&ways.http, keys, url, facts).await,
        (Lane::Mail, Some(to), Some(mailer), _) => {
            let Letter { subject, text, html } = Letter::of(facts);
            let mail = Mail { to: to.clone(), id: facts.id(), subject, text, html, date: facts.now };
            mailer.send(&mail, |_, _| {}).await.map_err(Fault::from)
        }
        (Lane::Mail | Lane::Webhook(_), ..) => {
            Err(Fault::for_good("the operator has nothing to send it with any more"))
        }
    }
}

/// Without randomness all wait alike, which is no harm.
fn draw(context: &Context) -> u32 {
    let mut bytes = [0; 4];
    let drawn = context.entropy.fill(&mut bytes);
    drawn.map_or(0, |()| u32::from_le_bytes(bytes))
}

/// Writes the outcome down, however long that takes: what was sent must not be sent again because the API server was
/// away for a moment.
async fn settle(context: &Context, parcel: &Parcel, outcome: &Outcome) {
    let mut pause = LEAST_PAUSE;
    loop {
        match try_settle(context, parcel, outcome).await {
            Ok(()) => return,
            Err(error) if error.is_race() => tokio::time::sleep(Duration::from_millis(50)).await,
            Err(error) => {
                tracing::warn!(%error, namespace = parcel.owner.namespace, account = parcel.owner.name, "what became of a notice could not be recorded; tried again");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(LONGEST_PAUSE);
            }
        }
    }
}

async fn try_settle(context: &Context, parcel: &Parcel, outcome: &Outcome) -> Result<(), Error> {
    let name = names::record(&parcel.owner.uid);
    let found = find(|| format!("read the record {name}"), context.own_secrets().get(&name)).await?;
    // Without its record the account is gone, and nobody asks any more.
    let Some(found) = found else { return Ok(()) };
    let record = observe::parse_record(&found)?;
    let settled = notice::settled(record.clone(), &parcel.key, outcome, context.clock.timestamp());
    if settled == record {
        return Ok(());
    }
    apply::store_record(context, &settled, found.metadata.resource_version).await.map(|_| ())
}
