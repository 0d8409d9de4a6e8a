//! The controller, killed before and after each of its writes and started again: the same end, no secret lost, and no
//! version wasted but an unpublished one.

use chrono::TimeDelta;
use keyrota::api::service_account::Reason;
use keyrota::clock::{Clock, ManualClock};
use keyrota::domain::publication;
use keyrota::domain::record::Record;
use keyrota::domain::verifier;
use kube::ResourceExt;
use kube::api::DeleteParams;
use serde_json::json;

use super::common::eventually;
use super::common::operator::{Operator, SOON, text};
use super::common::proxy::{Moment, Proxy};

/// Something that changes an account's credential or its Secret.
#[derive(Clone, Copy, Debug)]
enum Flow {
    Create,
    RegenerateSecret,
    RegenerateId,
    Compromised,
    Scheduled,
    Repair,
    Validity,
    Template,
}

impl Flow {
    /// Sets it going.
    async fn start(self, operator: &Operator, clock: &ManualClock, name: &str) {
        match self {
            Self::Create => drop(operator.create(name, spec()).await),
            Self::RegenerateSecret => {
                drop(operator.edit(name, json!({"spec": {"regenerate": {"clientSecret": 1}}})).await)
            }
            Self::RegenerateId => drop(operator.edit(name, json!({"spec": {"regenerate": {"clientId": 1}}})).await),
            Self::Compromised => {
                let time = clock.timestamp().to_string();
                drop(
                    operator.edit(name, json!({"metadata": {"annotations": {"keyrota.dev/compromised": time}}})).await,
                );
            }
            Self::Scheduled => clock.advance(TimeDelta::hours(23)),
            Self::Repair => drop(operator.secrets().delete(&secret_of(name), &DeleteParams::default()).await.unwrap()),
            Self::Validity => drop(operator.edit(name, json!({"spec": {"clientSecret": {"validityDays": 9}}})).await),
            Self::Template => {
                let template = json!({"extraData": {"tenant": "acme"}});
                drop(operator.edit(name, json!({"spec": {"clientSecret": {"template": template}}})).await);
            }
        }
    }

    /// Whether a settled record and Secret are those of its end.
    fn is_at_its_end(self, record: &Record, secret: &k8s_openapi::api::core::v1::Secret) -> bool {
        let reason = record.current().map(|current| current.reason);
        match self {
            Self::Create => reason == Some(Reason::Created),
            Self::RegenerateSecret => reason == Some(Reason::Requested),
            Self::RegenerateId => reason == Some(Reason::ClientIdRegenerated),
            Self::Compromised => reason == Some(Reason::Compromised),
            Self::Scheduled => reason == Some(Reason::Scheduled),
            Self::Repair => reason == Some(Reason::Repaired),
            Self::Validity => record.current().is_some_and(|current| current.validity_days == 9),
            Self::Template => text(secret, "tenant") == "acme",
        }
    }

    /// How many credentials have been published by then.
    fn published(self) -> usize {
        match self {
            Self::Create | Self::Validity | Self::Template => 1,
            _ => 2,
        }
    }
}

impl Flow {
    /// How many versions work then: with a grace of nothing the replaced one ends at once.
    fn kept(self) -> usize {
        match self {
            Self::Scheduled | Self::Repair => 2,
            _ => 1,
        }
    }
}

fn spec() -> serde_json::Value {
    json!({"clientSecret": {"validityDays": 1}})
}

fn secret_of(name: &str) -> String {
    format!("{name}-credentials")
}

/// Waits for the flow's end, and checks what must be true of any end.
async fn end(operator: &Operator, flow: Flow, name: &str, case: &str) -> Record {
    let account = operator.accounts().get(name).await.unwrap();
    let (record, secret) = eventually(&format!("{case}: the end"), SOON, async || {
        let record = operator.record(&account).await.filter(|record| record.staged().count() == 0)?;
        let secret = operator.secrets().get_opt(&secret_of(name)).await.unwrap()?;
        let current = record.current()?;
        let holds = secret.annotations().get(publication::VERSION) == Some(&current.version.to_string());
        let expires = text(&secret, "expires-at") == current.not_after.to_string();
        let status = operator.accounts().get(name).await.unwrap().status?;
        let shown = status.credentials.first()?;
        let reported = (shown.version, shown.not_after) == (current.version, current.not_after);
        (holds && expires && reported && flow.is_at_its_end(&record, &secret)).then_some((record, secret))
    })
    .await;
    let current = record.current().unwrap();
    assert!(
        verifier::matches(text(&secret, "client-secret").as_bytes(), &current.secret_hash),
        "{case}: another secret"
    );
    assert_eq!(text(&secret, "client-id"), current.client_id, "{case}");
    assert_eq!(record.versions.len(), flow.kept(), "{case}: the current version, and the one before while it works");
    assert!(record.last_version <= 1 + i64::try_from(flow.published()).unwrap(), "{case}: versions were wasted");
    record
}

