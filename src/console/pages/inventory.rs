//! The inventory page and its export.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Instant;

use askama::Template;
use axum::extract::{RawQuery, State};
use axum::response::{IntoResponse, Response};
use http::header::{CONTENT_DISPOSITION, CONTENT_TYPE, HeaderName};
use http::{HeaderValue, StatusCode};

use super::reach::Reach;
use super::{INVENTORY, html};
use crate::api::Timestamp;
use crate::api::service_account::Mode;
use crate::console::authority::Ask;
use crate::console::frame::Frame;
use crate::console::inventory::export;
use crate::console::inventory::{
    AccountState, Column, Holdings, PAGE_SIZES, Page, Query, Row, SecretState, WITHIN_DAYS, page,
};
use crate::console::problem::Problem;
use crate::console::rights::{Rights, Sight};
use crate::console::visit::{App, Locator, Visit};
use crate::console::words::When;

/// A row as it is shown.
struct Line {
    row: Arc<Row>,
    href: String,
    /// Namespace, name and UID: what its check box stands for.
    key: String,
    last_access: Option<When>,
    created: When,
    expiry: Option<When>,
    /// It has passed, or comes within a week.
    expiry_is_near: bool,
    deleted: Option<When>,
    /// Why it cannot be ticked.
    fixed: Option<String>,
}

/// A heading that sorts.
struct Heading {
    column: Column,
    href: String,
    /// `ascending`, `descending` or `none`, as ARIA has it.
    sort: &'static str,
}

/// A choice in a menu.
struct Choice {
    value: String,
    title: String,
    chosen: bool,
}

#[derive(Template)]
#[template(path = "inventory.html")]
struct InventoryPage<'a> {
    frame: &'a Frame,
    query: &'a Query,
    page: Page,
    lines: Vec<Line>,
    headings: Vec<Heading>,
    namespaces: Vec<Choice>,
    /// The namespace that is asked for, where it has no account.
    unknown_namespace: Option<&'a String>,
    statuses: Vec<Choice>,
    modes: Vec<Choice>,
    secrets: Vec<Choice>,
    within: Vec<Choice>,
    sizes: Vec<Choice>,
    /// The filters in force, as they stand in the URL.
    filters: Vec<(&'static str, String)>,
    /// `sort` as it stands in the URL.
    sort: String,
    here: String,
    export: String,
    select_all: String,
    widened: String,
    first: String,
    previous: String,
    next: String,
    last: String,
    add: String,
    /// Why there is no Add Account.
    no_adding: Option<&'static str>,
    /// Why none of these accounts can be enabled or disabled; or deleted.
    no_change: Option<&'static str>,
    no_deletion: Option<&'static str>,
    /// Why no account on the page can be ticked, in one sentence.
    only_looking: bool,
    blind: bool,
    limited: bool,
}

/// What narrows it, sorted and cut, and what of it may be acted on.
pub async fn show(State(app): State<Arc<App>>, visit: Visit, RawQuery(raw): RawQuery) -> Result<Response, Problem> {
    let Visit { session, mut frame, now, rights } = visit;
    let query = Query::parse(raw.as_deref().unwrap_or_default());
    let now = Timestamp::from(now);
    let (sight, known) = sight(&app.holdings, &rights, &query).await?;
    let started = Instant::now();
    let page = page(app.holdings.find(&query, now, |row| sight.sees(row)), &query);
    app.metrics.listed(started.elapsed());
    let reach = Reach::of(&rights, &page.rows).await?;
    if !frame.partial {
        frame.flashes = session.take_flashes();
    }
    let shown: BTreeSet<String> =
        known.into_iter().filter(|name| sight.extent(name) > crate::console::rights::Extent::Nothing).collect();
    let no_adding = no_adding(&rights, &query, &shown).await?;
    let mut response = html(StatusCode::OK, &view(&frame, &query, page, &reach, shown, &sight, no_adding, now));
    let address = HeaderValue::from_str(&format!("{INVENTORY}{}", query.to_url()));
    if let (true, Ok(address)) = (frame.partial, address) {
        // The address without the empty fields that a form sends.
        response.headers_mut().insert(HeaderName::from_static("hx-replace-url"), address);
    }
    Ok(response)
}

