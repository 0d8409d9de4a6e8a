//! Delete, Enable and Disable for the ticked accounts: each on its own, so that one that fails does not stop the rest.

use std::sync::Arc;
use std::time::Duration;

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use futures::{StreamExt, stream};
use http::StatusCode;

use super::{html, local, redirect};
use crate::console::account;
use crate::console::fields::Fields;
use crate::console::frame::{Flash, Frame, Outcome, Tone};
use crate::console::inventory::{AccountState, Holdings};
use crate::console::problem::Problem;
use crate::console::session::Session;
use crate::console::visit::{App, Locator, Visit};

/// Requests under way at once.
const AT_ONCE: usize = 8;
/// How long the next page waits for the watch to tell what was just done.
const NOTICED: Duration = Duration::from_millis(1500);

#[derive(Clone, Copy, PartialEq, Eq)]
enum Action {
    Delete,
    Enable,
    Disable,
}

impl Action {
    fn of(key: &str) -> Option<Self> {
        match key {
            "delete" => Some(Self::Delete),
            "enable" => Some(Self::Enable),
            "disable" => Some(Self::Disable),
            _ => None,
        }
    }

    fn done(self) -> &'static str {
        match self {
            Self::Delete => "Deleted",
            Self::Enable => "Enabled",
            Self::Disable => "Disabled",
        }
    }
}

struct Chosen {
    at: Locator,
    uid: String,
}

impl Chosen {
    /// As a check box says it: namespace, name and UID.
    fn parse(key: &str) -> Option<Self> {
        let mut parts = key.split('/');
        let (namespace, name, uid) = (parts.next()?, parts.next()?, parts.next()?);
        let fine = parts.next().is_none() && !uid.is_empty() && uid.len() <= 64;
        Locator::new(namespace, name).filter(|_| fine).map(|at| Self { at, uid: uid.to_owned() })
    }

    fn key(&self) -> String {
        format!("{}/{}/{}", self.at.namespace, self.at.name, self.uid)
    }
}

#[derive(Template)]
#[template(path = "delete.html")]
struct ConfirmPage<'a> {
    frame: &'a Frame,
    chosen: &'a [Chosen],
    back: &'a str,
    cancel: &'a str,
}

/// Acts, and goes back to where it was asked for; a deletion asks first.
pub async fn act(State(app): State<Arc<App>>, visit: Visit, fields: Fields) -> Result<Response, Problem> {
    let action = Action::of(fields.get("action")).ok_or(Problem::Bad("There is no such action."))?;
    let chosen: Option<Vec<Chosen>> = fields.all("account").map(Chosen::parse).collect();
    let chosen = chosen.ok_or(Problem::Bad("One of the ticked accounts cannot be an account's name."))?;
    let back = local(fields.get("back"));
    if chosen.is_empty() {
        visit.session.say(Flash::new(Tone::Warning, "Tick the accounts first."));
        return Ok(redirect(back));
    }
    if action == Action::Delete && !fields.has("confirmed") {
        let cancel = if fields.has("cancel") { local(fields.get("cancel")) } else { back };
        return Ok(html(StatusCode::OK, &ConfirmPage { frame: &visit.frame, chosen: &chosen, back, cancel }));
    }
    let session = &visit.session;
    let carried_out = stream::iter(chosen).map(|one| async move {
        let result = carry_out(session, action, &one).await;
        (one, result)
    });
    let outcomes: Vec<(Chosen, Result<(), Problem>)> = carried_out.buffered(AT_ONCE).collect().await;
    let done: Vec<&str> =
        outcomes.iter().filter(|(_, result)| result.is_ok()).map(|(one, _)| one.uid.as_str()).collect();
    noticed(&app.holdings, action, &done).await;
    visit.session.say(told(action, &outcomes));
    Ok(redirect(back))
}

async fn carry_out(session: &Session, action: Action, chosen: &Chosen) -> Result<(), Problem> {
    let Chosen { at, uid } = chosen;
    match action {
        Action::Delete => account::delete(&session.client, at, uid).await,
        Action::Enable => account::enable(&session.client, at, uid, true).await,
        Action::Disable => account::enable(&session.client, at, uid, false).await,
    }
}

fn told(action: Action, outcomes: &[(Chosen, Result<(), Problem>)]) -> Flash {
    let good = outcomes.iter().filter(|(_, result)| result.is_ok()).count();
    let (tone, title) = match (good, outcomes) {
        (1, [(one, _)]) => (Tone::Good, format!("{} {}/{}.", action.done(), one.at.namespace, one.at.name)),
        (good, all) if good == all.len() => (Tone::Good, format!("{} {good} accounts.", action.done())),
        (good, all) => (Tone::Bad, format!("{} {good} of {} accounts.", action.done(), all.len())),
    };
    let result = |(one, result): &(Chosen, Result<(), Problem>)| Outcome {
        tone: if result.is_ok() { Tone::Good } else { Tone::Bad },
        what: format!("{}/{}", one.at.namespace, one.at.name),
        result: match result {
            Ok(()) => action.done().to_owned(),
            Err(problem) => problem.text(),
        },
    };
    let results = if outcomes.len() == 1 && good == 1 { Vec::new() } else { outcomes.iter().map(result).collect() };
    Flash { tone, title, results }
}

/// Waits a moment until the watch has told it: the next page should show what was done.
async fn noticed(holdings: &Holdings, action: Action, uids: &[&str]) {
    let wanted = |state: Option<AccountState>| match action {
        Action::Delete => state.is_none_or(|state| state == AccountState::Deleted),
        Action::Enable => state != Some(AccountState::Inactive),
        Action::Disable => state != Some(AccountState::Active),
    };
    let all = async {
        while !uids.iter().all(|uid| wanted(holdings.state_of(uid))) {
            tokio::time::sleep(Duration::from_millis(25)).await;
        }
    };
    let _ = tokio::time::timeout(NOTICED, all).await;
}
