//! The cluster that the year passes in: what is done there, and what is seen.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use chrono::DateTime;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::api::events::v1::Event;
use keyrota::api::{ServiceAccount, ServiceAccountStatus, TokenIssuer};
use keyrota::clock::{Clock, ManualClock, SystemClock};
use keyrota::domain::record::{DATA_KEY, Record};
use kube::api::{DeleteParams, ListParams, Patch, PatchParams, PostParams};
use kube::core::PartialObjectMeta;
use kube::{Api, Resource};
use serde_json::{Value, json};

use super::super::common::operator::{Operator, SOON};
use super::super::common::receiver::{Receiver, TestIssuer};
use super::expected::{Act, History, What};

/// The `resourceVersion` of each object of a kind that the controller watches.
type Versions = BTreeMap<String, String>;

/// An account as it was seen last.
#[derive(Default)]
struct Known {
    record: Option<Record>,
    status: ServiceAccountStatus,
    working: BTreeSet<i64>,
}

pub(super) struct World {
    pub(super) operator: Operator,
    pub(super) seen: History,
    pub(super) steps: usize,
    pub(super) began: Instant,
    clock: ManualClock,
    receiver: Receiver,
    received: usize,
    listed: [Versions; 3],
    /// By UID.
    names: BTreeMap<String, String>,
    known: BTreeMap<String, Known>,
    _issuer: TestIssuer,
}

impl World {
    pub(super) async fn begin() -> Self {
        let began = Instant::now();
        let start = DateTime::from_timestamp(SystemClock.now().timestamp(), 0).unwrap();
        let clock = ManualClock::at(start);
        let receiver = Receiver::answering(204).await;
        let mut operator = Operator::prepared(std::sync::Arc::new(clock.clone())).await;
        operator.flags = receiver.flags();
        let notifications = json!({"webhook": receiver.url});
        let issuer = TestIssuer::with(operator.control_plane, &operator.tenant.name, notifications).await;
        operator.start_controller();
        let (names, known) = (BTreeMap::new(), BTreeMap::new());
        let (seen, steps, received, listed) = (History::new(), 0, 0, Default::default());
        Self { operator, seen, steps, began, clock, receiver, received, listed, names, known, _issuer: issuer }
    }

    pub(super) fn now(&self) -> i64 {
        self.clock.timestamp().unix()
    }

    pub(super) fn set_time(&self, time: i64) {
        self.clock.set(DateTime::from_timestamp(time, 0).unwrap());
    }

    /// To a second before `time`, when nothing may happen, and then to it.
    pub(super) async fn step_to(&mut self, time: i64) {
        if time - 1 > self.now() {
            self.set_time(time - 1);
            let early = self.settled().await;
            assert_eq!(early, self.listed, "something was written a second before {}", self.clock.now());
            assert_eq!(self.receiver.received().len(), self.received, "a notice came too soon");
        }
        self.set_time(time);
        self.look().await;
        self.steps += 1;
    }

