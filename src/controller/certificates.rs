//! The gateway's own CA and certificate, and the console's, made when nobody gives one. Only the controller writes Secrets;
//! the gateway reads its certificate, the console has its own mounted, and neither sees the CA's key.

use std::collections::BTreeMap;

use chrono::{DateTime, Datelike, TimeDelta, Utc};
use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ObjectMeta, OwnerReference};
use kube::api::PostParams;
use kube::{Api, ResourceExt};
use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
    date_time_ymd,
};

use super::calls::{call, find};
use super::error::Error;
use crate::api::{HOST_CERTIFICATE, MANAGED_BY, MANAGER};

/// The Secret with the CA, its key included.
const CA_SECRET: &str = "keyrota-gateway-ca";
/// The Secret that the gateway serves from.
pub const TLS_SECRET: &str = "keyrota-gateway-tls";

/// The Secret that is mounted for the console.
pub const CONSOLE_TLS_SECRET: &str = "keyrota-console-tls";

const CA_LIFE: TimeDelta = TimeDelta::days(3650);
const LEAF_LIFE: TimeDelta = TimeDelta::days(90);
/// A certificate is renewed when a third of its life is left, as cert-manager does.
const RENEW_BEFORE: TimeDelta = TimeDelta::days(30);

/// Annotation: when the certificate in the Secret ends.
const NOT_AFTER: &str = "keyrota.dev/certificate-not-after";
/// Annotation: the names it is for.
const NAMES: &str = "keyrota.dev/certificate-names";

/// Whose certificates are made here, and the names in them.
#[derive(Clone, Debug, Default)]
pub struct Ours {
    /// The gateway's; none when somebody else makes it.
    pub gateway: Option<Vec<String>>,
    /// The console's; none when somebody else makes it.
    pub console: Option<Vec<String>>,
}

/// Makes sure that what is ours exists and is valid. Returns the CA in PEM when the gateway's certificate is ours.
///
/// # Errors
/// When the API server cannot be asked, or a certificate not be made.
pub async fn ensure(secrets: &Api<Secret>, ours: &Ours, now: DateTime<Utc>) -> Result<Option<String>, Error> {
    if ours.gateway.is_none() && ours.console.is_none() {
        return Ok(None);
    }
    let ca = ensure_ca(secrets, now).await?;
    for (secret, names) in [(TLS_SECRET, &ours.gateway), (CONSOLE_TLS_SECRET, &ours.console)] {
        if let Some(names) = names {
            let wanted = Wanted { secret: secret.to_owned(), names, owner: None };
            ensure_leaf(secrets, &ca, wanted, now).await?;
        }
    }
    Ok(ours.gateway.is_some().then_some(ca.0))
}

/// Makes sure that a tenant's hosts have a certificate of their own, so that none of them is told the others' names.
/// Returns when to look again. It goes with `owner`, the issuer object.
///
/// # Errors
/// As [`ensure`].
pub async fn ensure_for_hosts(
    secrets: &Api<Secret>,
    issuer: &str,
    hosts: &[String],
    owner: Option<OwnerReference>,
    now: DateTime<Utc>,
) -> Result<DateTime<Utc>, Error> {
    let ca = ensure_ca(secrets, now).await?;
    let wanted = Wanted { secret: format!("{TLS_SECRET}-{issuer}"), names: hosts, owner };
    Ok(ensure_leaf(secrets, &ca, wanted, now).await? - RENEW_BEFORE)
}

struct Wanted<'a> {
    secret: String,
    names: &'a [String],
    /// Of a tenant's certificate, which the gateway finds by a label.
    owner: Option<OwnerReference>,
}

/// Returns when the certificate ends.
async fn ensure_leaf(
    secrets: &Api<Secret>,
    (ca_pem, ca_key): &(String, String),
    Wanted { secret: name, names, owner }: Wanted<'_>,
    now: DateTime<Utc>,
) -> Result<DateTime<Utc>, Error> {
    let existing = find(|| format!("read the Secret {name}"), secrets.get(&name)).await?;
    let joined = names.join(",");
    let good_until = existing.as_ref().and_then(|secret| {
        let same = data(secret, "ca.crt").as_deref() == Some(ca_pem) && annotation(secret, NAMES) == Some(&joined);
        ends(secret).filter(|end| same && now + RENEW_BEFORE < *end)
    });
    if let Some(end) = good_until {
        return Ok(end);
    }
    let end = now + LEAF_LIFE;
    let key = KeyPair::generate()?;
    let issuer = Issuer::from_ca_cert_pem(ca_pem, KeyPair::from_pem(ca_key)?)?;
    let role = if name == CONSOLE_TLS_SECRET { "keyrota-console" } else { "keyrota-gateway" };
    let leaf = leaf_parameters(role, names, now, end)?.signed_by(&key, &issuer)?;
    let content = [("tls.crt", leaf.pem()), ("tls.key", key.serialize_pem()), ("ca.crt", ca_pem.clone())];
    let mut object = object(&name, content.into(), end, &joined);
    if let Some(owner) = owner {
        object.labels_mut().insert(HOST_CERTIFICATE.to_owned(), "true".to_owned());
        object.owner_references_mut().push(owner);
    }
    write(secrets, existing, object).await?;
    tracing::info!(secret = name, names = joined, not_after = %end, "made a certificate");
    Ok(end)
}

