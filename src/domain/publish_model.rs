//! Stage, publish, retire with two live controllers, crashes and a gateway that lags: every order of their steps, with
//! the rules' own `decide`, `stage` and `retire`. Time stands still, so that a grace never ends by itself.
//!
//! The order survives by three things: every write is fenced, nobody drops what a rival has staged, and the Secret is
//! read after the record. The broken variants show that the model sees what goes wrong without them.

use std::collections::BTreeSet;
use std::hash::{BuildHasher, BuildHasherDefault, DefaultHasher};
use std::sync::Arc;

use chrono::TimeDelta;
use rstest::rstest;
use stateright::{Checker, HasDiscoveries, Model, Property};

use super::credential::{State, Version};
use super::decide::decide;
use super::observed::{Observed, Published};
use super::plan::Action;
use super::record::{self, Record};
use super::simulation::{Plaintext, account, hash, hours, start};
use super::transition;

/// How credentials are published: as we do it, or as it goes wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Protocol {
    Ours,
    /// The Secret is written whatever its `resourceVersion`.
    OnlyTheRecordFenced,
    /// Who stages drops what a rival has staged.
    RivalsHashDropped,
    /// Record and Secret are read at once: the Secret that is seen can be older than the record.
    ReadAtOnce,
    /// What was staged before a publish that failed is published without another write of the record: a rival may be
    /// about to drop it.
    TriedAgainUnwritten,
    /// The gateway refuses by what its watch has seen, without a live read.
    RefusedUnread,
}

/// The bounds of what is explored.
#[derive(Clone, Debug)]
struct Publishing {
    protocol: Protocol,
    grace: TimeDelta,
    requests: i64,
    crashes: u8,
    /// How often somebody garbles the Secret.
    garblings: u8,
    /// What is the same in every look.
    sight: Observed,
}

/// The cluster, the two controllers and the gateway's memory.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Cluster {
    record: (u8, Arc<Record>),
    secret: (u8, Plaintext),
    controllers: [Controller; 2],
    requested: i64,
    crashed: u8,
    garbled: u8,
    drawn: Plaintext,
    /// What the gateway would accept by its watch.
    watched: BTreeSet<Plaintext>,
    published: BTreeSet<Plaintext>,
    /// Published, and ended by a retire.
    ended: BTreeSet<Plaintext>,
}

/// How far a controller is, and the secret in its memory that it could not publish.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
struct Controller {
    step: Step,
    unpublished: Option<(i64, Plaintext)>,
}

/// Between two writes.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
enum Step {
    /// Reads the record, then the Secret. The other way round it could take a Secret that is no more for a reason to
    /// retire, and drop what a rival has staged for the one that is.
    Looking {
        record: Option<(u8, Arc<Record>)>,
        secret: Option<(u8, Plaintext)>,
    },
    Staged {
        version: i64,
        plaintext: Plaintext,
        record: (u8, Arc<Record>),
        secret_read: u8,
    },
    Published {
        version: i64,
        record: (u8, Arc<Record>),
    },
}

const ACCEPTED: &str = "I2: the secret in the published Secret is accepted";

const IDLE: Step = Step::Looking { record: None, secret: None };

const FRESH: Controller = Controller { step: IDLE, unpublished: None };

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Move {
    ReadRecord(usize),
    ReadSecret(usize),
    Write(usize),
    Crash(usize),
    FailToPublish(usize),
    Request,
    Garble,
    Watch,
}

fn number(version: &Version) -> Plaintext {
    version.secret_hash.as_phc().parse().unwrap()
}

fn accepted(record: &Record) -> BTreeSet<Plaintext> {
    record.versions.iter().filter(|version| version.works_at(start())).map(number).collect()
}

impl Publishing {
    fn new(protocol: Protocol, grace: TimeDelta) -> Self {
        Self { protocol, grace, requests: 2, crashes: 1, garblings: 0, sight: account().observe() }
    }

    /// Whether the gateway accepts a secret: by its watch, else by the live read that precedes every refusal.
    fn accepts(&self, cluster: &Cluster, plaintext: Plaintext) -> bool {
        let live = self.protocol != Protocol::RefusedUnread && accepted(&cluster.record.1).contains(&plaintext);
        live || cluster.watched.contains(&plaintext)
    }

    fn decide(&self, record: &Record, secret: Plaintext, requested: i64) -> Action {
        let same = |version: &&Version| version.secret_hash == hash(secret);
        let holds = record.current().filter(same).or_else(|| record.versions.iter().find(same));
        let mut sight = self.sight.clone();
        sight.triggers.present.client_secret = requested;
        sight.secret = Published::Ours { holds: holds.map(|version| version.version), outdated: Vec::new() };
        sight.record = Some(record.clone());
        sight.grace = self.grace;
        decide(&sight, start()).action
    }

