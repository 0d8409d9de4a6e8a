//! The page of one account: its credential, its settings, its history.

use askama::Template;
use axum::response::Response;
use http::StatusCode;
use kube::ResourceExt;
use secrecy::ExposeSecret;

use super::{html, redirect};
use crate::api::service_account::{ClientSecretStatus, Mode};
use crate::api::{ConditionStatus, ServiceAccount, Timestamp};
use crate::console::account;
use crate::console::authority::Ask;
use crate::console::credential::{self, Credential};
use crate::console::faults::Faults;
use crate::console::fields::Fields;
use crate::console::form::Form;
use crate::console::frame::{Flash, Frame, Tone};
use crate::console::keeper::{self, Keeper};
use crate::console::manifest;
use crate::console::problem::Problem;
use crate::console::rights::Extent;
use crate::console::timeline::{self, Drawing};
use crate::console::visit::{Locator, Visit};
use crate::console::words::When;
use crate::domain::trigger;

/// Tries again when the status was written between reading and writing.
const TRIES: usize = 3;

/// Something to mind above the form.
pub struct Trouble {
    /// How bad.
    pub tone: Tone,
    /// The condition's type in words.
    pub title: &'static str,
    /// The condition's message.
    pub text: String,
}

/// What can be done with the credential, and why not.
pub struct Means {
    /// Why nothing of the account can be changed, in the API server's words.
    pub locked: Option<String>,
    /// Why it cannot be deleted, likewise.
    pub kept: Option<String>,
    /// Why the secret cannot be shown.
    pub hidden: Option<String>,
}

#[derive(Template)]
#[template(path = "manage.html")]
struct Page<'a> {
    frame: &'a Frame,
    href: String,
    key: String,
    namespace: &'a str,
    name: &'a str,
    enabled: bool,
    external: bool,
    deleting: bool,
    waiting: Option<&'static str>,
    keeper: Option<Keeper>,
    troubles: Vec<Trouble>,
    form: &'a Form,
    faults: &'a Faults,
    preview: Option<String>,
    means: Means,
    /// Same as `means.locked`, for the parts that the add page shares.
    locked: Option<String>,
    client_id: String,
    secret: Option<&'a str>,
    secret_state: &'static str,
    expiry: Option<When>,
    rotation: Option<When>,
    last_access: Option<When>,
    created: When,
    created_by: String,
    issuer: String,
    published: String,
    /// Where client ID and client secret are in it, as JSONPath.
    paths: [String; 2],
    drawing: Option<Drawing>,
    width: i64,
    groups: usize,
}

/// What the page shows besides the account itself.
#[derive(Default)]
pub struct Shown<'a> {
    /// The form, when it is not the account's own.
    pub form: Option<Form>,
    /// What is wrong with it.
    pub faults: Faults,
    /// The manifest that it makes.
    pub preview: Option<String>,
    /// The credential, for this once.
    pub credential: Option<&'a Credential>,
    /// The status, when it is not 200.
    pub status: StatusCode,
}

/// The account's page.
pub async fn show(visit: Visit, at: Locator) -> Result<Response, Problem> {
    let object = read(&visit, &at).await?;
    render(&visit, &at, &object, Shown::default()).await
}

/// Reads the account as the user; one that the inventory would not list to a holder of `listown` is not found here.
pub async fn read(visit: &Visit, at: &Locator) -> Result<ServiceAccount, Problem> {
    let object = account::get(&visit.session.client, at).await?;
    let sight = visit.rights.sight([at.namespace.clone()].into()).await?;
    let row = crate::console::inventory::Row::of(object.clone());
    if sight.extent(&at.namespace) == Extent::Own && !sight.sees(&row) {
        return Err(Problem::NotFound);
    }
    Ok(object)
}

/// Update, or a preview of it.
pub async fn submit(visit: Visit, at: Locator, fields: Fields) -> Result<Response, Problem> {
    let preview = fields.get("intent") == "preview";
    for _ in 0..TRIES {
        let object = read(&visit, &at).await?;
        let form = Form::edited(&fields, &object);
        let change = form.change(&object);
        if preview {
            let text = manifest::yaml(&manifest::changed(&object, &change))
                .map_err(|_| Problem::broken("the form makes no YAML"))?;
            let shown = Shown { form: Some(form), preview: Some(text), ..Shown::default() };
            return render(&visit, &at, &object, shown).await;
        }
        if change.is_empty() {
            visit.session.say(Flash::new(Tone::Info, "Nothing to update: the form is as the account is."));
            return Ok(redirect(&at.href()));
        }
        if form.generation != object.metadata.generation.unwrap_or_default() {
            return overtaken(&visit, &at, &object, form).await;
        }
        match account::change_spec(&visit.session.client, &object, change).await {
            Ok(()) => {
                visit.session.say(Flash::new(Tone::Good, format!("Updated {}/{}.", at.namespace, at.name)));
                return Ok(redirect(&at.href()));
            }
            // A status that was written meanwhile: the form is still of the same generation.
            Err(Problem::Refused(status)) if status.code == 409 => {}
            Err(Problem::Refused(status)) => {
                let shown = Shown {
                    form: Some(form),
                    faults: Faults::of(&status),
                    status: Problem::Refused(status).status(),
                    ..Shown::default()
                };
                return render(&visit, &at, &object, shown).await;
            }
            Err(problem) => {
                let faults = Faults::general(format!("{}. {}", problem.title(), problem.text()));
                let shown = Shown { form: Some(form), faults, status: problem.status(), ..Shown::default() };
                return render(&visit, &at, &object, shown).await;
            }
        }
    }
    Err(Problem::Unreachable)
}

