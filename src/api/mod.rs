//! Wire types of the cluster: what `kubectl apply` sends and `kubectl get -o yaml` shows. Data only;
//! their meaning is in [`crate::domain`].

pub mod condition;
pub mod service_account;
mod shape;
pub mod time;
pub mod token_issuer;
pub mod user_group;

pub use condition::{Condition, ConditionStatus};
pub use service_account::{ServiceAccount, ServiceAccountSpec, ServiceAccountStatus};
pub use time::Timestamp;
pub use token_issuer::{Algorithm, TokenIssuer, TokenIssuerSpec, TokenIssuerStatus};
pub use user_group::{UserGroup, UserGroupSpec, UserGroupStatus};

/// The API group of every kind here.
pub const GROUP: &str = "keyrota.dev";

/// The prefix of every label and annotation that is ours; users may not set labels or annotations
/// of the published Secret below it.
pub const PREFIX: &str = "keyrota.dev/";

/// `metadata.annotations`: who created the account (stamped by an admission policy).
pub const CREATED_BY: &str = "keyrota.dev/created-by";

/// `metadata.annotations`: the imperative trigger, `client-secret@<RFC 3339>` or `client-id@<RFC 3339>`.
pub const REGENERATE: &str = "keyrota.dev/regenerate";

/// `metadata.annotations`: the secret leaked at this RFC 3339 time; regenerate with zero grace.
pub const COMPROMISED: &str = "keyrota.dev/compromised";

/// Label, `true`, of a `kubernetes.io/tls` Secret in the operator namespace whose certificate the gateway serves for the
/// hosts that it names.
pub const HOST_CERTIFICATE: &str = "keyrota.dev/host-certificate";

/// Label of every Secret that we publish.
pub const MANAGED_BY: &str = "app.kubernetes.io/managed-by";

/// Value of [`MANAGED_BY`] on everything that is ours.
pub const MANAGER: &str = "keyrota";

/// `type` of a published Secret.
pub const TYPE_CREDENTIALS: &str = "keyrota.dev/client-credentials";

/// `type` of an account record in the operator namespace.
pub const TYPE_RECORD: &str = "keyrota.dev/account-record";

/// `type` of a Secret in the operator namespace that holds a token issuer's signing keys.
pub const TYPE_SIGNING_KEYS: &str = "keyrota.dev/signing-keys";