    /// What a controller that has looked writes; a conflict sends it back to look again.
    fn act(&self, cluster: &mut Cluster, who: usize, seen: &(u8, Arc<Record>), secret: (u8, Plaintext)) -> Step {
        let unpublished = cluster.controllers[who].unpublished;
        let unpublished = unpublished.filter(|(version, _)| seen.1.staged().any(|staged| staged.version == *version));
        match self.decide(&seen.1, secret.1, cluster.requested) {
            Action::Change(_) if let Some((version, plaintext)) = unpublished => {
                if self.protocol == Protocol::TriedAgainUnwritten {
                    return Step::Staged { version, plaintext, record: seen.clone(), secret_read: secret.0 };
                }
                if seen.0 != cluster.record.0 {
                    return IDLE;
                }
                let again = transition::stage_again(Record::clone(&seen.1), version);
                cluster.record = (cluster.record.0 + 1, Arc::new(again));
                Step::Staged { version, plaintext, record: cluster.record.clone(), secret_read: secret.0 }
            }
            Action::Change(change) if seen.0 == cluster.record.0 => {
                let mut record = Record::clone(&seen.1);
                if self.protocol == Protocol::RivalsHashDropped {
                    record.versions.retain(|version| version.state != State::Staged);
                }
                cluster.drawn += 1;
                let plaintext = cluster.drawn;
                let client_id = change.client_id.clone().unwrap_or_default();
                let super::account::Authentication::Internal(settings) = &self.sight.account.authentication else {
                    unreachable!("the model's account is Internal")
                };
                let staged = transition::stage(record, &change, client_id, hash(plaintext), settings, start());
                let version = staged.last_version;
                cluster.record = (cluster.record.0 + 1, Arc::new(staged));
                Step::Staged { version, plaintext, record: cluster.record.clone(), secret_read: secret.0 }
            }
            Action::Retire { version } => self.retire(cluster, seen, version),
            _ => IDLE,
        }
    }

    fn retire(&self, cluster: &mut Cluster, seen: &(u8, Arc<Record>), version: i64) -> Step {
        if seen.0 == cluster.record.0 {
            let published = record::Published { uid: "s".into(), resource_version: String::new() };
            let after = transition::retire(Record::clone(&seen.1), version, published, self.grace, start());
            let working = accepted(&after);
            let replaced = seen.1.current().into_iter().chain(seen.1.previous()).map(number);
            cluster.ended.extend(replaced.filter(|plaintext| !working.contains(plaintext)));
            cluster.record = (cluster.record.0 + 1, Arc::new(after));
        }
        IDLE
    }

    fn write(&self, cluster: &mut Cluster, who: usize) -> Option<Step> {
        match cluster.controllers[who].step.clone() {
            Step::Looking { record: Some(record), secret: Some(secret) } => {
                Some(self.act(cluster, who, &record, secret))
            }
            Step::Looking { .. } => None,
            Step::Staged { version, plaintext, record, secret_read } => {
                let fenced = self.protocol != Protocol::OnlyTheRecordFenced;
                if fenced && secret_read != cluster.secret.0 {
                    return Some(IDLE);
                }
                cluster.secret = (cluster.secret.0 + 1, plaintext);
                cluster.published.insert(plaintext);
                cluster.controllers[who].unpublished = None;
                Some(Step::Published { version, record })
            }
            Step::Published { version, record } => Some(self.retire(cluster, &record, version)),
        }
    }
}

impl Model for Publishing {
    type State = Cluster;
    type Action = Move;

    fn init_states(&self) -> Vec<Cluster> {
        let record = Arc::new(account().record.unwrap());
        vec![Cluster {
            watched: accepted(&record),
            record: (0, record),
            secret: (0, 1),
            controllers: [FRESH, FRESH],
            requested: 0,
            crashed: 0,
            garbled: 0,
            drawn: 1,
            published: BTreeSet::from([1]),
            ended: BTreeSet::new(),
        }]
    }

    fn actions(&self, cluster: &Cluster, moves: &mut Vec<Move>) {
        for who in 0..2 {
            moves.extend([Move::ReadRecord(who), Move::ReadSecret(who), Move::Write(who)]);
            if cluster.crashed < self.crashes && !matches!(cluster.controllers[who].step, Step::Looking { .. }) {
                moves.extend([Move::Crash(who), Move::FailToPublish(who)]);
            }
        }
        if cluster.requested < self.requests {
            moves.push(Move::Request);
        }
        if cluster.garbled < self.garblings {
            moves.push(Move::Garble);
        }
        moves.push(Move::Watch);
    }

