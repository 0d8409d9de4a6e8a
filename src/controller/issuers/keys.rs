//! The Secret with an issuer's signing keys: read, planned, and written with the `resourceVersion` that was read, so that
//! of two leaders only one makes keys.

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use kube::api::{DeleteParams, PostParams, Preconditions};
use kube::{Resource, ResourceExt};
use zeroize::Zeroizing;

use super::copy;
use crate::api::{MANAGED_BY, MANAGER, TYPE_SIGNING_KEYS, Timestamp, TokenIssuer};
use crate::controller::calls::{call, find};
use crate::controller::context::Context;
use crate::controller::error::Error;
use crate::controller::report;
use crate::domain::issuer::Issuer;
use crate::domain::keys::plan::{Make, Plan, Settings, plan, wake};
use crate::domain::keys::{Content, Keys};
use crate::domain::names;
use crate::domain::signing;

/// RFC 7518 section 3.2: at least as long as the hash; twice as long costs nothing.
const LEGACY_KEY_LENGTH: usize = 64;
/// A rival's write is read and planned upon; one that is always faster is somebody else's fault.
const ATTEMPTS: usize = 3;

/// The keys of an issuer as they stand in its Secret.
pub struct Kept {
    pub keys: Keys,
    /// When to look again though nothing happens.
    pub wake: Option<Timestamp>,
}

/// Does what the issuer's keys need.
pub async fn look_after(context: &Context, issuer: &Issuer, object: Option<&TokenIssuer>) -> Result<Kept, Error> {
    let mut attempt = 1;
    loop {
        match pass(context, issuer, object).await {
            Err(error) if error.is_race() && attempt < ATTEMPTS => attempt += 1,
            outcome => return outcome,
        }
    }
}

async fn pass(context: &Context, issuer: &Issuer, object: Option<&TokenIssuer>) -> Result<Kept, Error> {
    let secrets = context.own_secrets();
    let name = names::signing_keys(&issuer.name);
    let existing = find(|| format!("read the Secret {name}"), secrets.get(&name)).await?;
    let existing = match existing {
        Some(secret) if secret.type_.as_deref() != Some(TYPE_SIGNING_KEYS) => return Err(Error::ForeignKeys(name)),
        Some(secret) if is_of_a_namesake(&secret, object) => {
            delete(context, &secret).await?;
            None
        }
        other => other,
    };
    let now = context.clock.timestamp();
    let settings = Settings::from(issuer);
    let stored = existing.as_ref().map(|secret| Keys::parse(content_of(secret)));
    if stored.as_ref().is_some_and(Keys::too_new) {
        return Err(Error::KeysTooNew(name));
    }
    let owner = object.and_then(|object| object.uid()).unwrap_or_default();
    let known = context.keyed.lock().contains(&(issuer.name.clone(), owner.clone()))
        || object.and_then(|object| object.status.as_ref()).is_some_and(|status| !status.signing_keys.is_empty());
    let before = stored.as_ref().and_then(|keys| keys.published_to.clone());
    if let Some(before) = before.filter(|before| Some(before) != issuer.legacy.publish_key_to.as_ref()) {
        copy::withdraw(context, object, &before).await?;
    }
    let mut decided = plan(stored, known, &settings, now);
    decided.keys.published_to.clone_from(&issuer.legacy.publish_key_to);
    let news = std::mem::take(&mut decided.news);
    let content = carry_out(context, decided).await?.render(now)?;
    write(context, issuer, object, existing, &content).await?;
    context.keyed.lock().insert((issuer.name.clone(), owner));
    for item in news {
        report::of_keys(context, &issuer.name, object, &item).await;
    }
    // As everybody else reads them, damage and all.
    let keys = Keys::parse(content);
    Ok(Kept { wake: wake(&keys, &settings, now), keys })
}

/// An earlier issuer of the same name had it. Its keys must not sign for this one, and they need not wait for garbage
/// collection. Those of `default`, which may exist without an object, belong to nobody.
fn is_of_a_namesake(secret: &Secret, object: Option<&TokenIssuer>) -> bool {
    let owner = secret.owner_references().iter().find(|owner| owner.kind == TokenIssuer::kind(&()));
    let uid = object.and_then(|object| object.metadata.uid.as_ref());
    owner.zip(uid).is_some_and(|(owner, uid)| owner.uid != *uid)
}