/// Somebody else changed the account since the form was shown: what was typed stays, and counts against the new state.
async fn overtaken(visit: &Visit, at: &Locator, object: &ServiceAccount, form: Form) -> Result<Response, Problem> {
    let generation = object.metadata.generation.unwrap_or_default();
    let faults = Faults::general(
        "The account was changed by somebody else since this form was opened. Your entries are still here: \
         look at them once more, then update again to put them over the change.",
    );
    let form = Form { generation, ..form };
    let shown = Shown { form: Some(form), faults, status: StatusCode::CONFLICT, ..Shown::default() };
    render(visit, at, object, shown).await
}

/// What the user may do here.
async fn means(visit: &Visit, at: &Locator, object: &ServiceAccount) -> Result<Means, Problem> {
    let (published, uid) = (account::published(object), object.uid().unwrap_or_default());
    let client = &visit.session.client;
    let (locked, kept, read, write) = futures::try_join!(
        async { Ok(account::may_change(client, at, &uid).await.err()) },
        async { Ok(account::may_delete(client, at, &uid).await.err()) },
        visit.rights.may(Ask::secret(&at.namespace, &published)),
        visit.rights.may(Ask::event(&at.namespace)),
    )?;
    let hidden = match (object.spec.authentication.mode, read, write) {
        (Mode::External, ..) => Some("An External account has no secret.".to_owned()),
        (_, false, _) => Some(format!("You may not read the Secret {published}.")),
        (_, _, false) => Some("You may not write Events here, and no look goes unrecorded.".to_owned()),
        (_, true, true) if object.status.as_ref().is_none_or(|status| status.credentials.is_empty()) => {
            Some("There is no secret yet.".to_owned())
        }
        (_, true, true) => None,
    };
    Ok(Means { locked: locked.map(|problem| problem.text()), kept: kept.map(|problem| problem.text()), hidden })
}

/// The page with whatever is to be shown on it.
pub async fn render(
    visit: &Visit,
    at: &Locator,
    object: &ServiceAccount,
    shown: Shown<'_>,
) -> Result<Response, Problem> {
    let means = means(visit, at, object).await?;
    let mut frame = visit.frame.clone();
    if !frame.partial {
        frame.flashes = visit.session.take_flashes();
    }
    let now = Timestamp::from(visit.now);
    let when = |time: Timestamp| When::new(time, now);
    let Shown { form, faults, preview, credential, status } = shown;
    let form = form.unwrap_or_else(|| Form::of(object));
    let told = object.status.clone().unwrap_or_default();
    let row = crate::console::inventory::Row::of(object.clone());
    let page = Page {
        href: at.href(),
        key: format!("{}/{}/{}", at.namespace, at.name, row.uid),
        namespace: &at.namespace,
        name: &at.name,
        enabled: object.spec.enabled,
        external: object.spec.authentication.mode == Mode::External,
        deleting: object.metadata.deletion_timestamp.is_some(),
        waiting: account::waiting(object),
        keeper: keeper::of(object),
        troubles: troubles(object),
        locked: means.locked.clone(),
        client_id: credential.map_or(row.client_id, |credential| credential.client_id.clone()),
        secret: credential.map(|credential| credential.client_secret.expose_secret()),
        secret_state: match told.client_secret_status {
            Some(ClientSecretStatus::Active) => "Active",
            Some(ClientSecretStatus::None) => "None",
            Some(ClientSecretStatus::Inactive) | None => "Inactive",
        },
        expiry: told.client_secret_expiry_time.map(when),
        rotation: told.next_rotation_time.map(when),
        last_access: told.last_access_time.map(when),
        created: when(row.created),
        created_by: row.created_by,
        issuer: told.issuer.clone().unwrap_or_default(),
        published: account::published(object),
        paths: credential::paths(object),
        drawing: timeline::draw(&told, now),
        width: timeline::WIDTH,
        groups: object.spec.user_groups.len(),
        frame: &frame,
        form: &form,
        faults: &faults,
        preview,
        means,
    };
    Ok(html(status, &page))
}

/// Conditions that people should know of, the worst first.
fn troubles(object: &ServiceAccount) -> Vec<Trouble> {
    let known = [
        ("Expired", Tone::Bad, "The client secret has expired"),
        ("Expiring", Tone::Warning, "The client secret expires soon"),
        (trigger::CONDITION, Tone::Warning, "A request on this account is ignored"),
        ("RolloutRestartFailed", Tone::Warning, "A workload could not be restarted"),
        ("NotificationFailed", Tone::Warning, "A notice did not get through"),
        ("GroupsMissing", Tone::Warning, "A user group is missing"),
        ("PreviousSecretInUse", Tone::Info, "The previous secret is still in use"),
    ];
    let ready = account::condition(object, "Ready").filter(|ready| ready.status == ConditionStatus::False);
    let not_ready =
        ready.map(|ready| Trouble { tone: Tone::Bad, title: "The account is not ready", text: ready.message.clone() });
    let others = known.into_iter().filter_map(|(type_, tone, title)| {
        let condition = account::condition(object, type_).filter(|c| c.status == ConditionStatus::True)?;
        Some(Trouble { tone, title, text: condition.message.clone() })
    });
    not_ready.into_iter().chain(others).collect()
}

/// The name of an account as it stands in messages.
#[must_use]
pub fn called(object: &ServiceAccount) -> String {
    format!("{}/{}", object.namespace().unwrap_or_default(), object.name_any())
}