    fn next_state(&self, before: &Cluster, action: Move) -> Option<Cluster> {
        let mut cluster = before.clone();
        match action {
            Move::ReadRecord(who) => match &mut cluster.controllers[who].step {
                Step::Looking { record: seen @ None, .. } => *seen = Some(before.record.clone()),
                _ => return None,
            },
            Move::ReadSecret(who) => match &mut cluster.controllers[who].step {
                Step::Looking { record: None, .. } if self.protocol != Protocol::ReadAtOnce => return None,
                Step::Looking { secret: seen @ None, .. } => *seen = Some(before.secret),
                _ => return None,
            },
            Move::Write(who) => cluster.controllers[who].step = self.write(&mut cluster, who)?,
            Move::Crash(who) => {
                cluster.controllers[who] = FRESH;
                cluster.crashed += 1;
            }
            Move::FailToPublish(who) => {
                let Step::Staged { version, plaintext, .. } = cluster.controllers[who].step else { return None };
                cluster.controllers[who] = Controller { step: IDLE, unpublished: Some((version, plaintext)) };
                cluster.crashed += 1;
            }
            Move::Request => cluster.requested += 1,
            Move::Garble => {
                cluster.secret = (cluster.secret.0 + 1, 0);
                cluster.garbled += 1;
            }
            Move::Watch => cluster.watched = accepted(&cluster.record.1),
        }
        // The two are alike: which of them is called the first does not matter, and half of the states are enough.
        let order = |controller: &Controller| BuildHasherDefault::<DefaultHasher>::default().hash_one(controller);
        cluster.controllers.sort_by_cached_key(order);
        Some(cluster)
    }

    fn properties(&self) -> Vec<Property<Self>> {
        vec![
            Property::<Self>::always(ACCEPTED, |model, cluster| {
                cluster.secret.1 == 0 || model.accepts(cluster, cluster.secret.1)
            }),
            Property::<Self>::always("I2: some published credential is accepted", |model, cluster| {
                cluster.published.iter().any(|plaintext| model.accepts(cluster, *plaintext))
            }),
            Property::<Self>::always("I3: a published credential is accepted until its end", |model, cluster| {
                let until_its_end = |plaintext: &Plaintext| model.accepts(cluster, *plaintext) || cluster.garbled > 0;
                cluster.published.difference(&cluster.ended).all(until_its_end)
            }),
            Property::<Self>::always(
                "I3: an ended one is refused as soon as the watch has caught up",
                |_, cluster: &Cluster| cluster.ended.is_disjoint(&accepted(&cluster.record.1)),
            ),
            Property::<Self>::always("I3: one never published stays staged", |_, cluster| {
                let beyond = cluster.record.1.versions.iter().filter(|version| version.state != State::Staged);
                beyond.map(number).all(|plaintext| cluster.published.contains(&plaintext))
            }),
            Property::<Self>::always("I4: one new credential for each request and repair", |_, cluster| {
                cluster.published.len()
                    <= 1 + usize::try_from(cluster.requested).unwrap() + usize::from(cluster.garbled)
            }),
            Property::<Self>::always("at most two live versions", |_, cluster| {
                cluster.record.1.versions.iter().filter(|version| version.state != State::Staged).count() <= 2
            }),
            Property::<Self>::sometimes("every request is answered after a crash", |model, cluster| {
                let answered = cluster.record.1.handled.client_secret == model.requests;
                answered && cluster.crashed == model.crashes && cluster.garbled == model.garblings
            }),
        ]
    }
}

#[rstest]
#[case::without_grace(TimeDelta::zero(), 2, 1, 0)]
#[case::with_grace(hours(1), 2, 1, 0)]
#[case::with_two_crashes(TimeDelta::zero(), 1, 2, 0)]
#[case::while_somebody_garbles_the_secret(TimeDelta::zero(), 1, 1, 1)]
fn two_controllers_never_publish_a_credential_that_is_refused(
    #[case] grace: TimeDelta,
    #[case] requests: i64,
    #[case] crashes: u8,
    #[case] garblings: u8,
) {
    let model = Publishing { requests, crashes, garblings, ..Publishing::new(Protocol::Ours, grace) };
    // To the end: the bounds leave finitely many states.
    let checker = model.checker().spawn_bfs().join();
    println!("{} states, depth {}", checker.unique_state_count(), checker.max_depth());
    checker.assert_properties();
}

#[rstest]
#[case(Protocol::OnlyTheRecordFenced, 0)]
#[case(Protocol::RivalsHashDropped, 0)]
#[case(Protocol::ReadAtOnce, 1)]
#[case(Protocol::TriedAgainUnwritten, 0)]
#[case(Protocol::RefusedUnread, 0)]
fn the_model_sees_a_published_credential_refused_with(#[case] protocol: Protocol, #[case] garblings: u8) {
    let model = Publishing { requests: 1, garblings, ..Publishing::new(protocol, TimeDelta::zero()) };
    let found = HasDiscoveries::AnyOf(BTreeSet::from([ACCEPTED]));
    let checker = model.checker().finish_when(found).spawn_bfs().join();
    let path = checker.discovery(ACCEPTED).unwrap();
    println!("{protocol:?}: {:?}", path.into_actions());
}
