//! What the rotation rules promise, whatever happened before. Beside the asserts below, [`super::simulation`] holds every
//! write of every history against its ledger.

use chrono::{DateTime, TimeDelta};
use proptest::collection::vec;
use proptest::option;
use proptest::prelude::*;

use super::credential::{Reason, State, Version};
use super::plan::{Action, Standing};
use super::record::{Handled, Owner, Record};
use super::simulation::{Controller, Rival, Secret, World, account, days, hash, hours, seconds};
use crate::api::service_account::{Credential, CredentialState, HandledTriggers, Rotation};
use crate::api::{self, Condition, ConditionStatus, ServiceAccountStatus, Timestamp};

/// What can happen to an account.
#[derive(Clone, Debug)]
enum Event {
    TimePasses(TimeDelta),
    Validity(i32),
    Overlap(Option<i64>),
    Rotation(Rotation),
    Grace(TimeDelta),
    AskForSecret(i64),
    AskForClientId(i64),
    Regenerate { client_id: bool, ahead: TimeDelta },
    Compromised { ahead: TimeDelta },
    WithdrawAnnotations,
    Enabled(bool),
    Template(u8),
    Endpoint(u8),
    SecretDeleted,
    SecretGarbled,
    EarlierSecretRestored(prop::sample::Index),
    SecretInTheWay(bool),
    RecordDeleted,
    StatusWiped,
}

/// Who is there to act on it.
#[derive(Clone, Copy, Debug)]
enum Presence {
    Nobody,
    Somebody(Controller),
}

fn event() -> impl Strategy<Value = Event> {
    use Event::*;
    prop_oneof![
        6 => prop_oneof![0..3600_i64, 0..172_800_i64, 0..3_456_000_i64].prop_map(|n| TimePasses(seconds(n))),
        2 => prop_oneof![1..4, 1..=365].prop_map(Validity),
        1 => option::of(1..=28_800_i64).prop_map(Overlap),
        1 => prop_oneof![Just(crate::api::service_account::Rotation::Automatic), Just(crate::api::service_account::Rotation::Manual)].prop_map(Rotation),
        2 => prop_oneof![Just(0), 0..=86_400_i64].prop_map(|n| Grace(seconds(n))),
        2 => (0..4_i64).prop_map(AskForSecret),
        2 => (0..4_i64).prop_map(AskForClientId),
        2 => (any::<bool>(), -600..600_i64).prop_map(|(client_id, n)| Regenerate { client_id, ahead: seconds(n) }),
        2 => (-600..600_i64).prop_map(|n| Compromised { ahead: seconds(n) }),
        1 => Just(WithdrawAnnotations),
        2 => any::<bool>().prop_map(Enabled),
        1 => (0..3_u8).prop_map(Template),
        1 => (0..3_u8).prop_map(Endpoint),
        1 => Just(SecretDeleted),
        1 => Just(SecretGarbled),
        1 => any::<prop::sample::Index>().prop_map(EarlierSecretRestored),
        1 => any::<bool>().prop_map(SecretInTheWay),
        1 => Just(RecordDeleted),
        1 => Just(StatusWiped),
    ]
}

fn controller() -> impl Strategy<Value = Controller> {
    let rival = (any::<bool>(), 0..6_usize).prop_map(|(after_publish, writes)| Rival { after_publish, writes });
    let writes = prop_oneof![2 => Just(usize::MAX), 1 => 0..7_usize];
    (writes, option::weighted(0.2, rival)).prop_map(|(writes, rival)| Controller { writes, rival })
}

fn presence() -> impl Strategy<Value = Presence> {
    prop_oneof![1 => Just(Presence::Nobody), 6 => controller().prop_map(Presence::Somebody)]
}

/// Up to 24 events, each with who is there.
#[derive(Clone, Debug)]
struct History(Vec<(Event, Presence)>);

fn history() -> impl Strategy<Value = History> {
    vec((event(), presence()), 0..24).prop_map(History)
}

impl History {
    /// The account as its history left it.
    fn lived(self) -> World {
        self.0.into_iter().fold(World::new(), |world, (event, presence)| world.undergoing(event, presence))
    }

    /// The same, with everything done that is to be done.
    fn settled(self) -> World {
        self.lived().settled()
    }
}

