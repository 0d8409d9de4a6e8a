//! What an issuer's status says.

use kube::Api;
use kube::api::PostParams;

use super::keys::Kept;
use crate::api::token_issuer::SigningKeyStatus;
use crate::api::{Timestamp, TokenIssuer, TokenIssuerStatus};
use crate::controller::calls::call;
use crate::controller::context::Context;
use crate::controller::error::Error;
use crate::domain::keys::Keys;
use crate::domain::signing;
use crate::domain::words::{self, Word};

/// A condition without its times, and its message.
pub type Verdict = (&'static Word, String);

/// What is wrong with the keys.
fn abnormal(keys: &Keys) -> Vec<Verdict> {
    let lost = keys.loss.as_ref().map(|loss| {
        let message = format!(
            "since {} these keys are lost: {}; until {} there may be tokens that can no longer be verified",
            loss.time, loss.what, loss.until
        );
        (&words::KEYS_LOST, message)
    });
    let problems: Vec<_> = keys.problems.iter().map(ToString::to_string).collect();
    let damaged = (!problems.is_empty()).then(|| (&words::KEYS_DAMAGED, problems.join("; ")));
    lost.into_iter().chain(damaged).collect()
}

fn listed(keys: &Keys, now: Timestamp) -> Vec<SigningKeyStatus> {
    let oauth = keys.oauth.phases(now).filter_map(|(key, state, kept_until)| {
        Some(SigningKeyStatus {
            kid: Some(key.key.kid().to_owned()),
            algorithm: signing::name(key.key.algorithm()).to_owned(),
            state,
            signs_from: key.tenure?.signs_from,
            kept_until,
        })
    });
    let legacy = keys.legacy.slots().filter_map(|(state, key)| {
        Some(SigningKeyStatus {
            kid: None,
            algorithm: "HS256".into(),
            state,
            signs_from: key.tenure?.signs_from,
            kept_until: keys.legacy.previous_until().filter(|_| state == crate::domain::keys::Phase::Previous),
        })
    });
    oauth.chain(legacy).collect()
}

/// Writes the status when it says something new. Keys that could not be looked after are shown as they were.
pub async fn write(context: &Context, object: &TokenIssuer, kept: Option<&Kept>, ready: Verdict) -> Result<(), Error> {
    let name = object.metadata.name.clone().unwrap_or_default();
    let generation = object.metadata.generation.unwrap_or_default();
    let now = context.clock.timestamp();
    let before = object.status.clone().unwrap_or_default();
    let mut verdicts = vec![ready];
    verdicts.extend(kept.map(|kept| abnormal(&kept.keys)).unwrap_or_default());
    let condition = |(word, message): Verdict| {
        // The API server refuses more than 32 KiB.
        word.condition(generation, now, message.chars().take(4096).collect()).since(&before.conditions)
    };
    let status = TokenIssuerStatus {
        observed_generation: generation,
        conditions: verdicts.into_iter().map(condition).collect(),
        signing_keys: kept.map_or_else(|| before.signing_keys.clone(), |kept| listed(&kept.keys, now)),
    };
    if object.status.as_ref() == Some(&status) {
        return Ok(());
    }
    let api: Api<TokenIssuer> = Api::all(context.client.clone());
    let mut updated = object.clone();
    updated.status = Some(status);
    updated.metadata.managed_fields = None;
    let what = || format!("write the status of the TokenIssuer {name}");
    call(what, api.replace_status(&name, &PostParams::default(), &updated)).await.map(|_| ())
}
