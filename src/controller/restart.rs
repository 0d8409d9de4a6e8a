//! Restarts workloads after a new credential, as `kubectl rollout restart` does. Nothing else ever waits for it: what
//! cannot be restarted is reported and tried again.

use std::time::Duration;

use futures::future::join_all;
use k8s_openapi::api::apps::v1::{DaemonSet, Deployment, StatefulSet};
use kube::Api;
use kube::api::{ApiResource, DynamicObject, ListParams, Patch, PatchParams};
use serde_json::{Value, json};
use tokio::time::{Instant, timeout};

use super::apply::{MANAGER, write_record};
use super::calls::{call, find};
use super::context::Context;
use super::error::{CallError, Error};
use super::observe::{self, Sight};
use super::report;
use crate::api::service_account::WorkloadKind;
use crate::domain::record::Record;
use crate::domain::restart::{self, Problem, Stamp, Target, Workloads};

/// All targets of one account together; the status of its credential is written after this.
const LIMIT: Duration = Duration::from_secs(20);
/// The first pause after a failure that may pass; doubled with every further one.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
/// The longest pause, and the one after a refusal: somebody has to mend that first.
const LONG_PAUSE: Duration = Duration::from_secs(300);

/// The last attempt for an account, until all is restarted.
#[derive(Clone)]
pub struct Attempt {
    stamp: Stamp,
    targets: Vec<Target>,
    problems: Vec<Problem>,
    failures: u32,
    next: Instant,
}

/// What is still to be told and done.
#[derive(Default)]
pub struct Outcome {
    /// For the condition.
    pub problems: Vec<Problem>,
    /// When to try again.
    pub retry: Option<Duration>,
}

/// Restarts what is due.
///
/// # Errors
/// When the record cannot be read or written.
pub async fn carry_out(context: &Context, sight: Sight) -> Result<Option<(Sight, Outcome)>, Error> {
    let uid = sight.observed.account.owner.uid.clone();
    let Some(stamp) = due(&sight) else {
        context.restarts.lock().remove(&uid);
        return Ok(Some((sight, Outcome::default())));
    };
    let same = |attempt: &&Attempt| attempt.stamp == stamp && attempt.targets == sight.observed.account.restarts;
    let before = context.restarts.lock().get(&uid).filter(same).cloned();
    if let Some(Attempt { problems, next, .. }) = &before
        && let left = next.saturating_duration_since(Instant::now())
        && !left.is_zero()
    {
        return Ok(Some((sight, Outcome { problems: problems.clone(), retry: Some(left) })));
    }
    // From the record itself: what is due by an old view may be done already.
    let Some(sight) = freshly(context, sight).await? else { return Ok(None) };
    let Some(stamp) = due(&sight) else { return Ok(Some((sight, Outcome::default()))) };
    let account = sight.observed.account.clone();
    let done = sight.observed.record.as_ref().and_then(|record| record.restart.clone()).map(|pending| pending.done);
    let job = Job { context, namespace: &account.owner.namespace, stamp: &stamp, done: &done.unwrap_or_default() };
    let (stamped, problems) = job.all(&account.restarts).await;
    let sight = remember(context, sight, &stamped, problems.is_empty()).await?;
    if problems.is_empty() {
        context.restarts.lock().remove(&uid);
        return Ok(Some((sight, Outcome::default())));
    }
    let failures = before.map_or(0, |before| before.failures.saturating_add(1));
    let pause = pause(&problems, failures);
    let next = Instant::now() + pause;
    let attempt = Attempt { stamp, targets: account.restarts, problems: problems.clone(), failures, next };
    context.restarts.lock().insert(uid, attempt);
    Ok(Some((sight, Outcome { problems, retry: Some(pause) })))
}

async fn freshly(context: &Context, sight: Sight) -> Result<Option<Sight>, Error> {
    match sight.record_version {
        Some(_) => Ok(Some(sight)),
        None => observe::live(context, &sight.observed.account).await,
    }
}

fn due(sight: &Sight) -> Option<Stamp> {
    restart::due(&sight.observed.account, sight.observed.record.as_ref()?)
}

fn pause(problems: &[Problem], failures: u32) -> Duration {
    if problems.iter().any(|problem| matches!(problem, Problem::Failed(..))) {
        return LONG_PAUSE.min(FIRST_PAUSE * 2_u32.saturating_pow(failures.min(10)));
    }
    LONG_PAUSE
}