impl World {
    fn undergoing(self, event: Event, presence: Presence) -> Self {
        let time = self.now.saturating_add(if let Event::TimePasses(delta) = event { delta } else { seconds(0) });
        match presence {
            Presence::Nobody => self.edited(event).at(time),
            Presence::Somebody(mut controller) => {
                let mut world = self.edited(event);
                world.run_until(time, &mut controller);
                world
            }
        }
    }

    /// What somebody else does; nothing when only time passes.
    fn edited(mut self, event: Event) -> Self {
        match event {
            Event::TimePasses(_) => {}
            Event::Validity(days) => self.client_secret().validity_days = days,
            Event::Overlap(overlap) => self.client_secret().overlap = overlap.map(|n| format!("{n}s")),
            Event::Rotation(rotation) => self.client_secret().rotation = rotation,
            Event::Grace(grace) => self.grace = grace,
            Event::AskForSecret(value) => return self.asking_for_secret(value),
            Event::AskForClientId(value) => return self.asking_for_client_id(value),
            Event::Regenerate { client_id, ahead } => {
                let what = if client_id { "client-id" } else { "client-secret" };
                let time = self.now.saturating_add(ahead);
                return self.annotated(api::REGENERATE, format!("{what}@{time}"));
            }
            Event::Compromised { ahead } => {
                let time = self.now.saturating_add(ahead);
                return self.annotated(api::COMPROMISED, time.to_string());
            }
            Event::WithdrawAnnotations => self.object.metadata.annotations = None,
            Event::Enabled(enabled) => self.object.spec.enabled = enabled,
            Event::Template(n) => return self.labelled(&n.to_string()),
            Event::Endpoint(n) => self.endpoints.issuer = n.to_string(),
            Event::SecretDeleted => return self.with_secret(Secret::Missing),
            Event::SecretGarbled => return self.garbled(),
            Event::EarlierSecretRestored(which) => {
                let published: Vec<_> = self.ledger.published.keys().copied().collect();
                return if published.is_empty() { self } else { self.holding(*which.get(&published)) };
            }
            Event::SecretInTheWay(true) => return self.with_secret(Secret::Foreign),
            Event::SecretInTheWay(false) if self.secret == Secret::Foreign => {
                return self.with_secret(Secret::Missing);
            }
            Event::SecretInTheWay(false) => {}
            Event::RecordDeleted => return self.without_record(),
            Event::StatusWiped => return self.without_status(),
        }
        self
    }

    /// Nothing keeps it from getting a new credential.
    fn unhindered(self) -> Self {
        let unhindered = if self.secret == Secret::Foreign { self.with_secret(Secret::Missing) } else { self };
        unhindered.enabled().settled()
    }

    /// What counts, without the numbers that a crash may waste.
    fn essence(&self) -> impl PartialEq + std::fmt::Debug + use<> {
        let versions = |record: &Record| {
            let essence = |v: &Version| (v.state, v.client_id.clone(), v.reason, v.not_after, v.validity_days);
            record.versions.iter().map(essence).collect::<Vec<_>>()
        };
        let status = &self.status;
        (
            self.record.as_ref().map(versions),
            self.record.as_ref().map(|record| record.handled.clone()),
            self.ledger.published.len(),
            (status.client_id.clone(), status.client_secret_expiry_time, status.conditions.clone()),
            std::mem::discriminant(&self.secret),
        )
    }

    fn changes_at(&self, time: Timestamp) -> bool {
        let then = self.at(time);
        then.decide().action != Action::Nothing || then.notices().is_some() || then.settle() != self.status
    }
}