async fn ensure_ca(secrets: &Api<Secret>, now: DateTime<Utc>) -> Result<(String, String), Error> {
    let existing = find(|| format!("read the Secret {CA_SECRET}"), secrets.get(CA_SECRET)).await?;
    let usable = existing.as_ref().filter(|secret| ends(secret).is_some_and(|end| now + LEAF_LIFE < end));
    if let Some((certificate, key)) = usable.and_then(|secret| data(secret, "tls.crt").zip(data(secret, "tls.key"))) {
        return Ok((certificate, key));
    }
    let end = now + CA_LIFE;
    let key = KeyPair::generate()?;
    let certificate = ca_parameters(now, end).self_signed(&key)?;
    let content = [("tls.crt", certificate.pem()), ("tls.key", key.serialize_pem())];
    write(secrets, existing, object(CA_SECRET, content.into(), end, "")).await?;
    tracing::info!(secret = CA_SECRET, not_after = %end, "made a certificate authority for the gateway");
    Ok((certificate.pem(), key.serialize_pem()))
}

fn ca_parameters(now: DateTime<Utc>, end: DateTime<Utc>) -> CertificateParams {
    let mut parameters = CertificateParams::default();
    parameters.is_ca = IsCa::Ca(BasicConstraints::Constrained(0));
    parameters.key_usages =
        vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign, KeyUsagePurpose::DigitalSignature];
    parameters.distinguished_name.push(DnType::CommonName, "Keyrota gateway CA");
    set_life(&mut parameters, now, end);
    parameters
}

fn leaf_parameters(
    role: &str,
    names: &[String],
    now: DateTime<Utc>,
    end: DateTime<Utc>,
) -> Result<CertificateParams, rcgen::Error> {
    let mut parameters = CertificateParams::new(names)?;
    parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    parameters.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    parameters.distinguished_name.push(DnType::CommonName, role);
    parameters.use_authority_key_identifier_extension = true;
    set_life(&mut parameters, now, end);
    Ok(parameters)
}

/// From the day before (clocks differ) to the end, in whole days as rcgen takes them.
fn set_life(parameters: &mut CertificateParams, now: DateTime<Utc>, end: DateTime<Utc>) {
    let day = |time: DateTime<Utc>| {
        let byte = |number: u32| u8::try_from(number).unwrap_or(1);
        date_time_ymd(time.year(), byte(time.month()), byte(time.day()))
    };
    parameters.not_before = day(now - TimeDelta::days(1));
    parameters.not_after = day(end + TimeDelta::days(1));
}

fn object(name: &str, content: BTreeMap<&str, String>, end: DateTime<Utc>, names: &str) -> Secret {
    Secret {
        metadata: ObjectMeta {
            name: Some(name.into()),
            labels: Some([(MANAGED_BY.to_owned(), MANAGER.to_owned())].into()),
            annotations: Some([(NOT_AFTER.to_owned(), end.to_rfc3339()), (NAMES.to_owned(), names.to_owned())].into()),
            ..ObjectMeta::default()
        },
        type_: Some("kubernetes.io/tls".into()),
        data: Some(content.into_iter().map(|(key, pem)| (key.to_owned(), ByteString(pem.into_bytes()))).collect()),
        ..Secret::default()
    }
}

async fn write(secrets: &Api<Secret>, existing: Option<Secret>, mut object: Secret) -> Result<(), Error> {
    let name = object.name_any();
    let what = || format!("write the Secret {name}");
    let parameters = PostParams::default();
    if let Some(existing) = existing {
        object.metadata.resource_version = existing.metadata.resource_version;
        call(what, secrets.replace(&name, &parameters, &object)).await.map(|_| ())
    } else {
        call(what, secrets.create(&parameters, &object)).await.map(|_| ())
    }
}

fn data(secret: &Secret, key: &str) -> Option<String> {
    String::from_utf8(secret.data.as_ref()?.get(key)?.0.clone()).ok()
}

fn annotation<'a>(secret: &'a Secret, key: &str) -> Option<&'a String> {
    secret.metadata.annotations.as_ref()?.get(key)
}

fn ends(secret: &Secret) -> Option<DateTime<Utc>> {
    DateTime::parse_from_rfc3339(annotation(secret, NOT_AFTER)?).ok().map(|time| time.with_timezone(&Utc))
}