/// All that the query finds, as CSV.
pub async fn export(State(app): State<Arc<App>>, visit: Visit, RawQuery(raw): RawQuery) -> Result<Response, Problem> {
    let query = Query::parse(raw.as_deref().unwrap_or_default());
    let (sight, _) = sight(&app.holdings, &visit.rights, &query).await?;
    let rows = app.holdings.find(&query, Timestamp::from(visit.now), |row| sight.sees(row));
    let csv = export::csv(&rows).map_err(|_| Problem::broken("the export cannot be written"))?;
    let headers = [
        (CONTENT_TYPE, "text/csv; charset=utf-8"),
        (CONTENT_DISPOSITION, "attachment; filename=\"keyrota-accounts.csv\""),
    ];
    Ok((headers, csv).into_response())
}

/// What the user may see, of the one namespace or of all, and the namespaces there are.
async fn sight(holdings: &Holdings, rights: &Rights, query: &Query) -> Result<(Sight, BTreeSet<String>), Problem> {
    let known = holdings.namespaces();
    let mut asked = known.clone();
    asked.extend(query.namespace.clone());
    Ok((rights.sight(asked).await?, known))
}

/// Why there is no + Add Account here; in the view of all namespaces, when it is for none of those that are shown.
async fn no_adding(rights: &Rights, query: &Query, shown: &BTreeSet<String>) -> Result<Option<&'static str>, Problem> {
    if rights.may(Ask::accounts("create", query.namespace.as_deref())).await? {
        return Ok(None);
    }
    if query.namespace.is_some() {
        return Ok(Some("You may not create accounts in this namespace"));
    }
    // Who sees nothing yet may well be about to create the first one.
    let allowed = rights.allowed(shown.iter().cloned(), |name| Ask::accounts("create", Some(name))).await?;
    Ok((!shown.is_empty() && allowed.is_empty()).then_some("You may create accounts in none of these namespaces"))
}