proptest! {
    #[test]
    fn deciding_twice_adds_nothing(history in history()) {
        let world = history.settled();
        prop_assert_eq!(world.decide().action, Action::Nothing);
        prop_assert_eq!(world.settle(), world.status.clone());
        prop_assert_eq!(world.notices(), None);
        let again = world.clone().settled();
        prop_assert_eq!(again.essence(), world.essence());
    }

    #[test]
    fn a_crash_after_any_step_converges_to_the_same_end(history in history(), event in event(), writes in 0..8_usize) {
        let world = history.settled();
        let edited = world.edited(event);
        let crashed = edited.clone().dying_after(writes).settled();
        prop_assert_eq!(crashed.essence(), edited.settled().essence());
    }

    #[test]
    fn a_rival_at_any_step_changes_nothing_but_who_does_it(
        history in history(), event in event(), after_publish in any::<bool>(), writes in 0..8_usize,
    ) {
        let world = history.settled();
        let edited = world.edited(event);
        let mut disputed = edited.clone();
        disputed.run(&mut Controller { writes: usize::MAX, rival: Some(Rival { after_publish, writes }) });
        prop_assert_eq!(disputed.essence(), edited.settled().essence());
    }

    #[test]
    fn nothing_changes_before_wake_and_something_does_at_it(history in history(), part in 0..1000_i32) {
        let world = history.settled();
        let plan = world.decide();
        let wake = plan.wake.unwrap_or_else(|| world.now.saturating_add(days(36_500)));
        prop_assert!(wake > world.now);
        let between = world.now.saturating_add((wake.at() - world.now.at()) * part / 1000);
        for time in [between, wake.saturating_add(seconds(-1))] {
            prop_assert!(!world.changes_at(time), "at {}: {:?}", time, world.at(time).decide());
        }
        let polled = matches!(plan.standing, Standing::SecretConflict { .. } | Standing::WaitingForGarbageCollection);
        prop_assert!(plan.wake.is_none() || polled || world.changes_at(wake), "nothing to do at {}", wake);
    }

    #[test]
    fn a_disabled_or_deleted_account_gets_no_new_credential(history in history(), time in 0..4_000_000_i64, deleted in any::<bool>()) {
        let world = history.lived();
        let stopped = if deleted { world.deleting() } else { world.disabled() };
        let drawn = stopped.ledger.published.len() + stopped.staged();
        let mut later = stopped;
        later.run_until(later.now.saturating_add(seconds(time)), &mut Controller::HEALTHY.clone());
        prop_assert!(later.ledger.published.len() + later.staged() <= drawn);
    }

    #[test]
    fn enabling_brings_the_same_credential_back(history in history(), minutes in 1..300_i64) {
        let world = history.settled();
        let disabled = world.unhindered().disabled().settled();
        let before = disabled.current().clone();
        let later = disabled.after(TimeDelta::minutes(minutes));
        let due = later.clone().enabled().reason().is_some();
        prop_assert!(due || later.enabled().settled().current() == &before);
    }

    #[test]
    fn a_trigger_acts_exactly_once_and_only_above_the_handled_value(
        history in history(), raise in 1..5_i64, client_id in any::<bool>(), writes in 0..8_usize,
    ) {
        let world = history.settled();
        let world = world.unhindered();
        let handled = world.record.as_ref().map(|record| record.handled.clone()).unwrap();
        let ask = |world: World, value| if client_id { world.asking_for_client_id(value) } else { world.asking_for_secret(value) };
        let top = if client_id { handled.client_id } else { handled.client_secret };
        let changes = world.ledger.published.len();
        let mut world = ask(world, top + raise).dying_after(writes).settled();
        prop_assert_eq!(world.ledger.published.len(), changes + 1);
        prop_assert_eq!(world.current().reason, if client_id { Reason::ClientIdRegenerated } else { Reason::Requested });
        for value in [0, top, top + raise - 1, top + raise] {
            world = ask(world, value).settled();
        }
        prop_assert_eq!(world.ledger.published.len(), changes + 1);
    }

    #[test]
    fn an_annotation_acts_exactly_once_five_minutes_before_its_time_at_the_earliest(
        history in history(), ahead in -3600..3600_i64, compromised in any::<bool>(), writes in 0..8_usize,
    ) {
        let world = history.settled();
        let mut world = world.edited(Event::Rotation(Rotation::Manual)).edited(Event::WithdrawAnnotations).unhindered();
        let handled = world.record.as_ref().map(|record| record.handled.clone()).unwrap();
        let time = world.now.saturating_add(seconds(ahead));
        let last = if compromised { handled.compromised_time } else { handled.regenerate_time };
        prop_assume!(Some(time) > last);
        let changes = world.ledger.published.len();
        let (key, value) = if compromised { (api::COMPROMISED, format!("{time}")) } else { (api::REGENERATE, format!("client-id@{time}")) };
        world = world.annotated(key, value).settled();
        let acted = world.ledger.published.len() - changes;
        prop_assert_eq!(acted, usize::from(ahead <= 300));
        let opening = time.saturating_add(seconds(-300)).max(world.now);
        world.run_until(opening, &mut Controller { writes, rival: None });
        world.run_until(opening.saturating_add(hours(2)), &mut Controller::HEALTHY.clone());
        prop_assert_eq!(world.ledger.published.len(), changes + 1);
    }

    #[test]
    fn an_expired_manual_secret_comes_back_by_a_trigger_only(history in history(), event in event()) {
        let world = history.settled();
        let expired = world.edited(Event::WithdrawAnnotations).unhindered().manual().settled().expiring_in(seconds(0)).settled();
        let changes = expired.ledger.published.len();
        prop_assert_eq!(expired.decide().standing, Standing::Expired);
        let harmless = !matches!(event, Event::RecordDeleted | Event::Rotation(_) | Event::TimePasses(_));
        let edited = expired.edited(event);
        let handled = edited.record.as_ref().map_or_else(Handled::default, |record| record.handled.clone());
        let triggers = edited.triggers();
        let asked = triggers.client_id(&handled) || triggers.client_secret(&handled) || triggers.compromised(&handled);
        let after = edited.settled().ledger.published.len();
        prop_assert!(!harmless || asked || after == changes);
    }

    #[test]
    fn a_wiped_status_is_rebuilt_from_the_record_and_nothing_else_happens(history in history()) {
        let world = history.settled();
        if world.record.as_ref().and_then(Record::current).is_none() {
            return Ok(());
        }
        let wiped = world.clone().without_status();
        prop_assert_eq!(wiped.decide().action, Action::Nothing);
        let since = |status: ServiceAccountStatus| (status.client_id.clone(), status.credentials.clone(), status.handled.clone());
        prop_assert_eq!(since(wiped.settle()), since(world.status));
    }

    #[test]
    fn a_lost_record_is_repaired_with_the_same_client_id_and_higher_version_numbers(
        history in history(), disabled_meanwhile in any::<bool>(), secret_too in any::<bool>(), writes in 0..4_usize,
    ) {
        let world = history.settled();
        let before = world.unhindered();
        let mut world = before.clone().without_record();
        if secret_too {
            world = world.with_secret(Secret::Missing);
        }
        if disabled_meanwhile {
            world = world.disabled().settled().enabled();
        }
        let after = world.dying_after(writes).settled();
        prop_assert_eq!(&after.current().client_id, &before.current().client_id);
        prop_assert_eq!(after.current().reason, Reason::Repaired);
        prop_assert!(after.current().version > before.current().version);
        prop_assert_eq!(after.ledger.published.len(), before.ledger.published.len() + 1);
    }

    #[test]
    fn nothing_panics_and_everything_settles_whatever_the_record_and_the_status_say(
        record in option::of(record()), status in status(), now in moment(), edits in vec(event(), 0..6), secret in secret(),
    ) {
        let mut world = edits.into_iter().fold(World::new().arbitrary(record, status), World::edited);
        world.now = now;
        world.secret = secret;
        let plan = world.decide();
        prop_assert!(plan.wake.is_none_or(|wake| wake > now));
        prop_assert!(world.settle().credentials.len() <= 2);
        world.reconcile();
        prop_assert_eq!(world.settle(), world.status.clone());
    }

    #[test]
    fn a_record_survives_its_own_json_with_the_fields_of_a_newer_binary(record in record(), field in "x[a-zA-Z]{1,8}") {
        let mut json = serde_json::to_value(&record).unwrap();
        json[&field] = serde_json::json!({"kept": [1, null]});
        for version in json["versions"].as_array_mut().unwrap() {
            version[&field] = serde_json::json!("kept");
        }
        let read = Record::parse(json.to_string().as_bytes()).unwrap();
        prop_assert_eq!(serde_json::from_str::<serde_json::Value>(&read.to_json().unwrap()).unwrap(), json);
        prop_assert_eq!(Record::parse(record.to_json().unwrap().as_bytes()).unwrap(), record);
    }

    #[test]
    fn the_client_ids_of_all_versions_are_on_the_records_labels(history in history()) {
        let world = history.lived();
        let Some(record) = world.record else { return Ok(()) };
        let labels: Vec<String> = record.labels().into_values().collect();
        for version in &record.versions {
            prop_assert!(labels.contains(&super::names::client_id_label(&version.client_id)), "{}", version.client_id);
        }
    }
}