async fn killed_at_every_write(flow: Flow) {
    let clock = ManualClock::at(keyrota::clock::SystemClock.now());
    let mut operator = Operator::prepared(std::sync::Arc::new(clock.clone())).await;
    let proxy = operator.through_a_proxy().await;
    operator.start_controller();
    let writes = undisturbed(&operator, &proxy, &clock, flow).await;
    let mut cuts = 0;
    for number in 1..=writes.len() {
        for moment in [Moment::Before, Moment::After] {
            let name = format!("w{number}-{}", format!("{moment:?}").to_lowercase());
            let case = format!("{flow:?}, killed {moment:?} write {number} of {writes:?}");
            prepare(&operator, flow, &name).await;
            proxy.cut_at(number, moment);
            flow.start(&operator, &clock, &name).await;
            // A status that says several things at once saves a write: then the end comes before the cut.
            tokio::select! {
                biased;
                () = proxy.until_cut() => cuts += 1,
                // Its end can be seen before its last write: that one is still waited for.
                () = async {
                    end(&operator, flow, &name, &case).await;
                    tokio::time::sleep(std::time::Duration::from_secs(3)).await;
                } => {}
            }
            operator.kill_controller().await;
            proxy.pass();
            operator.start_controller();
            end(&operator, flow, &name, &case).await;
            operator.accounts().delete(&name, &DeleteParams::default()).await.unwrap();
            eventually("the tombstone", SOON, async || {
                operator
                    .own_secrets()
                    .list(&kube::api::ListParams::default().fields("type=keyrota.dev/account-record"))
                    .await
                    .unwrap()
                    .items
                    .is_empty()
                    .then_some(())
            })
            .await;
        }
    }
    assert!(cuts >= 2 * (writes.len() - 1), "{flow:?}: only {cuts} cuts in {writes:?}");
}

/// The flow's writes when nothing goes wrong.
async fn undisturbed(operator: &Operator, proxy: &Proxy, clock: &ManualClock, flow: Flow) -> Vec<String> {
    // The issuer's keys and status are written when the controller starts.
    eventually("the signing keys", SOON, async || {
        operator.own_secrets().get_opt("signing-keys-default").await.unwrap().map(|_| ())
    })
    .await;
    prepare(operator, flow, "undisturbed").await;
    proxy.pass();
    flow.start(operator, clock, "undisturbed").await;
    end(operator, flow, "undisturbed", "undisturbed").await;
    let writes = proxy.writes();
    operator.accounts().delete("undisturbed", &DeleteParams::default()).await.unwrap();
    eventually("the tombstone", SOON, async || (!operator.tombstones().await.is_empty()).then_some(())).await;
    writes
}

async fn prepare(operator: &Operator, flow: Flow, name: &str) {
    if !matches!(flow, Flow::Create) {
        operator.ready(name, spec()).await;
        end(operator, Flow::Create, name, "prepared").await;
    }
}

macro_rules! flows {
    ($($name:ident: $flow:ident),* $(,)?) => {$(
        #[tokio::test(flavor = "multi_thread")]
        async fn $name() {
            killed_at_every_write(Flow::$flow).await;
        }
    )*};
}

flows! {
    a_creation_survives_a_kill_at_every_write: Create,
    a_requested_secret_survives_a_kill_at_every_write: RegenerateSecret,
    a_requested_client_id_survives_a_kill_at_every_write: RegenerateId,
    a_reported_leak_survives_a_kill_at_every_write: Compromised,
    a_scheduled_rotation_survives_a_kill_at_every_write: Scheduled,
    a_repair_survives_a_kill_at_every_write: Repair,
    an_edited_validity_survives_a_kill_at_every_write: Validity,
    an_edited_template_survives_a_kill_at_every_write: Template,
}

#[tokio::test(flavor = "multi_thread")]
async fn a_publish_that_fails_is_tried_again_with_the_staged_credential_after_another_write_of_the_record() {
    let clock = ManualClock::at(keyrota::clock::SystemClock.now());
    let mut operator = Operator::prepared(std::sync::Arc::new(clock.clone())).await;
    let proxy = operator.through_a_proxy().await;
    operator.start_controller();
    prepare(&operator, Flow::RegenerateSecret, "app").await;
    proxy.cut_at(2, Moment::Failed);
    Flow::RegenerateSecret.start(&operator, &clock, "app").await;
    let record = end(&operator, Flow::RegenerateSecret, "app", "a failed publish").await;
    assert_eq!(record.last_version, 2, "the credential of the first try was thrown away");
    let kinds = |write: &String| match write {
        write if write.contains("/secrets/record-") => "record",
        write if write.contains("/secrets/") => "Secret",
        _ => "other",
    };
    let secrets: Vec<&str> = proxy.writes().iter().map(kinds).filter(|kind| *kind != "other").collect();
    assert_eq!(secrets, ["record", "Secret", "record", "Secret", "record"]);
}