    /// Waits until nothing is left to do and no event is on its way, and returns what there is then: no deadline has
    /// come, no pass waits or is under way, no notice either, and each watch has told of the newest object of its kind.
    async fn settled(&self) -> [Versions; 3] {
        let (now, backlog) = (self.clock.timestamp(), &self.operator.backlog);
        let settling = async {
            loop {
                if let Some(passes) = backlog.settled(now) {
                    let listed = self.listed().await;
                    let watches = ["serviceaccounts", "account records", "published secrets"];
                    let followed = watches.into_iter().zip(&listed).all(|(watch, versions)| {
                        let newest = versions.values().map(|version| version.parse::<u64>().unwrap()).max();
                        newest <= Some(backlog.followed_to(watch))
                    });
                    if followed && backlog.settled(now) == Some(passes) {
                        return listed;
                    }
                }
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        let settled = tokio::time::timeout(SOON, settling).await;
        settled.unwrap_or_else(|_| panic!("{:?} is left to do after {SOON:?}", backlog.size()))
    }

    async fn listed(&self) -> [Versions; 3] {
        let all = ListParams::default();
        let ours = ListParams::default().labels("app.kubernetes.io/managed-by=keyrota");
        let records = ListParams::default().fields("type=keyrota.dev/account-record");
        let (accounts, own, published) =
            (self.operator.accounts(), self.operator.own_secrets(), self.operator.secrets());
        let lists = tokio::try_join!(
            accounts.list_metadata(&all),
            own.list_metadata(&records),
            published.list_metadata(&ours),
        );
        let (accounts, records, published) = lists.unwrap();
        [versions(accounts.items), versions(records.items), versions(published.items)]
    }

    /// Waits until all has settled, and notes what is new.
    pub(super) async fn look(&mut self) {
        let listed = self.settled().await;
        let new = |kind: usize| {
            let changed = listed[kind].iter().filter(|(name, version)| self.listed[kind].get(*name) != Some(version));
            changed.map(|(name, _)| name.clone()).collect::<Vec<_>>()
        };
        let (accounts, records) = (new(0), new(1));
        self.listed = listed;
        for name in records {
            let secret: Secret = self.operator.own_secrets().get(&name).await.unwrap();
            let record = Record::parse(&secret.data.unwrap()[DATA_KEY].0).unwrap();
            self.note_record(record);
        }
        for name in accounts {
            let account = self.operator.accounts().get(&name).await.unwrap();
            self.note_status(&name, &account);
        }
        self.note_notices();
    }

    fn note(&mut self, name: &str, what: What) {
        self.seen.insert((self.now(), name.to_owned(), what));
    }

    fn note_record(&mut self, record: Record) {
        let (now, name) = (self.now(), record.account.name.clone());
        let before = self.known.entry(name.clone()).or_default().record.replace(record.clone());
        let before = before.as_ref();
        assert_eq!(record.staged().count(), 0, "{name} settled with something staged");
        if let Some(current) = record.current() {
            let (version, ends) = (current.version, current.not_after.unix());
            match before.and_then(Record::current).filter(|known| known.version == version) {
                None => {
                    assert_eq!(current.not_before.unix(), now, "{name}: when version {version} began");
                    self.note(&name, What::Published { version, reason: format!("{:?}", current.reason), ends });
                }
                Some(known) if known.not_after.unix() != ends => self.note(&name, What::Moved { version, ends }),
                Some(_) => {}
            }
        }
        if let Some(previous) = record.previous() {
            let known = before.and_then(Record::previous);
            if known.map(|known| (known.version, known.not_after)) != Some((previous.version, previous.not_after)) {
                let what = What::Replaced { version: previous.version, ends: previous.not_after.unix() };
                self.note(&name, what);
            }
        }
    }

    fn note_status(&mut self, name: &str, account: &ServiceAccount) {
        let status = account.status.clone().unwrap_or_default();
        let expired = status.conditions.iter().any(|condition| condition.type_ == "Expired");
        let current = status.credentials.first().map(|credential| credential.version).filter(|_| expired);
        let listed = status.credentials.iter().map(|credential| credential.version);
        let working: BTreeSet<i64> = listed.filter(|version| Some(*version) != current).collect();
        assert!(working.len() <= 2, "{name} has {working:?}");
        let known = self.known.entry(name.to_owned()).or_default();
        known.status = status;
        let before = std::mem::replace(&mut known.working, working.clone());
        for version in before.difference(&working) {
            self.note(name, What::Ended { version: *version });
        }
        self.names.insert(account.metadata.uid.clone().unwrap(), name.to_owned());
    }

    fn note_notices(&mut self) {
        let received = self.receiver.received();
        for notice in &received[self.received..] {
            assert_eq!(notice.timestamp, self.now());
            let (name, what) = self.notice(&notice.id);
            self.note(&name, what);
        }
        self.received = received.len();
    }

    /// What a notice's name says: `notice-<uid>-<version>-<threshold>`.
    fn notice(&self, id: &str) -> (String, What) {
        let (uid, rest) = id.strip_prefix("notice-").unwrap().split_at(36);
        let (version, threshold) = rest[1..].split_once('-').unwrap();
        let what = What::Notice { version: version.parse().unwrap(), threshold: threshold.parse().unwrap() };
        (self.names[uid].clone(), what)
    }

    /// When the status says that it will be rotated, and when its current version ends.
    pub(super) fn next_rotation(&self, name: &str) -> (i64, i64) {
        let status = &self.known[name].status;
        (status.next_rotation_time.unwrap().unix(), status.client_secret_expiry_time.unwrap().unix())
    }

    pub(super) fn rotates(&self, name: &str) -> bool {
        self.known[name].status.next_rotation_time.is_some()
    }

    /// Each notice came as an Event, too, at the same time.
    pub(super) async fn every_notice_was_an_event(&self, expected: &History) {
        let api: Api<Event> = Api::namespaced(self.operator.client.clone(), &self.operator.tenant.name);
        let about =
            |event: &Event| matches!(event.reason.as_deref(), Some("ClientSecretExpiring" | "ClientSecretExpired"));
        let events = api.list(&ListParams::default()).await.unwrap().items.into_iter().filter(about);
        let time = |event: &Event| event.event_time.as_ref().unwrap().0.as_second();
        let mut told: Vec<_> = events.map(|event| (time(&event), event.regarding.unwrap().name.unwrap())).collect();
        let notices = expected.iter().filter(|(.., what)| matches!(what, What::Notice { .. }));
        let mut wanted: Vec<_> = notices.map(|(time, name, _)| (*time, name.clone())).collect();
        told.sort();
        wanted.sort();
        assert_eq!(told, wanted);
    }

    pub(super) async fn act(&self, name: &str, spec: &Value, act: Act) {
        let operator = &self.operator;
        let regenerate = async |what: &str| {
            let account = operator.accounts().get(name).await.unwrap();
            let before = serde_json::to_value(account.spec.regenerate).unwrap()[what].as_i64().unwrap_or(0);
            operator.edit(name, json!({"spec": {"regenerate": {what: before + 1}}})).await;
        };
        match act {
            Act::Create => drop(operator.create(name, spec.clone()).await),
            Act::RegenerateSecret => regenerate("clientSecret").await,
            Act::RegenerateId => regenerate("clientId").await,
            Act::ReportLeak => {
                let time = self.clock.timestamp().to_string();
                let annotations = json!({"metadata": {"annotations": {"keyrota.dev/compromised": time}}});
                operator.edit(name, annotations).await;
            }
            Act::DeleteSecret => self.delete_secret(name).await,
            Act::SetValidity(days) => {
                operator.edit(name, json!({"spec": {"clientSecret": {"validityDays": days}}})).await;
            }
            Act::Enable(enabled) => drop(operator.edit(name, json!({"spec": {"enabled": enabled}})).await),
            Act::SetGrace(_) => panic!("a grace is the issuer's"),
        }
    }

    /// The deletion leaves no object whose event could be waited for; a Secret of nobody's that is written after it does.
    async fn delete_secret(&self, name: &str) {
        let secrets = self.operator.secrets();
        secrets.delete(&format!("{name}-credentials"), &DeleteParams::default()).await.unwrap();
        let mark = json!({"metadata": {
            "generateName": "mark-", "labels": {"app.kubernetes.io/managed-by": "keyrota"},
        }});
        secrets.create(&PostParams::default(), &serde_json::from_value(mark).unwrap()).await.unwrap();
    }

    pub(super) async fn set_grace(&self, act: Act) {
        let Act::SetGrace(seconds) = act else { panic!("{act:?} is an account's") };
        let issuers: Api<TokenIssuer> = Api::all(self.operator.client.clone());
        let patch = Patch::Merge(json!({"spec": {"gracePeriod": format!("{seconds}s")}}));
        let name = &self.operator.tenant.name;
        let edited = issuers.patch(name, &PatchParams::default(), &patch).await.unwrap();
        let version: u64 = edited.metadata.resource_version.unwrap().parse().unwrap();
        let told = async {
            while self.operator.backlog.followed_to("tokenissuers") < version {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::time::timeout(SOON, told).await.expect("the controller hears of the issuer's edit");
    }
}

fn versions<K>(items: Vec<PartialObjectMeta<K>>) -> Versions
where
    PartialObjectMeta<K>: Resource,
{
    let version =
        |object: PartialObjectMeta<K>| (object.metadata.name.unwrap(), object.metadata.resource_version.unwrap());
    items.into_iter().map(version).collect()
}
