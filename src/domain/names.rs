//! Names that are derived from other names, each in one place.

use aws_lc_rs::digest;

/// Label of a record: the UID of its account.
pub const LABEL_UID: &str = "keyrota.dev/account-uid";
/// Label of a record: [`client_id_label`] of the client ID in force.
pub const LABEL_CLIENT_ID: &str = "keyrota.dev/client-id";
/// Label of a record: [`client_id_label`] of the client ID that is staged, when it is another one.
pub const LABEL_STAGED_CLIENT_ID: &str = "keyrota.dev/staged-client-id";
/// Label of a record: [`client_id_label`] of the previous client ID, when it is another one.
pub const LABEL_PREVIOUS_CLIENT_ID: &str = "keyrota.dev/previous-client-id";
/// Label of a record and of a tombstone: the account's namespace.
pub const LABEL_NAMESPACE: &str = "keyrota.dev/account-namespace";
/// Label of a record and of a tombstone: [`name_hash`] of the account's name, which can be longer than a label.
pub const LABEL_NAME_HASH: &str = "keyrota.dev/account-name-hash";
/// Label of a Secret with signing keys: the token issuer's name.
pub const LABEL_ISSUER: &str = "keyrota.dev/issuer";
/// Label of a tombstone ConfigMap, value `true`.
pub const LABEL_TOMBSTONE: &str = "keyrota.dev/tombstone";

/// Label of a gateway's usage report, value `true`.
pub const LABEL_USAGE: &str = "keyrota.dev/usage-report";
/// The key of a usage report's text in its ConfigMap.
pub const USAGE_KEY: &str = "uses";

/// The issuer that serves every namespace that no other lists.
pub const DEFAULT_ISSUER: &str = "default";

/// The Secret in the operator namespace that holds an account's record.
#[must_use]
pub fn record(uid: &str) -> String {
    format!("record-{uid}")
}

/// The ConfigMap in the operator namespace that remembers a deleted account.
#[must_use]
pub fn tombstone(uid: &str) -> String {
    format!("deleted-{uid}")
}

/// The published Secret of an account that names none itself.
#[must_use]
pub fn default_secret(account: &str) -> String {
    format!("{account}-credentials")
}

/// The Secret in the operator namespace that holds an issuer's signing keys.
#[must_use]
pub fn signing_keys(issuer: &str) -> String {
    format!("signing-keys-{issuer}")
}

/// The ConfigMap in the operator namespace with a gateway's usage report.
#[must_use]
pub fn usage_report(gateway: &str) -> String {
    format!("usage-{gateway}")
}

/// A client ID as a label value: a UUID as it is, anything else hashed. External client IDs do not fit a label, and
/// what people paste into a client-ID field must not reach the API server's audit log.
#[must_use]
pub fn client_id_label(client_id: &str) -> String {
    match uuid::Uuid::try_parse(client_id) {
        Ok(uuid) if uuid.hyphenated().to_string() == client_id => client_id.into(),
        _ => format!("h-{}", short_hash(client_id)),
    }
}

/// A label value that stands for a name of any length.
#[must_use]
pub fn name_hash(name: &str) -> String {
    short_hash(name)
}

/// 160 bits of SHA-256 in hexadecimal: fits a label (63), and no collision can be found.
fn short_hash(text: &str) -> String {
    let digest = digest::digest(&digest::SHA256, text.as_bytes());
    digest.as_ref().iter().take(20).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_generated_client_id_is_its_own_label() {
        let id = "97074e41-8af9-456d-9a64-f0c4bb908048";
        assert_eq!(client_id_label(id), id);
    }

    #[test]
    fn a_foreign_client_id_becomes_a_label_that_fits_and_hides_it() {
        let label = client_id_label("system:serviceaccount:shop:exporter");
        assert!(label.len() <= 63 && !label.contains("exporter"), "{label}");
        assert_ne!(
            client_id_label("97074E41-8AF9-456D-9A64-F0C4BB908048"),
            client_id_label("97074e41-8af9-456d-9a64-f0c4bb908048")
        );
    }

    #[test]
    fn the_longest_account_name_still_has_a_secret_name() {
        assert!(default_secret(&"a".repeat(241)).len() <= 253);
    }
}
