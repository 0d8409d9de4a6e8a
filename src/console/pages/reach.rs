//! What the user may do with the accounts on a page of the inventory, and why not.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::Arc;

use futures::{StreamExt, TryStreamExt, stream};

use crate::console::account;
use crate::console::authority::Ask;
use crate::console::inventory::Row;
use crate::console::problem::Problem;
use crate::console::rights::Rights;
use crate::console::visit::Locator;

/// Dry runs under way at once.
const AT_ONCE: usize = 16;

/// Which of some rows may be changed and deleted.
#[derive(Debug, Default)]
pub struct Reach {
    user: String,
    patch: HashSet<String>,
    delete: HashSet<String>,
    /// Namespaces in which an admission policy lets the user change their own accounts alone, and its words.
    own_alone: HashMap<String, String>,
}

impl Reach {
    /// Everything in these namespaces, for measurements and tests.
    #[must_use]
    pub fn everything(namespaces: impl IntoIterator<Item = String>) -> Self {
        let patch: HashSet<String> = namespaces.into_iter().collect();
        Self { delete: patch.clone(), patch, ..Self::default() }
    }

    /// Asks for these rows.
    ///
    /// # Errors
    /// When the API server gives no answer.
    pub async fn of(rights: &Rights, rows: &[Arc<Row>]) -> Result<Self, Problem> {
        let alive = || rows.iter().filter(|row| row.is_alive());
        let namespaces: BTreeSet<String> = alive().map(|row| row.namespace.clone()).collect();
        let allowed = |verb| {
            let namespaces = namespaces.iter().cloned();
            async move { rights.allowed(namespaces, |namespace| Ask::accounts(verb, Some(namespace))).await }
        };
        let (patch, delete, all) = futures::try_join!(allowed("patch"), allowed("delete"), allowed("manageall"))?;
        let user = rights.session.user.name.clone();
        // Of each namespace, one account of somebody else: whether the policy is there, only the API server knows.
        let others: BTreeMap<String, (Locator, String)> = alive()
            .filter(|row| row.created_by != user && patch.contains(&row.namespace) && !all.contains(&row.namespace))
            .map(|row| {
                (
                    row.namespace.clone(),
                    (Locator { namespace: row.namespace.clone(), name: row.name.clone() }, row.uid.clone()),
                )
            })
            .collect();
        let tried = stream::iter(others).map(async |(namespace, (at, uid))| {
            match account::may_change(&rights.session.client, &at, &uid).await {
                Ok(()) => Ok(None),
                // Gone or recreated since it was listed.
                Err(Problem::Refused(status)) if [404, 409].contains(&status.code) => Ok(None),
                Err(problem @ Problem::Refused(_)) => Ok(Some((namespace, problem.text()))),
                Err(problem) => Err(problem),
            }
        });
        let own_alone: Vec<Option<_>> = tried.buffer_unordered(AT_ONCE).try_collect().await?;
        let own_alone = own_alone.into_iter().flatten().collect();
        Ok(Self { user, patch: patch.into_iter().collect(), delete: delete.into_iter().collect(), own_alone })
    }

    /// Why a row cannot be ticked.
    #[must_use]
    pub fn refusal(&self, row: &Row) -> Option<&str> {
        let within = self.patch.contains(&row.namespace) || self.delete.contains(&row.namespace);
        match self.own_alone.get(&row.namespace) {
            _ if !row.is_alive() => Some("This account is deleted"),
            _ if !within => Some("You may neither change nor delete accounts in this namespace"),
            Some(words) if row.created_by != self.user => Some(words),
            _ => None,
        }
    }

    /// Why none of them can be enabled or disabled.
    #[must_use]
    pub fn no_change(&self) -> Option<&'static str> {
        self.patch.is_empty().then_some("You may not change these accounts")
    }

    /// Why none of them can be deleted.
    #[must_use]
    pub fn no_deletion(&self) -> Option<&'static str> {
        self.delete.is_empty().then_some("You may not delete these accounts")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::console::inventory::testing::account;

    fn row(namespace: &str, creator: &str) -> Row {
        let mut row = Row::of(account(namespace, "a"));
        creator.clone_into(&mut row.created_by);
        row
    }

    #[test]
    fn where_a_policy_says_so_only_ones_own_accounts_can_be_ticked() {
        let reach = Reach {
            user: "alice".into(),
            own_alone: [("shop".to_owned(), "you may change only your own".to_owned())].into(),
            ..Reach::everything(["shop".to_owned(), "bank".to_owned()])
        };
        assert_eq!(reach.refusal(&row("shop", "alice")), None);
        assert_eq!(reach.refusal(&row("shop", "bob")), Some("you may change only your own"));
        assert_eq!(reach.refusal(&row("bank", "bob")), None);
        assert!(reach.refusal(&row("elsewhere", "alice")).is_some());
    }

    #[test]
    fn what_may_be_done_to_none_of_them_is_said() {
        let reach = Reach { delete: HashSet::new(), ..Reach::everything(["shop".to_owned()]) };
        assert_eq!((reach.no_change(), reach.no_deletion()), (None, Some("You may not delete these accounts")));
    }
}
