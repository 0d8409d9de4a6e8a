//! The words that conditions and Events tell with. Programs rely on them, so they are all here, and docs/observability.md is
//! made from them; what tells of an object takes a word from here and nothing else.

use crate::api::ConditionStatus::{False, True};
use crate::api::{Condition, ConditionStatus, Timestamp};

/// A condition of one kind of object, with one reason.
#[derive(Debug, PartialEq, Eq)]
pub struct Word {
    kind: &'static str,
    type_: &'static str,
    status: ConditionStatus,
    reason: &'static str,
    meaning: &'static str,
}

impl Word {
    /// The kind of the objects that have it.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        self.kind
    }

    /// The condition's type.
    #[must_use]
    pub const fn type_(&self) -> &'static str {
        self.type_
    }

    /// The condition's status.
    #[must_use]
    pub const fn status(&self) -> ConditionStatus {
        self.status
    }

    /// The condition's reason.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        self.reason
    }

    /// What it means, for the documentation.
    #[must_use]
    pub const fn meaning(&self) -> &'static str {
        self.meaning
    }

    /// The condition as it begins at `now`.
    #[must_use]
    pub fn condition(&self, generation: i64, now: Timestamp, message: String) -> Condition {
        Condition {
            type_: self.type_.into(),
            status: self.status,
            observed_generation: generation,
            last_transition_time: now,
            reason: self.reason.into(),
            message,
        }
    }

    /// What kstatus is told besides, for the same reason.
    #[must_use]
    pub fn abnormal(&self, abnormal: Abnormal, generation: i64, now: Timestamp, message: String) -> Condition {
        Condition { type_: abnormal.type_().into(), status: True, ..self.condition(generation, now, message) }
    }
}

/// kstatus' own conditions.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Abnormal {
    /// It goes on by itself.
    Reconciling,
    /// It does not without somebody.
    Stalled,
}

impl Abnormal {
    /// The condition's type.
    #[must_use]
    pub const fn type_(self) -> &'static str {
        match self {
            Self::Reconciling => "Reconciling",
            Self::Stalled => "Stalled",
        }
    }
}

/// How loud an Event is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Tone {
    /// All is well.
    Normal,
    /// Somebody should look.
    Warning,
}

/// An Event on one kind of object.
#[derive(Debug, PartialEq, Eq)]
pub struct Happening {
    kind: &'static str,
    tone: Tone,
    reason: &'static str,
    when: &'static str,
}

impl Happening {
    /// The kind of the objects that it is told of.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        self.kind
    }

    /// The Event's type.
    #[must_use]
    pub const fn tone(&self) -> Tone {
        self.tone
    }

    /// The Event's reason.
    #[must_use]
    pub const fn reason(&self) -> &'static str {
        self.reason
    }

    /// When it is told, for the documentation.
    #[must_use]
    pub const fn when(&self) -> &'static str {
        self.when
    }
}

/// Each word as a constant, and the list of all of them.
macro_rules! words {
    ($list:ident, $type:ident, $what:literal: $($kind:literal $of:tt $second:expr => { $($name:ident $reason:literal $text:literal)* })*) => {
        $($(
            #[doc = $text]
            pub const $name: $type = words!(@$type $kind, $of, $second, $reason, $text);
        )*)*
        #[doc = $what]
        pub const $list: &[&$type] = &[$($(&$name,)*)*];
    };
    (@Word $kind:literal, $of:tt, $second:expr, $reason:literal, $text:literal) => {
        Word { kind: $kind, type_: $of, status: $second, reason: $reason, meaning: $text }
    };
    (@Happening $kind:literal, $of:tt, $second:expr, $reason:literal, $text:literal) => {
        Happening { kind: $kind, tone: $second, reason: $reason, when: $text }
    };
}

