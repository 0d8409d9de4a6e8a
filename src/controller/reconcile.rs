//! The driver: observe → parse → decide → apply → settle, as one sentence.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use kube::runtime::controller::Action as Requeue;

use kube::ResourceExt;

use super::apply::apply;
use super::context::Context;
use super::error::{CallError, Error};
use super::metrics;
use super::notify::note;
use super::observe::{self, Sight};
use super::report;
use super::restart;
use crate::api::{Condition, ServiceAccount, ServiceAccountStatus};
use crate::domain::account::{Account, AccountError, created};
use crate::domain::decide::decide;
use crate::domain::plan::{Action, Plan};
use crate::domain::restart as restart_rules;
use crate::domain::settle::{self, Applied, settle};
use crate::domain::trigger;
use crate::domain::words::{self, Abnormal, Happening, Word};
use crate::telemetry::span;

/// A pass may take this long before it is given up and begun anew.
const PASS_TIMEOUT: Duration = Duration::from_secs(60);
/// The longest chain there is: repair, move the expiry, shorten the grace, republish; and as much again.
const MOST_STEPS: usize = 8;

/// One pass over one account.
pub async fn reconcile(object: Arc<ServiceAccount>, context: Arc<Context>) -> Result<Requeue, Error> {
    let about = || {
        [("k8s.namespace.name", object.metadata.namespace.clone()), ("keyrota.account", object.metadata.name.clone())]
    };
    span::within("reconcile ServiceAccount", about, told(&object, &context)).await
}

/// A pass that is counted, and whose failure is told.
async fn told(object: &Arc<ServiceAccount>, context: &Context) -> Result<Requeue, Error> {
    let mut under_way = context.backlog.pass(object);
    let began = tokio::time::Instant::now();
    // What passes share are maps behind locks that do not poison, and the cluster, which any pass may find half done.
    let pass = AssertUnwindSafe(pass(context, object)).catch_unwind();
    let outcome = match tokio::time::timeout(PASS_TIMEOUT, pass).await {
        Ok(Ok(outcome)) => outcome,
        Ok(Err(_)) => Err(Error::Panicked),
        Err(_) => Err(Error::TooSlow(PASS_TIMEOUT.as_secs())),
    };
    let ended = metrics::outcome(&outcome);
    context.settings.metrics.pass(ended, began.elapsed().as_secs_f64());
    span::note(|| [("keyrota.outcome", Some(ended.to_owned()))]);
    let retry = match outcome {
        Ok(retry) => retry,
        Err(error) => {
            under_way.failed();
            tell(context, object, &error, ended);
            // What made the pass panic may do so here, too.
            let _ = AssertUnwindSafe(report_refused(context, object, &error)).catch_unwind().await;
            let _ = AssertUnwindSafe(note::late(context, object)).catch_unwind().await;
            return Err(error);
        }
    };
    context.failures.lock().remove(object.metadata.uid.as_deref().unwrap_or_default());
    Ok(retry.map_or_else(Requeue::await_change, Requeue::requeue))
}

/// Returns when to look again at something that failed and keeps nothing else waiting.
async fn pass(context: &Context, object: &Arc<ServiceAccount>) -> Result<Option<Duration>, Error> {
    let account = match Account::parse(object) {
        Ok(account) => account,
        Err(problem) => return report_unusable(context, object, &problem).await.map(|()| None),
    };
    let Some((sight, plan)) = converge(context, object, &account).await? else { return Ok(None) };
    for younger in observe::unaware(context, &account) {
        let at = younger.namespace().unwrap_or_default();
        context.deadlines.set(&at, &younger.name_any(), Some(context.clock.timestamp()));
    }
    let sight = note::due(context, sight, &plan.standing).await?;
    let Some((sight, restarts)) = restart::carry_out(context, sight).await? else { return Ok(None) };
    let applied = Applied {
        account: sight.observed.account,
        record: sight.observed.record,
        standing: plan.standing,
        issuer: sight.observed.issuer,
        missing_groups: sight.observed.missing_groups,
        missing_trust: sight.observed.missing_trust,
        uses: context.usage.admitted(&account.owner.uid),
    };
    let old = sight.object.status.clone().unwrap_or_default();
    let now = context.clock.timestamp();
    let mut status = settle(&applied, &old, now);
    restart_rules::report(&mut status, &old, &restarts.problems, now);
    trigger::report(&mut status, &old, &sight.observed.triggers.ignored, now);
    let wake = plan.wake.into_iter().chain(settle::wake(&applied, &status, now)).min();
    let untold = trigger::untold(&old, &sight.observed.triggers.ignored);
    let news = news(&old, &status).into_iter().chain(untold.map(|note| (&words::TRIGGERS_IGNORED, note)));
    report::status(context, &sight.object, status).await?;
    context.usage.shown(&account.owner.uid, &applied.uses);
    for (what, note) in news {
        report::told(context, sight.object.as_ref(), what, note).await;
    }
    context.deadlines.set(&account.owner.namespace, &account.owner.name, wake);
    Ok(restarts.retry)
}

