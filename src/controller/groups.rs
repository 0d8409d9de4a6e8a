//! User groups: how many accounts name each.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use futures::FutureExt;
use kube::Api;
use kube::api::PostParams;
use tokio::sync::watch;
use tokio::time::sleep;

use super::calls::call;
use super::context::Context;
use super::error::Error;
use crate::api::UserGroup;
use crate::domain::group::{self, Census};

/// After a count, however much changes: a thousand accounts made in a burst cost a group a few writes.
const PAUSE: Duration = Duration::from_secs(2);

/// Counts whenever accounts, groups or issuers have changed.
pub async fn keep_counting(context: Arc<Context>, mut changed: watch::Receiver<()>) {
    // A part of the accounts would make a wrong number.
    for accounts in &context.stores.accounts {
        if accounts.wait_until_ready().await.is_err() {
            return;
        }
    }
    let mut said = HashMap::new();
    loop {
        changed.mark_unchanged();
        let outcome = report_all(&context, &mut said).await;
        sleep(PAUSE).await;
        match outcome {
            Ok(()) if changed.changed().await.is_err() => return,
            Ok(()) => {}
            Err(error) => tracing::warn!(%error, "a user group's members could not be reported; tried again"),
        }
    }
}

/// The first error does not keep the others waiting.
async fn report_all(context: &Context, said: &mut HashMap<String, i64>) -> Result<(), Error> {
    let issuers = context.issuers();
    let mut census = Census::default();
    for store in &context.stores.accounts {
        store.state().iter().for_each(|account| census.count(account, &issuers));
    }
    let mut outcome = Ok(());
    let groups = context.stores.groups.state();
    said.retain(|uid, _| groups.iter().any(|group| group.metadata.uid.as_ref() == Some(uid)));
    for group in groups {
        let status = group::status(&group, &census, &issuers, context.clock.timestamp());
        let (uid, sees_all) =
            (group.metadata.uid.clone().unwrap_or_default(), context.settings.watch_namespaces.is_empty());
        let (last, members) = (said.get(&uid).copied(), status.members);
        if group::is_news(&status, group.status.as_ref(), last, sees_all) {
            let status = group::merged(status, group.status.as_ref(), last, sees_all);
            let written = write(context, UserGroup { status: Some(status), ..UserGroup::clone(&group) }).await;
            if written.is_err() {
                outcome = outcome.and(written);
                continue;
            }
        }
        // A group without members here is nothing that was said.
        if let Some(members) = members.filter(|members| *members > 0 || last.is_some()) {
            said.insert(uid, members);
        }
    }
    outcome
}

async fn write(context: &Context, mut group: UserGroup) -> Result<(), Error> {
    group.metadata.managed_fields = None;
    let name = group.metadata.name.clone().unwrap_or_default();
    let api: Api<UserGroup> = Api::all(context.client.clone());
    let what = || format!("write the status of the UserGroup {name}");
    call(what, api.replace_status(&name, &PostParams::default(), &group)).map(|written| written.map(drop)).await
}
