//! One line of the inventory, from an account or from the tombstone of a deleted one.

use k8s_openapi::api::core::v1::ConfigMap;

use crate::api::service_account::{AccountStatus, ClientSecretStatus, Mode};
use crate::api::{self, ServiceAccount, ServiceAccountSpec, ServiceAccountStatus, Timestamp};
use crate::domain::account::created;

/// The manual's account status.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum AccountState {
    /// Tokens are issued.
    Active,
    /// Disabled.
    Inactive,
    /// Gone; its tombstone is left.
    Deleted,
}

impl AccountState {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Active, Self::Inactive, Self::Deleted];

    /// As it is shown.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::Active => "Active",
            Self::Inactive => "Inactive",
            Self::Deleted => "Deleted",
        }
    }

    /// As it stands in the URL.
    #[must_use]
    pub fn key(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Inactive => "inactive",
            Self::Deleted => "deleted",
        }
    }
}

/// The manual's client secret status, and what an account has that never has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SecretState {
    /// The current secret works.
    Active,
    /// It has expired, the account is disabled, or there is none yet.
    Inactive,
    /// An External or a deleted account.
    None,
}

impl SecretState {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Active, Self::Inactive, Self::None];

    /// As it is shown.
    #[must_use]
    pub fn title(self) -> &'static str {
        match self {
            Self::Active => "Active",
            Self::Inactive => "Inactive",
            Self::None => "None",
        }
    }

    /// As it stands in the URL.
    #[must_use]
    pub fn key(self) -> &'static str {
        match self {
            Self::Active => "active",
            Self::Inactive => "inactive",
            Self::None => "none",
        }
    }
}

/// One line of the inventory.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// `metadata.uid`.
    pub uid: String,
    /// Where it is, or was.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// The client ID in force; empty before there is one.
    pub client_id: String,
    /// What it is for.
    pub description: String,
    /// How it proves who it is.
    pub mode: Mode,
    /// When a token was last issued to it.
    pub last_access: Option<Timestamp>,
    /// Whether tokens are issued.
    pub account: AccountState,
    /// Whether its secret works.
    pub secret: SecretState,
    /// Where notices go.
    pub email: String,
    /// When it was created.
    pub created: Timestamp,
    /// When the current secret stops working.
    pub expiry: Option<Timestamp>,
    /// Who created it; `unknown` where no admission policy saw it.
    pub created_by: String,
    /// When it was deleted, if it was.
    pub deleted: Option<Timestamp>,
    /// The description as it is sorted.
    pub(super) sort_description: String,
    /// What a search looks in, in lower case.
    pub(super) searched: String,
}

/// Shown for a creator that nobody knows.
const UNKNOWN: &str = "unknown";

impl Row {
    /// The line of an account that is there.
    #[must_use]
    pub fn of(object: ServiceAccount) -> Self {
        let ServiceAccount { metadata, spec, status } = object;
        let created = created(&metadata);
        let ServiceAccountSpec { description, enabled, authentication, contact, .. } = spec;
        let ServiceAccountStatus {
            client_id,
            account_status,
            client_secret_status,
            client_secret_expiry_time,
            last_access_time,
            created_by,
            ..
        } = status.unwrap_or_default();
        // The annotation is what the admission policy vouches for; the status follows it.
        let creator = metadata.annotations.and_then(|mut all| all.remove(api::CREATED_BY)).or(created_by);
        let active = match account_status {
            Some(status) => status == AccountStatus::Active,
            None => enabled,
        };
        let row = Self {
            uid: metadata.uid.unwrap_or_default(),
            namespace: metadata.namespace.unwrap_or_default(),
            name: metadata.name.unwrap_or_default(),
            client_id: client_id.or(authentication.external_client_id).unwrap_or_default(),
            description: description.unwrap_or_default(),
            mode: authentication.mode,
            last_access: last_access_time,
            account: if active { AccountState::Active } else { AccountState::Inactive },
            secret: match (authentication.mode, client_secret_status) {
                (Mode::External, _) | (_, Some(ClientSecretStatus::None)) => SecretState::None,
                (_, Some(ClientSecretStatus::Active)) => SecretState::Active,
                (_, Some(ClientSecretStatus::Inactive) | None) => SecretState::Inactive,
            },
            email: contact.and_then(|contact| contact.email).unwrap_or_default(),
            created,
            expiry: client_secret_expiry_time,
            created_by: creator.unwrap_or_else(|| UNKNOWN.to_owned()),
            deleted: None,
            sort_description: String::new(),
            searched: String::new(),
        };
        row.prepared()
    }

    /// The line of a deleted account; none when the ConfigMap is no tombstone that can be read.
    #[must_use]
    pub fn of_tombstone(tombstone: ConfigMap) -> Option<Self> {
        let mut data = tombstone.data?;
        let mut take = |key: &str| data.remove(key).filter(|value| !value.is_empty());
        let row = Self {
            uid: take("uid")?,
            namespace: take("namespace")?,
            name: take("name")?,
            client_id: take("clientId").unwrap_or_default(),
            description: String::new(),
            mode: if take("authenticationMode")? == "External" { Mode::External } else { Mode::Internal },
            last_access: None,
            account: AccountState::Deleted,
            secret: SecretState::None,
            email: String::new(),
            created: take("createdTime")
                .and_then(|time| Timestamp::parse(&time).ok())
                .unwrap_or_else(|| created(&tombstone.metadata)),
            expiry: None,
            created_by: take("createdBy").unwrap_or_else(|| UNKNOWN.to_owned()),
            deleted: take("deletedTime").and_then(|time| Timestamp::parse(&time).ok()),
            sort_description: String::new(),
            searched: String::new(),
        };
        Some(row.prepared())
    }

    /// Lower case once, not for every search.
    fn prepared(mut self) -> Self {
        let Self { name, client_id, description, email, created_by, .. } = &self;
        // A separator that nobody types: no match may reach from one field into the next.
        let searched = [name, client_id, description, email, created_by].map(|text| text.to_lowercase()).join("\n");
        self.sort_description = description.to_lowercase();
        self.searched = searched;
        self
    }

    /// The mode as it is shown.
    #[must_use]
    pub fn mode_title(&self) -> &'static str {
        match self.mode {
            Mode::Internal => "Internal",
            Mode::External => "External",
        }
    }

    /// Whether it can be worked with: opened, ticked, changed.
    #[must_use]
    pub fn is_alive(&self) -> bool {
        self.account != AccountState::Deleted
    }
}
