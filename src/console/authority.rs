//! Who somebody is and what they may: asked of the API server, as the console itself.

use std::collections::BTreeMap;

use k8s_openapi::api::authentication::v1::{TokenReview, TokenReviewSpec};
use k8s_openapi::api::authorization::v1::{ResourceAttributes, SubjectAccessReview, SubjectAccessReviewSpec};
use kube::api::PostParams;
use kube::config::AuthInfo;
use kube::{Api, Client};
use secrecy::{ExposeSecret, SecretString};

use super::problem::Problem;
use crate::api::GROUP;
use crate::config::CALL_TIMEOUT;

/// A user as the API server knows them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct User {
    /// `status.user.username`.
    pub name: String,
    /// Likewise.
    pub uid: Option<String>,
    /// Likewise.
    pub groups: Vec<String>,
    /// Likewise.
    pub extra: BTreeMap<String, Vec<String>>,
}

/// A question about a right.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Ask {
    verb: &'static str,
    group: &'static str,
    resource: &'static str,
    namespace: Option<String>,
    name: Option<String>,
}

impl Ask {
    /// On accounts of a namespace, or of all.
    #[must_use]
    pub fn accounts(verb: &'static str, namespace: Option<&str>) -> Self {
        Self { verb, group: GROUP, resource: "serviceaccounts", namespace: namespace.map(str::to_owned), name: None }
    }

    /// On one account.
    #[must_use]
    pub fn account(verb: &'static str, namespace: &str, name: &str) -> Self {
        Self { name: Some(name.to_owned()), ..Self::accounts(verb, Some(namespace)) }
    }

    /// On a user group, or on all.
    #[must_use]
    pub fn group(verb: &'static str, name: Option<&str>) -> Self {
        Self { verb, group: GROUP, resource: "usergroups", namespace: None, name: name.map(str::to_owned) }
    }

    /// Reading a Secret.
    #[must_use]
    pub fn secret(namespace: &str, name: &str) -> Self {
        let (namespace, name) = (Some(namespace.to_owned()), Some(name.to_owned()));
        Self { verb: "get", group: "", resource: "secrets", namespace, name }
    }

    /// Writing an Event.
    #[must_use]
    pub fn event(namespace: &str) -> Self {
        Self { verb: "create", group: "", resource: "events", namespace: Some(namespace.to_owned()), name: None }
    }

    fn attributes(&self) -> ResourceAttributes {
        ResourceAttributes {
            verb: Some(self.verb.to_owned()),
            group: Some(self.group.to_owned()),
            resource: Some(self.resource.to_owned()),
            namespace: self.namespace.clone(),
            name: self.name.clone(),
            ..ResourceAttributes::default()
        }
    }
}

/// The way to the API server, as the console and as its users.
pub struct Authority {
    client: Client,
    /// Without any identity in it.
    nobody: kube::Config,
}

impl Authority {
    /// `client` is the console's own; `config` is how it was reached.
    #[must_use]
    pub fn new(client: Client, mut config: kube::Config) -> Self {
        config.auth_info = AuthInfo::default();
        config.headers.clear();
        Self { client, nobody: config }
    }

    /// A client that acts with this token and with nothing of the console's own.
    ///
    /// # Errors
    /// When the token cannot stand in a header.
    pub fn client_of(&self, token: &SecretString) -> Result<Client, Problem> {
        let mut config = self.nobody.clone();
        config.auth_info.token = Some(token.clone());
        Client::try_from(config).map_err(|_| Problem::broken("no client could be made for this token"))
    }

    /// Whose token it is; none when it is nobody's.
    ///
    /// # Errors
    /// When the API server gives no answer.
    pub async fn review(&self, token: &SecretString) -> Result<Option<User>, Problem> {
        let spec = TokenReviewSpec { token: Some(token.expose_secret().to_owned()), ..TokenReviewSpec::default() };
        let review = TokenReview { spec, ..TokenReview::default() };
        let api: Api<TokenReview> = Api::all(self.client.clone());
        let status = timely(api.create(&PostParams::default(), &review)).await.map_err(own)?.status.unwrap_or_default();
        let user = status.user.filter(|_| status.authenticated == Some(true));
        Ok(user.and_then(|user| {
            Some(User {
                name: user.username.filter(|name| !name.is_empty())?,
                uid: user.uid,
                groups: user.groups.unwrap_or_default(),
                extra: user.extra.unwrap_or_default(),
            })
        }))
    }

    /// Whether a user may.
    ///
    /// # Errors
    /// When the API server gives no answer.
    pub async fn allows(&self, user: &User, ask: &Ask) -> Result<bool, Problem> {
        let spec = SubjectAccessReviewSpec {
            user: Some(user.name.clone()),
            uid: user.uid.clone(),
            groups: Some(user.groups.clone()),
            extra: Some(user.extra.clone()),
            resource_attributes: Some(ask.attributes()),
            ..SubjectAccessReviewSpec::default()
        };
        let review = SubjectAccessReview { spec, ..SubjectAccessReview::default() };
        let api: Api<SubjectAccessReview> = Api::all(self.client.clone());
        let status = timely(api.create(&PostParams::default(), &review)).await.map_err(own)?.status;
        Ok(status.is_some_and(|status| status.allowed))
    }
}

/// What is refused to the console itself is no refusal of the user's, and not for them to read.
fn own(problem: Problem) -> Problem {
    match problem {
        Problem::Refused(_) => Problem::broken("The API server lets the console not ask about tokens and rights"),
        other => other,
    }
}

/// An answer in time, or a problem that names no token.
///
/// # Errors
/// The API server's refusal, or that there was no answer.
pub async fn timely<T>(call: impl Future<Output = kube::Result<T>>) -> Result<T, Problem> {
    match tokio::time::timeout(CALL_TIMEOUT, call).await {
        Ok(answer) => Ok(answer?),
        Err(_) => Err(Problem::Unreachable),
    }
}
