//! The published credential, read with the user's own token, and the forms in which it is taken away.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client, ResourceExt};
use secrecy::{ExposeSecret, SecretString};
use serde_json::{Map, json};
use zeroize::{Zeroize, Zeroizing};

use super::account;
use super::authority::timely;
use super::problem::Problem;
use crate::api::{ServiceAccount, TYPE_CREDENTIALS};
use crate::domain::account::published_names;

/// What is published for an account.
pub struct Credential {
    /// The client ID.
    pub client_id: String,
    /// The client secret.
    pub client_secret: SecretString,
    /// The other keys that a client needs, by their own names.
    others: Vec<(&'static str, String)>,
}

/// What goes into a download, in this order; a certificate in an environment variable helps few.
const TAKEN: [&str; 4] = ["token-url", "issuer", "jwks-uri", "expires-at"];

/// Reads the published Secret. One that is not this account's is as if it were not there: it may be anybody's.
///
/// # Errors
/// The API server's refusal, or that there is no credential.
pub async fn read(client: &Client, object: &ServiceAccount) -> Result<Credential, Problem> {
    let api: Api<Secret> = Api::namespaced(client.clone(), &object.namespace().unwrap_or_default());
    let secret = timely(api.get(&account::published(object))).await?;
    of(secret, object).ok_or(Problem::Bad("The Secret of that name does not hold this account's credential."))
}

fn of(mut secret: Secret, object: &ServiceAccount) -> Option<Credential> {
    let owned = secret.owner_references().iter().any(|owner| Some(&owner.uid) == object.metadata.uid.as_ref());
    if !owned || secret.type_.as_deref() != Some(TYPE_CREDENTIALS) {
        return None;
    }
    let names = names_in(object);
    let mut data = secret.data.take()?;
    let mut take = |key: &str| String::from_utf8(data.remove(names.get(key)?)?.0).ok();
    let credential = Credential {
        client_id: take("client-id")?,
        client_secret: take("client-secret")?.into(),
        others: TAKEN.into_iter().filter_map(|key| Some((key, take(key)?))).collect(),
    };
    for bytes in data.values_mut() {
        bytes.0.zeroize();
    }
    Some(credential)
}

/// Where client ID and client secret are in the published Secret, as JSONPath of kubectl.
#[must_use]
pub fn paths(object: &ServiceAccount) -> [String; 2] {
    let names = names_in(object);
    ["client-id", "client-secret"].map(|key| {
        let name = names.get(key).map_or(key, String::as_str);
        format!("{{.data.{}}}", name.replace('.', "\\."))
    })
}

fn names_in(object: &ServiceAccount) -> BTreeMap<&'static str, String> {
    let template = object.spec.client_secret.as_ref().and_then(|settings| settings.template.as_ref());
    published_names(template.and_then(|template| template.keys.as_ref()))
}

impl Credential {
    fn all(&self) -> impl Iterator<Item = (&'static str, &str)> {
        let pair = [("client-id", self.client_id.as_str()), ("client-secret", self.client_secret.expose_secret())];
        pair.into_iter().chain(self.others.iter().map(|(key, value)| (*key, value.as_str())))
    }

    /// As a `.env` file.
    #[must_use]
    pub fn env(&self) -> Zeroizing<String> {
        let line = |(key, value): (&str, &str)| format!("{}={}\n", key.to_uppercase().replace('-', "_"), quoted(value));
        Zeroizing::new(self.all().map(line).collect())
    }

    /// As a shell script that makes the same Secret in another namespace or cluster.
    ///
    /// # Errors
    /// When it cannot be written as YAML.
    pub fn kubectl(&self, object: &ServiceAccount) -> Result<Zeroizing<String>, Problem> {
        let data: Map<_, _> = self.all().map(|(key, value)| (key.to_owned(), json!(value))).collect();
        let secret = json!({
            "apiVersion": "v1", "kind": "Secret", "type": "Opaque",
            "metadata": {"name": account::published(object)}, "stringData": data,
        });
        let yaml = serde_saphyr::to_string(&secret).map_err(|_| Problem::broken("the Secret is no YAML"))?;
        let yaml = Zeroizing::new(yaml);
        Ok(Zeroizing::new(format!(
            "# The credential of {}/{} as it is now; it is not rotated where this puts it.\n\
             kubectl apply --namespace CHANGE-ME -f - <<'END-OF-SECRET'\n{}\nEND-OF-SECRET\n",
            object.namespace().unwrap_or_default(),
            object.name_any(),
            yaml.trim_end(),
        )))
    }
}

/// In double quotes, as every reader of `.env` files takes them.
fn quoted(value: &str) -> String {
    let mut out = String::from("\"");
    for c in value.chars() {
        match c {
            '"' | '\\' | '$' | '`' => out.extend(['\\', c]),
            '\n' => out.push_str("\\n"),
            c => out.push(c),
        }
    }
    out.push('"');
    out
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::console::inventory::testing::account;

    fn secret(change: impl FnOnce(&mut serde_json::Value)) -> Secret {
        // "id", "se$cret", "https://x/token", "a"
        let mut value = json!({
            "apiVersion": "v1", "kind": "Secret", "type": TYPE_CREDENTIALS,
            "metadata": {"name": "a-credentials", "ownerReferences": [
                {"apiVersion": "keyrota.dev/v1alpha1", "kind": "ServiceAccount", "name": "a", "uid": "uid-of-shop-a"}]},
            "data": {"client-id": "aWQ=", "client-secret": "c2UkY3JldA==", "token-url": "aHR0cHM6Ly94L3Rva2Vu", "other": "YQ=="},
        });
        change(&mut value);
        serde_json::from_value(value).unwrap()
    }

    #[test]
    fn it_is_taken_away_as_env_and_as_a_secret_to_apply() {
        let object = account("shop", "a");
        let credential = of(secret(|_| ()), &object).unwrap();
        let env = "CLIENT_ID=\"id\"\nCLIENT_SECRET=\"se\\$cret\"\nTOKEN_URL=\"https://x/token\"\n";
        assert_eq!(credential.env().as_str(), env);
        let script = credential.kubectl(&object).unwrap();
        let yaml = script.split("END-OF-SECRET'\n").nth(1).unwrap().trim_end().trim_end_matches("END-OF-SECRET");
        let applied: Secret = serde_saphyr::from_str(yaml).unwrap();
        assert_eq!(applied.string_data.unwrap()["client-secret"], "se$cret");
    }

    #[test]
    fn kubectl_is_told_the_keys_as_the_account_renames_them() {
        let mut object = account("shop", "a");
        assert_eq!(paths(&object), ["{.data.client-id}", "{.data.client-secret}"]);
        let spec = json!({"clientSecret": {"template": {"keys": {"client-secret": "db.password"}}}});
        object.spec = serde_json::from_value(spec).unwrap();
        assert_eq!(paths(&object), ["{.data.client-id}", "{.data.db\\.password}"]);
    }

    #[test]
    fn a_secret_that_is_not_the_accounts_is_never_shown() {
        let object = account("shop", "a");
        assert!(of(secret(|s| s["metadata"]["ownerReferences"][0]["uid"] = json!("another")), &object).is_none());
        assert!(of(secret(|s| s["metadata"]["ownerReferences"] = json!([])), &object).is_none());
        assert!(of(secret(|s| s["type"] = json!("Opaque")), &object).is_none());
    }
}