async fn delete(context: &Context, secret: &Secret) -> Result<(), Error> {
    let name = secret.name_any();
    let preconditions = Preconditions { uid: secret.uid(), resource_version: secret.resource_version() };
    let parameters = DeleteParams { preconditions: Some(preconditions), ..DeleteParams::default() };
    let what = || format!("delete the Secret {name} of an earlier issuer");
    find(what, context.own_secrets().delete(&name, &parameters)).await.map(|_| ())
}

fn content_of(secret: &Secret) -> Content {
    let data = secret.data.clone().unwrap_or_default();
    data.into_iter().map(|(key, bytes)| (key, Zeroizing::new(bytes.0))).collect()
}

/// Makes what the plan asks for. RSA takes tenths of a second, so no key is made on a thread that serves others.
async fn carry_out(context: &Context, plan: Plan) -> Result<Keys, Error> {
    let mut keys = plan.keys;
    for make in plan.make {
        match make {
            Make::Oauth(algorithm, tenure) => {
                let made = tokio::task::spawn_blocking(move || signing::generate(algorithm)).await;
                keys.add_oauth(algorithm, tenure, made.map_err(|_| Error::Interrupted)??)?;
            }
            Make::Legacy(phase, tenure) => {
                let mut bytes = Zeroizing::new(vec![0; LEGACY_KEY_LENGTH]);
                context.entropy.fill(&mut bytes)?;
                keys.add_legacy(phase, tenure, bytes)?;
            }
        }
    }
    Ok(keys)
}

/// They belong to the issuer object, so that they go with it.
async fn write(
    context: &Context,
    issuer: &Issuer,
    object: Option<&TokenIssuer>,
    existing: Option<Secret>,
    content: &Content,
) -> Result<(), Error> {
    let name = names::signing_keys(&issuer.name);
    let create = existing.is_none();
    let mut secret = existing.clone().unwrap_or_default();
    secret.metadata.name = Some(name.clone());
    secret.metadata.managed_fields = None;
    let labels = secret.labels_mut();
    labels.insert(MANAGED_BY.into(), MANAGER.into());
    labels.insert(names::LABEL_ISSUER.into(), issuer.name.clone());
    if let Some(owner) =
        object.filter(|_| issuer.name != names::DEFAULT_ISSUER).and_then(|o| o.controller_owner_ref(&()))
        && !secret.owner_references().iter().any(|present| present.uid == owner.uid)
    {
        secret.owner_references_mut().push(owner);
    }
    secret.type_ = Some(TYPE_SIGNING_KEYS.into());
    secret.data = Some(content.iter().map(|(key, bytes)| (key.clone(), ByteString(bytes.to_vec()))).collect());
    let same = existing.is_some_and(|mut existing| {
        existing.metadata.managed_fields = None;
        existing == secret
    });
    if same {
        return Ok(());
    }
    let (secrets, parameters) = (context.own_secrets(), PostParams::default());
    if create {
        call(|| format!("create the Secret {name}"), secrets.create(&parameters, &secret)).await?;
    } else {
        call(|| format!("write the Secret {name}"), secrets.replace(&name, &parameters, &secret)).await?;
    }
    tracing::info!(issuer = issuer.name, secret = name, "wrote signing keys");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::OwnerReference;
    use rstest::rstest;

    #[rstest]
    #[case("TokenIssuer", "earlier", Some("present"), true)]
    #[case("TokenIssuer", "present", Some("present"), false)]
    #[case("ConfigMap", "earlier", Some("present"), false)]
    #[case("TokenIssuer", "earlier", None, false)]
    fn keys_of_an_earlier_issuer_are_told_by_the_uid(
        #[case] kind: &str,
        #[case] owner: &str,
        #[case] issuer: Option<&str>,
        #[case] earlier: bool,
    ) {
        let mut secret = Secret::default();
        secret.owner_references_mut().push(OwnerReference {
            kind: kind.into(),
            uid: owner.into(),
            ..OwnerReference::default()
        });
        let object = issuer.map(|uid| {
            let mut object = TokenIssuer::new("acme", crate::api::TokenIssuerSpec::default());
            object.metadata.uid = Some(uid.into());
            object
        });
        assert_eq!(is_of_a_namesake(&secret, object.as_ref()), earlier);
        assert!(!is_of_a_namesake(&Secret::default(), object.as_ref()));
    }
}