/// Brings the record up to date with what was done, and says so.
async fn remember(context: &Context, sight: Sight, stamped: &[String], all: bool) -> Result<Sight, Error> {
    let change: fn(Record) -> Record = if all { restart::finished } else { |record| record };
    let Some(record) = sight.observed.record.clone().map(|record| change(restart::with_done(record, stamped))) else {
        return Ok(sight);
    };
    if sight.observed.record.as_ref() == Some(&record) {
        return Ok(sight);
    }
    let sight = write_record(context, sight, record).await?;
    if !stamped.is_empty() {
        report::restarted(context, &sight.object, stamped).await;
    }
    Ok(sight)
}

/// One stamp for the workloads of one account.
struct Job<'a> {
    context: &'a Context,
    namespace: &'a str,
    stamp: &'a Stamp,
    /// Workloads that have had it.
    done: &'a [String],
}

impl Job<'_> {
    /// The workloads that have it now and did not before, and what is wrong with the others.
    async fn all(&self, targets: &[Target]) -> (Vec<String>, Vec<Problem>) {
        let each = targets.iter().map(async |target| {
            let mut stamped = Vec::new();
            let outcome = timeout(LIMIT, self.one(target, &mut stamped)).await;
            let problem = outcome.unwrap_or_else(|_| Err(Problem::Failed(target.clone(), "it took too long".into())));
            (stamped, problem.err())
        });
        let (mut stamped, mut problems) = (Vec::new(), Vec::new());
        for (some, problem) in join_all(each).await {
            stamped.extend(some);
            problems.extend(problem);
        }
        (stamped, problems)
    }

    async fn one(&self, target: &Target, stamped: &mut Vec<String>) -> Result<(), Problem> {
        let api = workloads(self.context, self.namespace, target.kind);
        let found = matching(&api, target).await.map_err(|error| problem(target, &error))?;
        if found.is_empty() {
            return Err(Problem::Missing(target.clone()));
        }
        for object in found {
            let name = object.metadata.name.clone().unwrap_or_default();
            let workload = format!("{:?}/{name}", target.kind);
            if self.done.contains(&workload) {
                continue;
            }
            if !self.stamp.is_on(&object.data["spec"]["template"]["metadata"]["annotations"]) {
                patch(&api, target.kind, &name, self.stamp).await.map_err(|error| problem(target, &error))?;
            }
            stamped.push(workload);
        }
        Ok(())
    }
}

async fn matching(api: &Api<DynamicObject>, target: &Target) -> Result<Vec<DynamicObject>, Error> {
    let what = || format!("read {target}");
    match &target.workloads {
        Workloads::Named(name) => Ok(find(what, api.get(name)).await?.into_iter().collect()),
        Workloads::Labelled(labels) => Ok(call(what, api.list(&ListParams::default().labels(labels))).await?.items),
    }
}

async fn patch(api: &Api<DynamicObject>, kind: WorkloadKind, name: &str, stamp: &Stamp) -> Result<(), Error> {
    let change: Value = json!({"spec": {"template": {"metadata": {"annotations": stamp.annotations()}}}});
    let parameters = PatchParams { field_manager: Some(MANAGER.into()), ..PatchParams::default() };
    let what = || format!("restart the {kind:?} {name}");
    call(what, api.patch(name, &parameters, &Patch::Merge(change))).await.map(drop)
}

fn problem(target: &Target, error: &Error) -> Problem {
    match error.call() {
        Some(CallError::NotFound) => Problem::Missing(target.clone()),
        Some(CallError::Forbidden(_) | CallError::Invalid) => Problem::Refused(target.clone(), error.to_string()),
        _ => Problem::Failed(target.clone(), error.to_string()),
    }
}

fn workloads(context: &Context, namespace: &str, kind: WorkloadKind) -> Api<DynamicObject> {
    let resource = match kind {
        WorkloadKind::Deployment => ApiResource::erase::<Deployment>(&()),
        WorkloadKind::StatefulSet => ApiResource::erase::<StatefulSet>(&()),
        WorkloadKind::DaemonSet => ApiResource::erase::<DaemonSet>(&()),
    };
    Api::namespaced_with(context.client.clone(), namespace, &resource)
}
