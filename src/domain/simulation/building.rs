//! How a simulated account comes about, by saying what differs.

use chrono::TimeDelta;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::ResourceExt;

use super::{Controller, Ledger, Plaintext, Secret, World, start};
use crate::api::service_account::{ClientSecret, Regenerate, Rotation, Template};
use crate::api::{self, ServiceAccount, ServiceAccountSpec, ServiceAccountStatus};
use crate::domain::observed::Reported;
use crate::domain::publication::Endpoints;
use crate::domain::record::Record;

impl World {
    /// Just applied: no controller has seen it.
    pub fn new() -> Self {
        let mut object = ServiceAccount::new("exporter", ServiceAccountSpec::default());
        object.spec.client_secret = Some(ClientSecret::default());
        object.metadata.namespace = Some("shop".into());
        object.metadata.uid = Some("2f6c3c1a-2f0e-4b52-9c0c-6a1f4c5d7e88".into());
        object.metadata.generation = Some(1);
        object.metadata.creation_timestamp = Some(Time("2026-11-21T12:00:00Z".parse().unwrap()));
        Self {
            object,
            record: None,
            secret: Secret::Missing,
            status: ServiceAccountStatus::default(),
            grace: TimeDelta::zero(),
            endpoints: Endpoints::default(),
            now: start(),
            ledger: Ledger::default(),
            record_revision: 0,
            secret_revision: 0,
            secrets_drawn: 0,
            client_ids_drawn: 0,
        }
    }

    pub fn client_secret(&mut self) -> &mut ClientSecret {
        self.object.spec.client_secret.get_or_insert_default()
    }

    pub(super) fn regenerate(&mut self) -> &mut Regenerate {
        self.object.spec.regenerate.get_or_insert_default()
    }

    pub fn manual(mut self) -> Self {
        self.client_secret().rotation = Rotation::Manual;
        self
    }

    pub fn valid_for(mut self, days: i32) -> Self {
        self.client_secret().validity_days = days;
        self
    }

    pub fn overlapping(mut self, overlap: &str) -> Self {
        self.client_secret().overlap = Some(overlap.into());
        self
    }

    pub fn grace(mut self, grace: TimeDelta) -> Self {
        self.grace = grace;
        self
    }

    pub fn disabled(mut self) -> Self {
        self.object.spec.enabled = false;
        self
    }

    pub fn enabled(mut self) -> Self {
        self.object.spec.enabled = true;
        self
    }

    pub fn deleting(mut self) -> Self {
        self.object.metadata.deletion_timestamp = self.object.metadata.creation_timestamp.clone();
        self
    }

    pub fn asking_for_secret(mut self, value: i64) -> Self {
        self.regenerate().client_secret = value;
        self
    }

    pub fn asking_for_client_id(mut self, value: i64) -> Self {
        self.regenerate().client_id = value;
        self
    }

    pub fn annotated(mut self, key: &str, value: impl Into<String>) -> Self {
        self.object.annotations_mut().insert(key.into(), value.into());
        self
    }

    /// Leaked at the present moment.
    pub fn compromised(self) -> Self {
        let now = self.now.to_string();
        self.annotated(api::COMPROMISED, now)
    }

    pub fn labelled(mut self, value: &str) -> Self {
        let labels = [("team".to_owned(), value.to_owned())].into();
        self.client_secret().template = Some(Template { labels, ..Template::default() });
        self
    }

    /// Somebody else writes the Secret.
    pub fn with_secret(mut self, secret: Secret) -> Self {
        self.secret = secret;
        self.secret_revision += 1;
        self.ledger.intact = None;
        self.check();
        self
    }

    pub fn garbled(self) -> Self {
        self.holding(0)
    }

    /// A Secret of ours with an earlier content.
    pub fn holding(self, plaintext: Plaintext) -> Self {
        self.with_secret(Secret::Ours { plaintext, fingerprint: String::new() })
    }

    pub fn without_record(mut self) -> Self {
        self.record = None;
        self.record_revision += 1;
        self.ledger.highest = Reported::from(&self.status).version;
        self.ledger.intact = None;
        self.check();
        self
    }

    pub fn without_status(mut self) -> Self {
        self.status = ServiceAccountStatus::default();
        if self.record.is_none() {
            self.ledger.highest = 0;
        }
        self
    }

    /// A record and a status that no controller ever wrote.
    pub fn arbitrary(mut self, record: Option<Record>, status: ServiceAccountStatus) -> Self {
        self.ledger.unchecked = true;
        self.record = record;
        self.status = status;
        self
    }

    /// Time passes and nobody is there.
    pub fn after(mut self, delta: TimeDelta) -> Self {
        self.now = self.now.saturating_add(delta);
        self.check();
        self
    }

    pub fn expiring_in(self, left: TimeDelta) -> Self {
        let delta = self.current().not_after.at() - self.now.at() - left;
        self.after(delta)
    }

    pub fn settled(mut self) -> Self {
        self.reconcile();
        self
    }

    /// The controller dies after so many writes.
    pub fn dying_after(mut self, writes: usize) -> Self {
        self.run(&mut Controller { writes, rival: None });
        self
    }
}