words! {
    CONDITIONS, Word, "All conditions, apart from those of kstatus.":
    "ServiceAccount" "Ready" True => {
        PUBLISHED "Published" "The credential is in the published Secret."
        REGISTERED "Registered" "An External account: its tokens are accepted."
        DISABLED "Disabled" "`spec.enabled` is false: no tokens are issued."
    }
    "ServiceAccount" "Ready" False => {
        PUBLISHING "Publishing" "The first credential is being made."
        UNTRUSTED "TrustedIssuerNotFound" "An External account whose TokenIssuer trusts nobody for it."
        READY_EXPIRED "Expired" "Rotation is Manual and the client secret has expired."
        DELETING "Deleting" "The account is being deleted."
        SECRET_CONFLICT "SecretConflict" "Somebody else's Secret has the name; it is left alone."
        WAITING "WaitingForGarbageCollection" "The Secret of an earlier account with this name is not gone yet."
        CLIENT_ID_CONFLICT "ClientIdConflict" "An older account has this `externalClientId`."
        INVALID_SPEC "InvalidSpec" "The object is older than a rule that it breaks."
        RECONCILE_FAILED "ReconcileFailed" "The API server refuses a write (a quota, a policy); tried again."
    }
    "ServiceAccount" "Expiring" True => {
        EXPIRING "ClientSecretExpiring" "A Manual secret is within its first notice period."
        ROTATION_LATE "RotationLate" "An Automatic secret should have been rotated by now."
    }
    "ServiceAccount" "Expired" True => {
        EXPIRED "ClientSecretExpired" "The client secret no longer works."
    }
    "ServiceAccount" "PreviousSecretInUse" True => {
        IN_USE "UsedAfterRotation" "The previous secret got a token after the new one was published."
        ENDS_SOON "PreviousSecretEndsSoon" "The same, and its end is near."
    }
    "ServiceAccount" "GroupsMissing" True => {
        GROUPS_MISSING "UserGroupNotFound" "A name in `spec.userGroups` is no UserGroup's."
    }
    "ServiceAccount" "NotificationFailed" True => {
        NOTICE_RETRYING "Retrying" "An expiry notice did not get through; tried again."
        NOTICE_GIVEN_UP "GivenUp" "An expiry notice did not get through and is given up."
    }
    "ServiceAccount" "RolloutRestartFailed" True => {
        WORKLOAD_MISSING "WorkloadNotFound" "There is no workload of this name."
        RESTART_REFUSED "Refused" "The API server refuses the restart."
        RESTART_FAILED "Failed" "The restart failed otherwise; tried again."
    }
    "ServiceAccount" "TriggerIgnored" True => {
        TRIGGER_IGNORED "UnusableAnnotation" "A trigger annotation cannot be read or is too far ahead."
    }
    "UserGroup" "Ready" True => {
        GROUP_SERVING "Serving" "Members get its scopes and claims."
    }
    "UserGroup" "Ready" False => {
        ISSUER_MISSING "TokenIssuerNotFound" "A name in `spec.issuers` is no TokenIssuer's."
    }
    "TokenIssuer" "Ready" True => {
        ISSUER_SERVING "Serving" "It has its keys and serves its namespaces."
    }
    "TokenIssuer" "Ready" False => {
        ISSUER_INVALID "InvalidSpec" "The spec cannot be used."
        ISSUER_CONFLICT "Conflict" "An older issuer has one of its namespaces or hosts."
        KEYS_UNAVAILABLE "KeysUnavailable" "Its keys could not be read or written; tried again."
        KEY_SECRET_CONFLICT "SecretConflict" "Somebody else's Secret has the name of `legacy.publishKeyTo`."
        KEY_NOT_PUBLISHED "KeyNotPublished" "`legacy.publishKeyTo` could not be written; tried again."
    }
    "TokenIssuer" "KeysLost" True => {
        KEYS_LOST "NewKeysMade" "Keys were gone: tokens that they signed can no longer be verified."
    }
    "TokenIssuer" "KeysDamaged" True => {
        KEYS_DAMAGED "KeysLeftOut" "Keys in the Secret cannot be read and are not used."
    }
}

words! {
    EVENTS, Happening, "All Events.":
    "ServiceAccount" "Event" Tone::Normal => {
        CREDENTIAL_CREATED "CredentialCreated" "The first credential was published."
        CREDENTIAL_ROTATED "CredentialRotated" "The next credential was published on schedule."
        SECRET_REGENERATED "ClientSecretRegenerated" "A new client secret was published on request."
        CLIENT_ID_REGENERATED "ClientIdRegenerated" "A new client ID and secret were published on request."
    }
    "ServiceAccount" "Event" Tone::Warning => {
        CREDENTIAL_COMPROMISED "CredentialCompromised" "A credential was reported as leaked and replaced."
        CREDENTIAL_REPAIRED "CredentialRepaired" "The published Secret was gone or altered: a new credential was published."
    }
    "ServiceAccount" "Event" Tone::Normal => {
        SECRET_UPDATED "SecretUpdated" "The Secret was written again around the same credential."
        EXPIRY_MOVED "ExpiryMoved" "An edit of `validityDays` moved the expiry."
        ROLLOUT_RESTARTED "RolloutRestarted" "Workloads were restarted to take up a new credential."
        SECRET_SHOWN "ClientSecretShown" "Somebody looked at the client secret in the console."
        SECRET_DOWNLOADED "ClientSecretDownloaded" "Somebody downloaded the client secret in the console."
    }
    "ServiceAccount" "Event" Tone::Warning => {
        PREVIOUS_IN_USE "PreviousSecretInUse" "The condition has become true."
        PREVIOUS_ENDS_SOON "PreviousSecretEndsSoon" "The previous secret is still used and about to end."
        ROLLOUT_RESTART_FAILED "RolloutRestartFailed" "The condition has become true."
        TRIGGERS_IGNORED "TriggerIgnored" "A trigger annotation was ignored, once for each text."
        PASS_FAILED "ReconcileFailed" "The API server refused a write, once for each message."
        NOTICE_EXPIRING "ClientSecretExpiring" "An expiry notice: 90, 60, 30, 7 and 1 days before."
        NOTICE_EXPIRED "ClientSecretExpired" "An expiry notice: one day after."
    }
    "TokenIssuer" "Event" Tone::Normal => {
        KEYS_CREATED "SigningKeysCreated" "The issuer has keys of its own."
    }
    "TokenIssuer" "Event" Tone::Warning => {
        SIGNING_KEYS_LOST "SigningKeysLost" "Keys were gone and are replaced; their tokens cannot be verified."
        KEYS_REPAIRED "SigningKeysRepaired" "The list of keys was unreadable and written anew; the keys are the same."
        KEY_REPLACED "SigningKeyReplaced" "A damaged key was replaced."
    }
    "TokenIssuer" "Event" Tone::Normal => {
        KEYS_REGENERATED "SigningKeysRegenerated" "New keys were asked for."
        KEYS_REVOKED "SigningKeysRevoked" "`keys.revokeOld` dropped the old keys at once."
        NEXT_KEY_PUBLISHED "NextSigningKeyPublished" "The next key is in the key set; it signs later."
        ALGORITHM_CHANGING "SigningAlgorithmChanging" "An edit of `oauth.algorithm` takes effect with the next key."
        OLD_KEYS_DROPPED "OldSigningKeysDropped" "Keys that nothing is signed with any more left the key set."
    }
}