/// Any time that can be written; most near the simulation's own.
fn time() -> impl Strategy<Value = Timestamp> {
    let any = -70_000_000_000..260_000_000_000_i64;
    prop_oneof![4 => 1_795_000_000..1_800_000_000_i64, 1 => any]
        .prop_map(|seconds| Timestamp::from(DateTime::from_timestamp(seconds, 0).unwrap_or_default()))
}

/// Any time at which people may live: not so late that every end is the end of time.
fn moment() -> impl Strategy<Value = Timestamp> {
    time().prop_map(|time| time.min(Timestamp::parse("9990-01-01T00:00:00Z").unwrap()))
}

fn reason() -> impl Strategy<Value = Reason> {
    use Reason::*;
    prop::sample::select(vec![Created, Scheduled, Requested, ClientIdRegenerated, Compromised, Repaired])
}

fn handled() -> impl Strategy<Value = Handled> {
    (any::<i64>(), 0..3_i64, option::of(time()), option::of(time())).prop_map(
        |(client_secret, client_id, regenerate_time, compromised_time)| Handled {
            client_secret,
            client_id,
            regenerate_time,
            compromised_time,
        },
    )
}

prop_compose! {
    fn version()(
        version in prop_oneof![0..4_i64, any::<i64>()],
        client in 0..3_u8,
        plaintext in 0..4_u64,
        state in prop::sample::select(vec![State::Staged, State::Current, State::Previous]),
        not_before in time(),
        not_after in time(),
        validity_days in any::<i32>(),
        reason in reason(),
        answers in option::of(handled()),
        retired_time in option::of(time()),
    ) -> Version {
        Version {
            version, client_id: format!("client-{client}"), secret_hash: hash(plaintext), state, not_before, not_after,
            validity_days, reason, answers, retired_time, retries: 0, unknown: serde_json::Map::new(),
        }
    }
}

