//! The manual's eleven columns, in its order and words.

use std::cmp::Ordering;

use super::row::Row;

/// A column of the inventory.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Column {
    /// The account's name.
    #[default]
    Name,
    /// The client ID in force.
    ClientId,
    /// Its description.
    Description,
    /// Internal or External.
    Mode,
    /// When a token was last issued to it.
    LastAccess,
    /// Active, inactive or deleted.
    AccountStatus,
    /// Active, inactive or none.
    SecretStatus,
    /// Where notices go.
    Email,
    /// When it was created.
    Created,
    /// When the client secret stops working.
    SecretExpiry,
    /// Who created it.
    CreatedBy,
}

impl Column {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Name,
        Self::ClientId,
        Self::Description,
        Self::Mode,
        Self::LastAccess,
        Self::AccountStatus,
        Self::SecretStatus,
        Self::Email,
        Self::Created,
        Self::SecretExpiry,
        Self::CreatedBy,
    ];

    /// Its heading.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::Name => "Name",
            Self::ClientId => "Client ID",
            Self::Description => "Description",
            Self::Mode => "Authentication mode",
            Self::LastAccess => "Last access time",
            Self::AccountStatus => "Account status",
            Self::SecretStatus => "Client Secret Status",
            Self::Email => "Email address",
            Self::Created => "Created time",
            Self::SecretExpiry => "Client Secret Expiry",
            Self::CreatedBy => "Created by",
        }
    }

    /// Its name in the URL.
    #[must_use]
    pub fn key(self) -> &'static str {
        match self {
            Self::Name => "name",
            Self::ClientId => "client-id",
            Self::Description => "description",
            Self::Mode => "mode",
            Self::LastAccess => "last-access",
            Self::AccountStatus => "status",
            Self::SecretStatus => "secret",
            Self::Email => "email",
            Self::Created => "created",
            Self::SecretExpiry => "expiry",
            Self::CreatedBy => "created-by",
        }
    }

    /// The column of that name in the URL.
    #[must_use]
    pub fn of_key(key: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|column| column.key() == key)
    }

    /// Compares by this column alone. What is not there comes last, in either direction.
    #[must_use]
    pub fn compare(self, a: &Row, b: &Row, descending: bool) -> Ordering {
        let turn = |ordering: Ordering| if descending { ordering.reverse() } else { ordering };
        let text = |a: &str, b: &str| filled(a.is_empty(), b.is_empty()).unwrap_or_else(|| turn(a.cmp(b)));
        match self {
            Self::Name => turn(a.name.cmp(&b.name)),
            Self::ClientId => text(&a.client_id, &b.client_id),
            Self::Description => text(&a.sort_description, &b.sort_description),
            Self::Mode => turn((a.mode as u8).cmp(&(b.mode as u8))),
            Self::LastAccess => optional(a.last_access, b.last_access, turn),
            Self::AccountStatus => turn(a.account.cmp(&b.account)),
            Self::SecretStatus => turn(a.secret.cmp(&b.secret)),
            Self::Email => text(&a.email, &b.email),
            Self::Created => turn(a.created.cmp(&b.created)),
            Self::SecretExpiry => optional(a.expiry, b.expiry, turn),
            Self::CreatedBy => text(&a.created_by, &b.created_by),
        }
    }
}

fn filled(a_is_empty: bool, b_is_empty: bool) -> Option<Ordering> {
    (a_is_empty || b_is_empty).then(|| a_is_empty.cmp(&b_is_empty))
}

fn optional<T: Ord>(a: Option<T>, b: Option<T>, turn: impl Fn(Ordering) -> Ordering) -> Ordering {
    filled(a.is_none(), b.is_none()).unwrap_or_else(|| turn(a.cmp(&b)))
}