#[expect(clippy::too_many_arguments, reason = "everything that a page shows comes together here")]
fn view<'a>(
    frame: &'a Frame,
    query: &'a Query,
    page: Page,
    reach: &Reach,
    shown: BTreeSet<String>,
    sight: &Sight,
    no_adding: Option<&'static str>,
    now: Timestamp,
) -> InventoryPage<'a> {
    let at = |number: usize| format!("{INVENTORY}{}", query.at_page(number).to_url());
    let whole = |query: &Query| format!("{INVENTORY}{}", query.to_url());
    let filters = [
        ("status", query.account.map(|state| state.key().to_owned())),
        ("mode", query.mode.map(|mode| format!("{mode:?}").to_lowercase())),
        ("secret", query.secret.map(|state| state.key().to_owned())),
        ("expiring", query.within_days.map(|days| days.to_string())),
    ];
    let add =
        query.namespace.as_ref().map(|namespace| format!("?namespace={}", encoded(namespace))).unwrap_or_default();
    InventoryPage {
        lines: page.rows.iter().map(|row| line(row, reach, now)).collect(),
        only_looking: page.rows.iter().any(|row| row.is_alive())
            && page.rows.iter().all(|row| reach.refusal(row).is_some()),
        no_change: reach.no_change(),
        no_deletion: reach.no_deletion(),
        headings: Column::ALL.map(|column| heading(column, query)).into(),
        unknown_namespace: query.namespace.as_ref().filter(|name| !shown.contains(*name)),
        namespaces: choices(shown.iter().map(|name| (name.clone(), name.clone())), query.namespace.as_deref()),
        statuses: choices(
            AccountState::ALL.map(|state| (state.key().to_owned(), state.title().to_owned())),
            query.account.map(AccountState::key),
        ),
        modes: choices(
            [Mode::Internal, Mode::External].map(|mode| (format!("{mode:?}").to_lowercase(), format!("{mode:?}"))),
            query.mode.map(|mode| format!("{mode:?}").to_lowercase()).as_deref(),
        ),
        secrets: choices(
            SecretState::ALL.map(|state| (state.key().to_owned(), state.title().to_owned())),
            query.secret.map(SecretState::key),
        ),
        within: choices(
            WITHIN_DAYS.map(|days| {
                (days.to_string(), if days == 1 { "Within 1 day".to_owned() } else { format!("Within {days} days") })
            }),
            query.within_days.map(|days| days.to_string()).as_deref(),
        ),
        sizes: choices(
            PAGE_SIZES.map(|size| (size.to_string(), size.to_string())),
            Some(query.size.to_string().as_str()),
        ),
        filters: filters.into_iter().filter_map(|(name, value)| Some((name, value?))).collect(),
        sort: format!("{}{}", if query.descending { "-" } else { "" }, query.sort.key()),
        here: whole(&Query { select_all: false, ..query.clone() }),
        export: format!("{INVENTORY}.csv{}", query.at_page(1).to_url()),
        select_all: whole(&Query { select_all: !query.select_all, page: page.number, ..query.clone() }),
        widened: whole(&query.widened()),
        first: at(1),
        previous: at(page.number.saturating_sub(1).max(1)),
        next: at((page.number + 1).min(page.last)),
        last: at(page.last),
        add: format!("{INVENTORY}/new{add}"),
        no_adding,
        blind: sight.is_blind(),
        limited: !shown.is_empty()
            && shown.iter().any(|name| sight.extent(name) == crate::console::rights::Extent::Own),
        frame,
        query,
        page,
    }
}

fn line(row: &Arc<Row>, reach: &Reach, now: Timestamp) -> Line {
    let when = |time: Timestamp| When::new(time, now);
    let near = |expiry: Timestamp| expiry <= now.saturating_add(chrono::TimeDelta::days(7));
    let locator = Locator { namespace: row.namespace.clone(), name: row.name.clone() };
    Line {
        href: locator.href(),
        key: format!("{}/{}/{}", row.namespace, row.name, row.uid),
        last_access: row.last_access.map(when),
        created: when(row.created),
        expiry: row.expiry.map(when),
        expiry_is_near: row.expiry.is_some_and(near),
        deleted: row.deleted.map(when),
        fixed: reach.refusal(row).map(str::to_owned),
        row: row.clone(),
    }
}

fn encoded(text: &str) -> String {
    form_urlencoded::byte_serialize(text.as_bytes()).collect()
}

fn heading(column: Column, query: &Query) -> Heading {
    let sort = match (query.sort == column, query.descending) {
        (false, _) => "none",
        (true, false) => "ascending",
        (true, true) => "descending",
    };
    Heading { column, href: format!("{INVENTORY}{}", query.sorted_by(column).to_url()), sort }
}

fn choices(all: impl IntoIterator<Item = (String, String)>, chosen: Option<&str>) -> Vec<Choice> {
    let choice = |(value, title): (String, String)| Choice { chosen: Some(value.as_str()) == chosen, value, title };
    all.into_iter().map(choice).collect()
}

/// The whole page, found, sorted, cut and rendered: what a request costs beside the asking for rights. For measurements.
#[must_use]
pub fn rendered(holdings: &Holdings, sight: &Sight, raw: &str, now: Timestamp) -> String {
    let query = Query::parse(raw);
    let page = page(holdings.find(&query, now, |row| sight.sees(row)), &query);
    let reach = Reach::everything(page.rows.iter().map(|row| row.namespace.clone()));
    let frame = Frame::of(&http::HeaderMap::new(), &http::Uri::from_static(INVENTORY));
    let shown = holdings.namespaces();
    view(&frame, &query, page, &reach, shown, sight, None, now).render().unwrap_or_default()
}
