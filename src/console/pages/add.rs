//! + Add Account.

use std::collections::BTreeSet;
use std::sync::Arc;

use askama::Template;
use axum::extract::{RawQuery, State};
use axum::response::Response;
use http::StatusCode;

use super::{html, redirect};
use crate::console::account;
use crate::console::authority::Ask;
use crate::console::faults::Faults;
use crate::console::fields::Fields;
use crate::console::form::Form;
use crate::console::frame::{Flash, Frame, Tone};
use crate::console::manifest;
use crate::console::problem::Problem;
use crate::console::rights::Extent;
use crate::console::visit::{App, Locator, Visit, is_label};

#[derive(Template)]
#[template(path = "add.html")]
struct Page<'a> {
    frame: &'a Frame,
    form: &'a Form,
    faults: &'a Faults,
    preview: Option<String>,
    /// Namespaces to choose from; another one may be typed.
    namespaces: BTreeSet<String>,
    /// Why nothing can be changed.
    locked: Option<String>,
}

/// The empty form, for the namespace that the inventory showed.
pub async fn show(State(app): State<Arc<App>>, visit: Visit, RawQuery(raw): RawQuery) -> Result<Response, Problem> {
    let query = Fields::parse(raw.as_deref().unwrap_or_default().as_bytes());
    let form = Form::blank(query.get("namespace"));
    render(&app, &visit, &form, &Faults::default(), None, StatusCode::OK).await
}

/// Creates the account, or shows what would be applied. Whatever is refused comes back as it was typed.
pub async fn submit(State(app): State<Arc<App>>, visit: Visit, fields: Fields) -> Result<Response, Problem> {
    let form = Form::typed(&fields);
    if fields.get("intent") == "preview" {
        let preview = manifest::yaml(&form.object()).map_err(|_| Problem::broken("the form makes no YAML"))?;
        return render(&app, &visit, &form, &Faults::default(), Some(preview), StatusCode::OK).await;
    }
    if !is_label(&form.namespace) {
        // It would become a part of the API server's path, so it cannot judge this one itself.
        let fault = "Enter the name of a namespace: lowercase letters, digits and hyphens, at most 63 of them.";
        return render(&app, &visit, &form, &Faults::field("namespace", fault), None, StatusCode::UNPROCESSABLE_ENTITY)
            .await;
    }
    match account::create(&visit.session.client, &form.namespace, form.object()).await {
        Ok(()) => {
            let at = Locator::new(&form.namespace, &form.name).ok_or(Problem::NotFound)?;
            visit.session.say(Flash::new(Tone::Good, format!("Created {}/{}.", form.namespace, form.name)));
            Ok(redirect(&at.href()))
        }
        Err(Problem::Refused(status)) => {
            let code = Problem::Refused(status.clone()).status();
            render(&app, &visit, &form, &Faults::of(&status), None, code).await
        }
        Err(problem) => {
            let faults = Faults::general(format!("{}. {}", problem.title(), problem.text()));
            render(&app, &visit, &form, &faults, None, problem.status()).await
        }
    }
}

async fn render(
    app: &App,
    visit: &Visit,
    form: &Form,
    faults: &Faults,
    preview: Option<String>,
    status: StatusCode,
) -> Result<Response, Problem> {
    let sight = visit.rights.sight(app.holdings.namespaces()).await?;
    let seen = app.holdings.namespaces().into_iter().filter(|name| sight.extent(name) > Extent::Nothing);
    let namespaces = visit.rights.allowed(seen, |name| Ask::accounts("create", Some(name))).await?;
    let mut form = form.clone();
    if let (true, [only]) = (form == Form::blank(""), namespaces.as_slice()) {
        form.namespace.clone_from(only);
    }
    let namespaces = namespaces.into_iter().collect();
    let mut frame = visit.frame.clone();
    frame.flashes = visit.session.take_flashes();
    Ok(html(status, &Page { frame: &frame, form: &form, faults, preview, namespaces, locked: None }))
}
