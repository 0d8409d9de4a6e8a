//! The User Group tab: which groups the account is in, and Assign group.

use std::collections::HashSet;
use std::sync::Arc;

use askama::Template;
use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use serde_json::{Map, json};

use super::manage::read;
use super::{html, redirect};
use crate::api::{ServiceAccount, UserGroup};
use crate::console::account;
use crate::console::authority::Ask;
use crate::console::fields::Fields;
use crate::console::frame::{Flash, Frame, Tone};
use crate::console::problem::Problem;
use crate::console::visit::{App, Locator, Visit};

struct Line {
    name: String,
    description: String,
    scopes: String,
    member: bool,
    ticked: bool,
    /// Why its check box cannot be changed.
    fixed: Option<&'static str>,
    /// There is no such group, or it is not for this account's issuer.
    missing: Option<String>,
}

#[derive(Template)]
#[template(path = "groups.html")]
struct Page<'a> {
    frame: &'a Frame,
    href: String,
    namespace: &'a str,
    name: &'a str,
    lines: Vec<Line>,
    locked: Option<String>,
    refused: Option<String>,
    generation: i64,
    groups: usize,
}

/// The groups, those that the account is in ticked.
pub async fn show(State(app): State<Arc<App>>, visit: Visit, at: Locator) -> Result<Response, Problem> {
    let object = read(&visit, &at).await?;
    let ticked = object.spec.user_groups.iter().cloned().collect();
    render(&app, &visit, &at, &object, &ticked, None, StatusCode::OK).await
}

/// Puts the account into the ticked groups, and takes it out of the others.
pub async fn assign(
    State(app): State<Arc<App>>,
    visit: Visit,
    at: Locator,
    fields: Fields,
) -> Result<Response, Problem> {
    let object = read(&visit, &at).await?;
    let ticked: HashSet<String> = fields.all("group").map(str::to_owned).collect();
    if fields.get("generation").parse() != Ok(object.metadata.generation.unwrap_or_default()) {
        let text = "The account was changed by somebody else since this list was opened. Look at it once more, then assign again.";
        return render(&app, &visit, &at, &object, &ticked, Some(text.to_owned()), StatusCode::CONFLICT).await;
    }
    // A disabled check box is not sent: what could not be unticked stays. Those that stay keep their order, for Git.
    let before = &object.spec.user_groups;
    let kept: HashSet<&str> = fields.all("keep").collect();
    let mut after: Vec<String> =
        before.iter().filter(|name| ticked.contains(*name) || kept.contains(name.as_str())).cloned().collect();
    let mut new: Vec<String> = ticked.iter().filter(|name| !before.contains(name)).cloned().collect();
    new.sort_unstable();
    after.extend(new);
    if after == *before {
        visit.session.say(Flash::new(Tone::Info, "Nothing to assign: the groups are as they were."));
        return Ok(redirect(&format!("{}/groups", at.href())));
    }
    let change = Map::from_iter([("userGroups".to_owned(), json!(after))]);
    match account::change_spec(&visit.session.client, &object, change).await {
        Ok(()) => {
            let title = match after.as_slice() {
                [] => "The account is in no group now.".to_owned(),
                groups => format!("The account is in {} now.", groups.join(", ")),
            };
            visit.session.say(Flash::new(Tone::Good, title));
            Ok(redirect(&format!("{}/groups", at.href())))
        }
        Err(problem) => {
            let text = Some(problem.text());
            render(&app, &visit, &at, &object, &ticked, text, problem.status()).await
        }
    }
}

async fn render(
    app: &App,
    visit: &Visit,
    at: &Locator,
    object: &ServiceAccount,
    ticked: &HashSet<String>,
    refused: Option<String>,
    status: StatusCode,
) -> Result<Response, Problem> {
    let uid = object.metadata.uid.as_deref().unwrap_or_default();
    let locked = account::may_change(&visit.session.client, at, uid).await.err().map(|problem| problem.text());
    let mut frame = visit.frame.clone();
    frame.flashes = visit.session.take_flashes();
    let page = Page {
        frame: &frame,
        href: at.href(),
        namespace: &at.namespace,
        name: &at.name,
        lines: lines(app, visit, object, ticked).await?,
        locked,
        refused,
        generation: object.metadata.generation.unwrap_or_default(),
        groups: object.spec.user_groups.len(),
    };
    Ok(html(status, &page))
}

/// The groups that the user may list, or may assign, or that the account is in already.
async fn lines(
    app: &App,
    visit: &Visit,
    object: &ServiceAccount,
    ticked: &HashSet<String>,
) -> Result<Vec<Line>, Problem> {
    let groups = app.holdings.groups();
    let name = |group: &Arc<UserGroup>| group.metadata.name.clone().unwrap_or_default();
    let members: HashSet<&String> = object.spec.user_groups.iter().collect();
    let assignable: HashSet<String> = if visit.rights.may(Ask::group("assign", None)).await? {
        groups.iter().map(name).collect()
    } else {
        let asked = visit.rights.allowed(groups.iter().map(name), |name| Ask::group("assign", Some(name)));
        asked.await?.into_iter().collect()
    };
    let all = visit.rights.may(Ask::group("list", None)).await?;
    let issuer = app.holdings.issuer_of(object.metadata.namespace.as_deref().unwrap_or_default());
    let issuer = issuer.map(|issuer| issuer.name).unwrap_or_default();
    let line = |group: &Arc<UserGroup>| {
        let name = name(group);
        let (member, may) = (members.contains(&name), assignable.contains(&name));
        let elsewhere = !group.spec.issuers.is_empty() && !group.spec.issuers.contains(&issuer);
        (all || member || may).then(|| Line {
            description: group.spec.description.clone().unwrap_or_default(),
            scopes: group.spec.scopes.join(" "),
            member,
            ticked: ticked.contains(&name),
            fixed: (!member && !may).then_some("You may not assign this group"),
            missing: elsewhere
                .then(|| format!("It does not count here: it is limited to other issuers than {issuer}.")),
            name,
        })
    };
    let mut lines: Vec<Line> = groups.iter().filter_map(line).collect();
    let known: HashSet<String> = groups.iter().map(name).collect();
    lines.extend(object.spec.user_groups.iter().filter(|name| !known.contains(*name)).map(|name| Line {
        name: name.clone(),
        description: String::new(),
        scopes: String::new(),
        member: true,
        ticked: ticked.contains(name),
        fixed: None,
        missing: Some("There is no such group.".to_owned()),
    }));
    // Of a long list, what the account is in is seen first.
    lines.sort_by_key(|line| !line.member);
    Ok(lines)
}
