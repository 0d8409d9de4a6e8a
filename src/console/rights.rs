//! What of the lists a user may see: everything, their own accounts, or nothing; cluster-wide or in a namespace.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use futures::{StreamExt, TryStreamExt, stream};

use super::authority::{Ask, Authority};
use super::inventory::Row;
use super::problem::Problem;
use super::session::Session;

/// Reviews under way at once for one page.
const AT_ONCE: usize = 16;

/// How much of a namespace a user may see.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Extent {
    /// Nothing.
    Nothing,
    /// The accounts they created: the verb `listown`.
    Own,
    /// All: the verb `list`.
    Everything,
}

/// What a user may see of some namespaces.
#[derive(Debug)]
pub struct Sight {
    user: String,
    everywhere: Extent,
    namespaces: HashMap<String, Extent>,
}

impl Sight {
    /// Put together by hand, for measurements and tests.
    #[must_use]
    pub fn of(user: &str, everywhere: Extent) -> Self {
        Self { user: user.to_owned(), everywhere, namespaces: HashMap::new() }
    }

    /// How much of a namespace.
    #[must_use]
    pub fn extent(&self, namespace: &str) -> Extent {
        self.everywhere.max(self.namespaces.get(namespace).copied().unwrap_or(Extent::Nothing))
    }

    /// Whether a row may be listed.
    #[must_use]
    pub fn sees(&self, row: &Row) -> bool {
        match self.extent(&row.namespace) {
            Extent::Everything => true,
            Extent::Own => row.created_by == self.user,
            Extent::Nothing => false,
        }
    }

    /// Whether there is any namespace of which something may be listed.
    #[must_use]
    pub fn is_blind(&self) -> bool {
        self.everywhere == Extent::Nothing && self.namespaces.values().all(|extent| *extent == Extent::Nothing)
    }
}

/// Asks on behalf of one session, and remembers for a short while.
#[derive(Clone)]
pub struct Rights {
    /// Who is asked.
    pub authority: Arc<Authority>,
    /// About whom.
    pub session: Arc<Session>,
    /// When.
    pub now: DateTime<Utc>,
}

impl Rights {
    /// Whether the user may.
    ///
    /// # Errors
    /// When the API server gives no answer.
    pub async fn may(&self, ask: Ask) -> Result<bool, Problem> {
        if let Some(allowed) = self.session.answer(&ask, self.now) {
            return Ok(allowed);
        }
        let allowed = self.authority.allows(&self.session.user, &ask).await?;
        self.session.keep(ask, allowed, self.now);
        Ok(allowed)
    }

    async fn extent(&self, namespace: Option<&str>) -> Result<Extent, Problem> {
        if self.may(Ask::accounts("list", namespace)).await? {
            return Ok(Extent::Everything);
        }
        let own = self.may(Ask::accounts("listown", namespace)).await?;
        Ok(if own { Extent::Own } else { Extent::Nothing })
    }

    /// What the user may see of these namespaces. Namespaces are asked about one by one only when the cluster-wide
    /// answer leaves something open.
    ///
    /// # Errors
    /// When the API server gives no answer.
    pub async fn sight(&self, namespaces: BTreeSet<String>) -> Result<Sight, Problem> {
        let everywhere = self.extent(None).await?;
        let user = self.session.user.name.clone();
        if everywhere == Extent::Everything {
            return Ok(Sight { user, everywhere, namespaces: HashMap::new() });
        }
        let asked = stream::iter(namespaces).map(async |namespace| {
            let extent = self.extent(Some(&namespace)).await?;
            Ok::<_, Problem>((namespace, extent))
        });
        let namespaces = asked.buffer_unordered(AT_ONCE).try_collect().await?;
        Ok(Sight { user, everywhere, namespaces })
    }

    /// Of these, those for which the user may.
    ///
    /// # Errors
    /// When the API server gives no answer.
    pub async fn allowed<T: Clone>(
        &self,
        of: impl IntoIterator<Item = T>,
        ask: impl Fn(&T) -> Ask,
    ) -> Result<Vec<T>, Problem> {
        let asks: Vec<(T, Ask)> = of.into_iter().map(|item| (item.clone(), ask(&item))).collect();
        let asked = stream::iter(asks).map(async |(item, ask)| Ok::<_, Problem>((item, self.may(ask).await?)));
        let answers: Vec<(T, bool)> = asked.buffered(AT_ONCE).try_collect().await?;
        Ok(answers.into_iter().filter(|(_, allowed)| *allowed).map(|(item, _)| item).collect())
    }
}
