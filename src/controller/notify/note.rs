//! What a pass does about notices: records what is due, and offers the outbox what is to be sent.

use crate::api::{ServiceAccount, ServiceAccountStatus};
use crate::controller::apply;
use crate::controller::calls::find;
use crate::controller::context::Context;
use crate::controller::error::Error;
use crate::controller::observe::{self, Sight};
use crate::controller::report;
use crate::domain::account::{Account, Authentication};
use crate::domain::names;
use crate::domain::notice::recipient::{Recipient, recipients};
use crate::domain::notice::{self, Notice};
use crate::domain::plan::Standing;
use crate::domain::record::Record;
use kube::runtime::reflector::ObjectRef;

/// The end of every pass that came to one. What is new is written before anything of it is sent.
pub async fn due(context: &Context, sight: Sight, standing: &Standing) -> Result<Sight, Error> {
    if *standing == Standing::Deleting {
        return Ok(sight);
    }
    let sight = match planned(context, &sight) {
        None => sight,
        Some(_) if sight.record_version.is_none() => {
            // Seen through the watches alone, and nothing is written before a live look.
            let Some(live) = observe::live(context, &sight.observed.account).await? else { return Ok(sight) };
            record(context, live).await?
        }
        Some(_) => record(context, sight).await?,
    };
    if let Some(record) = &sight.observed.record {
        offer(context, &sight.observed.account, record);
    }
    Ok(sight)
}

async fn record(context: &Context, sight: Sight) -> Result<Sight, Error> {
    match planned(context, &sight).zip(sight.observed.record.clone()) {
        Some((notices, record)) => apply::write_record(context, sight, Record { notices, ..record }).await,
        None => Ok(sight),
    }
}

fn planned(context: &Context, sight: &Sight) -> Option<Vec<Notice>> {
    let told = told(context, &sight.object, &sight.observed.issuer);
    plan(&sight.observed.account, sight.observed.record.as_ref()?, &told, context)
}

fn plan(account: &Account, record: &Record, told: &[Recipient], context: &Context) -> Option<Vec<Notice>> {
    let Authentication::Internal(settings) = &account.authentication else { return None };
    notice::plan(account, settings, record, told, context.clock.timestamp())
}

/// Everybody who is told of this account.
fn told(context: &Context, object: &ServiceAccount, issuer: &str) -> Vec<Recipient> {
    let contact = object.spec.contact.as_ref().and_then(|contact| contact.email.as_deref());
    let issuer = context.stores.issuers.get(&ObjectRef::new(issuer));
    let (admins, webhook) = issuer.as_ref().map_or((&[][..], false), |issuer| {
        let notifications = &issuer.spec.notifications;
        (&notifications.admin_recipients[..], notifications.webhook.is_some())
    });
    recipients(contact, admins, webhook, context.settings.ways.means())
}

fn offer(context: &Context, account: &Account, record: &Record) {
    let Authentication::Internal(settings) = &account.authentication else { return };
    for key in notice::deliverable(account, settings, record, context.clock.timestamp()) {
        context.outbox.offer(&account.owner, key);
    }
}

/// After a pass that failed. A rotation that fails again and again is exactly what people are to be told of, so this
/// looks at the record alone; and it does nothing until the rotation is late.
pub async fn late(context: &Context, object: &ServiceAccount) {
    if let Err(error) = try_late(context, object).await {
        let (namespace, name) = (object.metadata.namespace.as_deref(), object.metadata.name.as_deref());
        tracing::debug!(namespace, account = name, %error, "a late rotation could not be noted; the next pass tries again");
    }
}

async fn try_late(context: &Context, object: &ServiceAccount) -> Result<(), Error> {
    let Ok(account) = Account::parse(object) else { return Ok(()) };
    let Authentication::Internal(settings) = &account.authentication else { return Ok(()) };
    let now = context.clock.timestamp();
    let name = names::record(&account.owner.uid);
    let is_late = |record: &Record| {
        let from = record.current().and_then(|current| notice::late_from(&account, settings, current));
        from.is_some_and(|from| from <= now) && !account.deleting
    };
    if !observe::cached_record(context, &account.owner.uid)?.is_some_and(|record| is_late(&record)) {
        return Ok(());
    }
    let live = find(|| format!("read the record {name}"), context.own_secrets().get(&name)).await?;
    let Some(live) = live else { return Ok(()) };
    let mut record = observe::parse_record(&live)?;
    if !is_late(&record) {
        return Ok(());
    }
    let issuers = context.issuers();
    let issuer = issuers.of_namespace(&account.owner.namespace).map_or(names::DEFAULT_ISSUER, |issuer| &issuer.name);
    if let Some(notices) = plan(&account, &record, &told(context, object, issuer), context) {
        record.notices = notices;
        apply::store_record(context, &record, live.metadata.resource_version).await?;
    }
    offer(context, &account, &record);
    let old: ServiceAccountStatus = object.status.clone().unwrap_or_default();
    report::status(context, object, notice::over(&old, &account, &record, now)).await
}
