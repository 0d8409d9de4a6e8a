//! From the watches, which always run, to those who act on what they see, which is the leader's business: between two
//! terms nobody listens, and a new term begins with a look at everything.

use std::collections::HashMap;

use futures::channel::mpsc::{UnboundedReceiver, UnboundedSender, unbounded};
use kube::runtime::reflector::ObjectRef;
use parking_lot::RwLock;
use tokio::sync::{mpsc, watch};

use super::backlog::Backlog;
use crate::api::ServiceAccount;

/// What may have been deleted.
pub enum Deleted {
    /// The account with this UID.
    One(String),
    /// Anything: a list was read anew, or time has passed.
    Perhaps,
}

/// Where the watches tell what they saw.
#[derive(Default)]
pub struct Triggers {
    backlog: Backlog,
    term: RwLock<Option<Senders>>,
}

struct Senders {
    lanes: HashMap<Option<String>, UnboundedSender<ObjectRef<ServiceAccount>>>,
    everybody: watch::Sender<()>,
    issuers: watch::Sender<()>,
    membership: watch::Sender<()>,
    deleted: mpsc::UnboundedSender<Deleted>,
}

/// What a term listens to.
pub struct Inbox {
    /// Accounts to look at, for each watched namespace (or for all) in the order given.
    pub lanes: Vec<UnboundedReceiver<ObjectRef<ServiceAccount>>>,
    /// All accounts are to be looked at.
    pub everybody: watch::Receiver<()>,
    /// Issuers or their keys changed.
    pub issuers: watch::Receiver<()>,
    /// Who is in which group may have changed.
    pub membership: watch::Receiver<()>,
    /// Accounts may be gone.
    pub deleted: mpsc::UnboundedReceiver<Deleted>,
    /// For those that have to be looked at again.
    pub again: mpsc::UnboundedSender<Deleted>,
}

impl Triggers {
    /// Nobody listens yet.
    pub fn new(backlog: Backlog) -> Self {
        Self { backlog, term: RwLock::default() }
    }

    /// Where it is noted who waits.
    pub fn backlog(&self) -> &Backlog {
        &self.backlog
    }

    /// A term begins, and ends any before it.
    pub fn open(&self, namespaces: &[Option<String>]) -> Inbox {
        let (mut senders, mut receivers) = (HashMap::new(), Vec::new());
        for namespace in namespaces {
            let (sender, receiver) = unbounded();
            senders.insert(namespace.clone(), sender);
            receivers.push(receiver);
        }
        let (everybody, heard_everybody) = watch::channel(());
        let (issuers, heard_issuers) = watch::channel(());
        let (membership, heard_membership) = watch::channel(());
        let (deleted, heard_deleted) = mpsc::unbounded_channel();
        let again = deleted.clone();
        *self.term.write() = Some(Senders { lanes: senders, everybody, issuers, membership, deleted });
        Inbox {
            lanes: receivers,
            everybody: heard_everybody,
            issuers: heard_issuers,
            membership: heard_membership,
            deleted: heard_deleted,
            again,
        }
    }

    /// The term is over.
    pub fn close(&self) {
        *self.term.write() = None;
        self.backlog.end();
    }

    /// An account, or something that belongs to it, changed.
    pub fn account(&self, account: ObjectRef<ServiceAccount>) {
        self.tell(|term| {
            let lane = term.lanes.get(&account.namespace).or_else(|| term.lanes.get(&None));
            if let Some(lane) = lane {
                self.backlog.asked(&account);
                // A closed lane is one that is shutting down.
                let _ = lane.unbounded_send(account);
            }
        });
    }

    /// Something that concerns every account changed, or a list was read anew: what changed since the last one is not
    /// told object by object, and what vanished not at all.
    pub fn everybody(&self) {
        self.backlog.everybody_asked();
        self.tell(|term| term.everybody.send_replace(()));
    }

    /// An issuer or its keys changed.
    pub fn issuers(&self) {
        self.tell(|term| term.issuers.send_replace(()));
    }

    /// Who is in which group may have changed.
    pub fn membership(&self) {
        self.tell(|term| term.membership.send_replace(()));
    }

    /// An account may be gone.
    pub fn deleted(&self, what: Deleted) {
        self.tell(|term| drop(term.deleted.send(what)));
    }

    fn tell(&self, tell: impl FnOnce(&Senders)) {
        if let Some(term) = self.term.read().as_ref() {
            tell(term);
        }
    }
}