prop_compose! {
    fn record()(
        versions in vec(version(), 0..6),
        last_version in prop_oneof![0..6_i64, any::<i64>()],
        handled in handled(),
        compromised_versions in vec(any::<i64>(), 0..3),
    ) -> Record {
        let owner = Owner { uid: "u".into(), namespace: "shop".into(), name: "exporter".into() };
        Record { versions, last_version, handled, compromised_versions, ..Record::new(owner) }
    }
}

fn secret() -> impl Strategy<Value = Secret> {
    prop_oneof![
        Just(Secret::Missing),
        Just(Secret::Foreign),
        Just(Secret::Leftover),
        (0..5_u64).prop_map(|plaintext| Secret::Ours { plaintext, fingerprint: "x".into() }),
    ]
}

prop_compose! {
    fn credential()(version in any::<i64>(), not_before in time(), not_after in time(), last_used_time in option::of(time()), reason in reason()) -> Credential {
        let (client_id, state) = (String::new(), CredentialState::Previous);
        Credential { version, client_id, state, not_before, not_after, first_used_time: None, last_used_time, reason }
    }
}

prop_compose! {
    fn status()(
        observed_generation in any::<i64>(),
        client_id in option::of("[ -~]{0,8}"),
        credentials in vec(credential(), 0..=2),
        handled in option::of(any::<i64>()),
        ready in option::of((time(), any::<bool>())),
    ) -> ServiceAccountStatus {
        let condition = |(last_transition_time, ready): (Timestamp, bool)| Condition {
            type_: "Ready".into(),
            status: if ready { ConditionStatus::True } else { ConditionStatus::Unknown },
            observed_generation,
            last_transition_time,
            reason: "Whatever".into(),
            message: String::new(),
        };
        ServiceAccountStatus {
            observed_generation,
            client_id,
            credentials,
            handled: handled.map(|client_secret| HandledTriggers { client_secret, ..HandledTriggers::default() }),
            conditions: ready.map(condition).into_iter().collect(),
            ..ServiceAccountStatus::default()
        }
    }
}

#[test]
fn a_year_of_a_daily_secret_never_runs_dry() {
    let mut world = account().valid_for(1).settled();
    world.run_until(world.now.saturating_add(days(365)), &mut Controller::HEALTHY.clone());
    // A day, less the overlap of 8 h, plus this account's jitter.
    assert!((520..=550).contains(&world.ledger.published.len()), "{}", world.ledger.published.len());
}
