//! Regenerate: what it will do first, then the doing.

use std::sync::Arc;

use askama::Template;
use axum::extract::{RawQuery, State};
use axum::response::Response;
use chrono::TimeDelta;
use http::StatusCode;
use kube::ResourceExt;

use super::manage::{called, read};
use super::{html, redirect};
use crate::api::service_account::{Credential, CredentialState};
use crate::api::{REGENERATE, ServiceAccount, Timestamp};
use crate::console::account;
use crate::console::fields::Fields;
use crate::console::frame::{Flash, Frame, Tone};
use crate::console::keeper::{self, Keeper};
use crate::console::problem::Problem;
use crate::console::visit::{App, Locator, Visit};
use crate::console::words::{When, length};
use crate::domain::account::Account;
use crate::domain::trigger;

/// A secret that was used within so long counts as in use.
const RECENTLY: TimeDelta = TimeDelta::hours(24);

#[derive(Clone, Copy, PartialEq, Eq)]
enum What {
    Secret,
    ClientId,
}

impl What {
    fn of(fields: &Fields) -> Result<Self, Problem> {
        match fields.get("what") {
            "client-secret" => Ok(Self::Secret),
            "client-id" => Ok(Self::ClientId),
            _ => Err(Problem::Bad("Only the client secret and the client ID can be regenerated.")),
        }
    }

    fn key(self) -> &'static str {
        match self {
            Self::Secret => "client-secret",
            Self::ClientId => "client-id",
        }
    }
}

#[derive(Template)]
#[template(path = "regenerate.html")]
struct Page<'a> {
    frame: &'a Frame,
    href: String,
    name: &'a str,
    namespace: &'a str,
    what: &'static str,
    with_id: bool,
    old: Option<Old>,
    older: Option<Old>,
    workloads: Vec<String>,
    keeper: Option<Keeper>,
    locked: Option<String>,
    disabled: bool,
}

/// What becomes of the present credential.
struct Old {
    version: i64,
    expired: bool,
    grace: Option<String>,
    /// When it stops working, if not at once.
    until: Option<When>,
    last_used: Option<When>,
    in_use: bool,
}

/// Says what will happen.
pub async fn confirm(
    State(app): State<Arc<App>>,
    visit: Visit,
    at: Locator,
    RawQuery(raw): RawQuery,
) -> Result<Response, Problem> {
    let what = What::of(&Fields::parse(raw.as_deref().unwrap_or_default().as_bytes()))?;
    let object = read(&visit, &at).await?;
    if !has_seen(&visit, &object) {
        return Ok(shown_first(&visit, &at));
    }
    let grace = app.holdings.issuer_of(&at.namespace).map(|issuer| issuer.grace).unwrap_or_default();
    let now = Timestamp::from(visit.now);
    let uid = object.uid().unwrap_or_default();
    let of = |state| object.status.iter().flat_map(|status| &status.credentials).find(move |one| one.state == state);
    let page = Page {
        frame: &visit.frame,
        href: at.href(),
        name: &at.name,
        namespace: &at.namespace,
        what: what.key(),
        with_id: what == What::ClientId,
        old: of(CredentialState::Current).map(|current| old(current, grace, now)),
        older: of(CredentialState::Previous).and_then(|previous| older(previous, now)),
        workloads: workloads(&object),
        keeper: keeper::of(&object),
        locked: account::may_change(&visit.session.client, &at, &uid).await.err().map(|problem| problem.text()),
        disabled: !object.spec.enabled,
    };
    Ok(html(StatusCode::OK, &page))
}

/// The manual: first Show, then Regenerate.
fn has_seen(visit: &Visit, object: &ServiceAccount) -> bool {
    visit.session.has_seen(&object.uid().unwrap_or_default(), visit.now)
}

fn shown_first(visit: &Visit, at: &Locator) -> Response {
    visit.session.say(Flash::new(Tone::Warning, "Show the secret first; then it can be regenerated."));
    redirect(&at.href())
}

fn old(current: &Credential, grace: TimeDelta, now: Timestamp) -> Old {
    let end = current.not_after.min(now.saturating_add(grace));
    Old {
        version: current.version,
        expired: current.not_after <= now,
        grace: (grace > TimeDelta::zero()).then(|| length(grace)),
        until: (end > now).then(|| When::new(end, now)),
        last_used: current.last_used_time.map(|time| When::new(time, now)),
        in_use: current.last_used_time.is_some_and(|time| now.at() - time.at() < RECENTLY),
    }
}

/// The one before it, where it still works: there are never more than two, so a new one ends it at once.
fn older(previous: &Credential, now: Timestamp) -> Option<Old> {
    (previous.not_after > now)
        .then(|| Old { until: Some(When::new(previous.not_after, now)), ..old(previous, TimeDelta::zero(), now) })
}

fn workloads(object: &ServiceAccount) -> Vec<String> {
    match Account::parse(object) {
        Ok(account) => account.restarts.iter().map(ToString::to_string).collect(),
        Err(_) => Vec::new(),
    }
}

/// Asks the controller for it, as the user, by the annotation that is meant for people.
pub async fn regenerate(visit: Visit, at: Locator, fields: Fields) -> Result<Response, Problem> {
    let what = What::of(&fields)?;
    let object = read(&visit, &at).await?;
    if !has_seen(&visit, &object) {
        return Ok(shown_first(&visit, &at));
    }
    let handled = object.status.clone().and_then(|status| status.handled?.regenerate_time);
    // Twice within a second are two requests, and only a later time counts.
    let last = trigger::asked(&object).max(handled).map(|time| time.saturating_add(TimeDelta::seconds(1)));
    let now = Timestamp::from(visit.now);
    let time = last.filter(|last| *last <= now.saturating_add(TimeDelta::minutes(1))).map_or(now, |last| last.max(now));
    account::annotate(&visit.session.client, &object, REGENERATE, &format!("{}@{time}", what.key())).await?;
    tracing::info!(
        user = visit.session.user.name,
        account = called(&object),
        what = what.key(),
        "regeneration asked for"
    );
    let title = match what {
        What::Secret => "A new client secret was asked for.",
        What::ClientId => "A new client ID and a new client secret were asked for.",
    };
    visit.session.say(Flash::new(Tone::Good, title));
    Ok(redirect(&at.href()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::console::inventory::testing::at;
    use serde_json::json;

    #[test]
    fn a_version_before_the_old_one_is_told_of_while_it_works() {
        let previous: Credential = serde_json::from_value(json!({
            "version": 1, "clientId": "x", "state": "Previous", "notBefore": "2026-11-01T12:00:00Z",
            "notAfter": "2026-11-23T12:00:00Z", "lastUsedTime": "2026-11-22T11:00:00Z", "reason": "Created",
        }))
        .unwrap();
        let told = older(&previous, at("2026-11-22T12:00:00Z")).unwrap();
        assert!(told.in_use && told.until.unwrap().exact == "23 Nov 2026, 12:00:00 UTC");
        assert!(older(&previous, at("2026-11-23T12:00:00Z")).is_none());
    }
}