/// What Events tell of: conditions that have become true, and one that has become urgent.
fn news(old: &ServiceAccountStatus, new: &ServiceAccountStatus) -> Vec<(&'static Happening, String)> {
    let before = |condition: &Condition| old.conditions.iter().find(|before| before.type_ == condition.type_);
    let told = |condition: &Condition| {
        let (before, is) = (before(condition), |word: &Word| condition.type_ == word.type_());
        let ends_soon = |condition: &Condition| condition.reason == words::ENDS_SOON.reason();
        if is(&words::IN_USE) && ends_soon(condition) && !before.is_some_and(ends_soon) {
            // Of its own, so that it does not count as the first warning once more.
            return Some(&words::PREVIOUS_ENDS_SOON);
        }
        if before.is_some() {
            return None;
        }
        let restart_failed = is(&words::RESTART_FAILED).then_some(&words::ROLLOUT_RESTART_FAILED);
        is(&words::IN_USE).then_some(&words::PREVIOUS_IN_USE).or(restart_failed)
    };
    new.conditions.iter().filter_map(|condition| Some((told(condition)?, condition.message.clone()))).collect()
}

/// Step by step until there is nothing to do. The first look costs no call; nothing is written before a live one.
async fn converge(
    context: &Context,
    object: &Arc<ServiceAccount>,
    account: &Account,
) -> Result<Option<(Sight, Plan)>, Error> {
    if let Some(sight) = observe::cached(context, object, account)? {
        let plan = decide(&sight.observed, context.clock.timestamp());
        if plan.action == Action::Nothing {
            return Ok(Some((sight, plan)));
        }
    }
    let Some(mut sight) = observe::live(context, account).await? else { return Ok(None) };
    for _ in 0..MOST_STEPS {
        let now = context.clock.timestamp();
        let plan = decide(&sight.observed, now);
        if plan.action == Action::Nothing {
            return Ok(Some((sight, plan)));
        }
        sight = apply(context, sight, &plan.action, now).await?;
    }
    Err(Error::Unsettled(MOST_STEPS))
}

/// An object that predates a rule: said, and left as it is.
async fn report_unusable(context: &Context, object: &ServiceAccount, problem: &AccountError) -> Result<(), Error> {
    let generation = object.metadata.generation.unwrap_or_default();
    let old = object.status.clone().unwrap_or_default();
    let now = context.clock.timestamp();
    let word = &words::INVALID_SPEC;
    let ready = word.condition(generation, now, problem.to_string());
    let stalled = word.abnormal(Abnormal::Stalled, generation, now, problem.to_string());
    let status = ServiceAccountStatus {
        observed_generation: generation,
        created_time: Some(created(&object.metadata)),
        conditions: [ready, stalled].map(|condition| condition.since(&old.conditions)).into(),
        ..old.clone()
    };
    report::status(context, object, status).await
}

/// What the API server will not let us do (a quota, a policy, an immutable Secret) is the user's to mend, and a bug of
/// ours is somebody's to report: said once.
async fn report_refused(context: &Context, object: &ServiceAccount, error: &Error) {
    let refused = matches!(error.call(), Some(CallError::Forbidden(_) | CallError::Invalid));
    if !refused && !matches!(error, Error::Panicked) {
        return;
    }
    let old = object.status.clone().unwrap_or_default();
    let (word, message) = (&words::RECONCILE_FAILED, error.to_string());
    if old.conditions.iter().any(|before| before.type_ == word.type_() && before.message == message) {
        return;
    }
    let generation = object.metadata.generation.unwrap_or_default();
    let refused = word.condition(generation, context.clock.timestamp(), message.clone());
    let others = old.conditions.iter().filter(|before| before.type_ != refused.type_).cloned();
    let conditions = std::iter::once(refused.clone()).chain(others).collect();
    // A status that cannot be written either is no news: the pass is tried again.
    let _ = report::status(context, object, ServiceAccountStatus { conditions, ..old.clone() }).await;
    report::told(context, object, &words::PASS_FAILED, message).await;
}

/// Counts and logs a failure, in the span of its pass.
fn tell(context: &Context, object: &ServiceAccount, error: &Error, ended: &'static str) {
    let uid = object.metadata.uid.clone().unwrap_or_default();
    let (namespace, name) = (object.metadata.namespace.as_deref(), object.metadata.name.as_deref());
    if error.is_race() {
        tracing::debug!(namespace, account = name, %error, "a pass lost a race and is tried again");
        return;
    }
    span::failed(ended, error);
    let failures = {
        let mut failures = context.failures.lock();
        let count = failures.entry(uid).or_default();
        *count = count.saturating_add(1);
        *count
    };
    let pause = pause(failures);
    tracing::warn!(namespace, account = name, %error, failures, retry_seconds = pause.as_secs_f64(), "a pass failed and is tried again");
}

/// What to do after a failed pass: at once after a lost race, else with a growing pause.
pub fn after_error(object: Arc<ServiceAccount>, error: &Error, context: Arc<Context>) -> Requeue {
    if error.is_race() {
        return Requeue::requeue(Duration::from_millis(100));
    }
    let uid = object.metadata.uid.as_deref().unwrap_or_default();
    let failures = context.failures.lock().get(uid).copied().unwrap_or_default();
    Requeue::requeue(pause(failures))
}

fn pause(failures: u32) -> Duration {
    Duration::from_millis(250 << failures.min(8))
}
