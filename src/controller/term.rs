//! What only a leader does: passes over accounts, sweeps, issuers, and certificates. Everything of a term
//! ends with it, its memory too: another leader may have written since.

use std::future::Future;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use futures::StreamExt;
use futures::channel::mpsc::UnboundedReceiver;
use futures::future::{BoxFuture, Shared, join_all, ready};
use futures::stream::{once, pending, unfold};
use kube::runtime::controller::Error as LaneError;
use kube::runtime::reflector::{ObjectRef, Store};
use kube::runtime::{Config, Controller};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::certificates;
use super::context::Context;
use super::groups;
use super::issuers;
use super::notify;
use super::reconcile::{after_error, reconcile};
use super::sweep;
use super::triggers::{Deleted, Inbox, Triggers};
use super::usage;
use crate::api::ServiceAccount;

/// Ends when the process is told to stop.
pub type Shutdown = Shared<BoxFuture<'static, ()>>;

/// What a loop waits after a failure that is not about one account.
const RETRY: Duration = Duration::from_secs(2);

/// One time in office. Dropped, it stops where it stands: passes under way are not finished, since another may lead
/// already; what they still had to write would be refused by its `resourceVersion`.
pub struct Term {
    /// Made for this term.
    pub context: Arc<Context>,
    /// Whom the watches tell.
    pub triggers: Arc<Triggers>,
    /// The watched namespaces, as [`super::watches::namespaces`] gives them.
    pub namespaces: Vec<Option<String>>,
    /// How many accounts are worked on at once, in each lane.
    pub concurrency: u16,
    /// The write budget for what gateways report of uses.
    pub usage_writes_per_second: NonZeroU32,
    /// The certificates that are made here.
    pub certificates: certificates::Ours,
}

impl Term {
    /// Works until `shutdown`, then finishes the passes under way.
    ///
    /// # Errors
    /// When a loop ended that never does: only a restart helps.
    pub async fn run(self, shutdown: Shutdown) -> anyhow::Result<()> {
        let Self { context, triggers, namespaces, concurrency, usage_writes_per_second, certificates } = self;
        context.backlog.begin(&context);
        let Inbox { lanes, everybody, issuers, membership, deleted, again } = triggers.open(&namespaces);
        // Before the first Secret is published, since the CA stands in it.
        tokio::select! {
            () = make_certificates(&context, &certificates) => {}
            () = shutdown.clone() => return Ok(()),
        }
        let mut loops = JoinSet::new();
        loops.spawn(trigger_due(context.clone(), triggers.clone()));
        loops.spawn(sweep::keep_sweeping(context.clone(), deleted, again));
        loops.spawn(notify::keep_delivering(context.clone()));
        loops.spawn(groups::keep_counting(context.clone(), membership));
        loops.spawn(look_after_issuers(context.clone(), issuers));
        loops.spawn(usage::keep_reading(context.clone()));
        let used = triggers.clone();
        loops
            .spawn(usage::keep_merging(context.clone(), usage_writes_per_second, move |account| used.account(account)));
        loops.spawn(from_time_to_time(context.clone(), certificates, triggers));
        let lanes = context.stores.accounts.iter().zip(lanes).map(|(store, single)| {
            let lane = Lane { store: store.clone(), single, everybody: everybody.clone() };
            lane.run(context.clone(), shutdown.clone(), concurrency)
        });
        tokio::select! {
            _ = join_all(lanes) => {}
            ended = loops.join_next() => {
                ended.transpose()?;
                anyhow::bail!("a loop of the controller ended by itself");
            }
        }
        context.outbox.finish().await;
        loops.shutdown().await;
        Ok(())
    }
}

/// The accounts of one namespace, or of all.
struct Lane {
    store: Store<ServiceAccount>,
    single: UnboundedReceiver<ObjectRef<ServiceAccount>>,
    everybody: watch::Receiver<()>,
}

impl Lane {
    fn run(self, context: Arc<Context>, shutdown: Shutdown, concurrency: u16) -> impl Future<Output = ()> {
        let backlog = context.backlog.clone();
        let changes = unfold(self.everybody, |mut changed| async move {
            changed.changed().await.ok()?;
            Some(((), changed))
        });
        // The watch is not the controller's own, so that it outlives the term.
        Controller::for_stream(pending(), self.store)
            .with_config(Config::default().concurrency(concurrency))
            .reconcile_on(self.single)
            .reconcile_all_on(once(ready(())).chain(changes))
            .graceful_shutdown_on(shutdown)
            .run(reconcile, after_error, context)
            // Failed passes are logged where they are known best.
            .for_each(move |outcome| {
                if let Err(LaneError::ObjectNotFound(gone)) = outcome {
                    backlog.forget(gone.namespace.as_deref().unwrap_or_default(), &gone.name);
                }
                ready(())
            })
    }
}

async fn trigger_due(context: Arc<Context>, triggers: Arc<Triggers>) {
    context.deadlines.tell(|account| triggers.account(account)).await;
}

async fn make_certificates(context: &Context, ours: &certificates::Ours) {
    loop {
        match certificates::ensure(&context.own_secrets(), ours, context.clock.now()).await {
            Ok(ca) => {
                *context.ca.write() = ca;
                return;
            }
            Err(error) => tracing::warn!(%error, "a certificate could not be made; tried again in 2 s"),
        }
        tokio::time::sleep(RETRY).await;
    }
}

async fn look_after_issuers(context: Arc<Context>, mut changed: watch::Receiver<()>) {
    loop {
        let (wake, outcome) = issuers::ensure_all(&context).await;
        let retry = async {
            match &outcome {
                Ok(()) => futures::future::pending().await,
                Err(error) => {
                    tracing::warn!(%error, "the token issuers could not all be looked after; tried again in 2 s");
                    tokio::time::sleep(RETRY).await;
                }
            }
        };
        let due = async {
            match wake {
                Some(time) => context.clock.wait_until(time.at()).await,
                None => futures::future::pending().await,
            }
        };
        tokio::select! {
            changed = changed.changed() => if changed.is_err() { return },
            () = due => {}
            () = retry => {}
        }
    }
}

/// At once and every minute: deletions that no watch told of, and certificates that come to their end.
async fn from_time_to_time(context: Arc<Context>, ours: certificates::Ours, triggers: Arc<Triggers>) {
    loop {
        triggers.deleted(Deleted::Perhaps);
        context.clock.wait_until(context.clock.now() + TimeDelta::seconds(60)).await;
        match certificates::ensure(&context.own_secrets(), &ours, context.clock.now()).await {
            Ok(ca) => *context.ca.write() = ca,
            Err(error) => tracing::warn!(%error, "a certificate could not be looked after"),
        }
    }
}
