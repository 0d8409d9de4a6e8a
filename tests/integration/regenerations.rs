//! Regenerations under constant traffic, with a grace of nothing: whoever reads the Secret again after a refusal is never
//! refused with what he read, and a secret that has been refused once never works again.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering::SeqCst};
use std::time::{Duration, Instant};

use futures::future::join_all;
use parking_lot::Mutex;
use serde_json::json;

use super::common::eventually;
use super::common::operator::{Gateway, Operator, SOON};

/// All together; `just regenerations` asks for 1,000.
const REGENERATIONS: usize = 100;
const ACCOUNTS: usize = 10;
const CLIENTS_PER_ACCOUNT: usize = 2;

type Pair = (String, String);

/// What the clients of all accounts have met.
#[derive(Default)]
struct Tally {
    done: AtomicBool,
    granted: AtomicUsize,
    refused: AtomicUsize,
    later: AtomicUsize,
    published_but_refused: AtomicUsize,
    ended_but_granted: AtomicUsize,
    longest_lag: Mutex<Duration>,
}

#[tokio::test(flavor = "multi_thread")]
async fn no_published_secret_is_refused_while_secrets_are_regenerated_under_traffic_without_grace() {
    let asked = asked();
    let mut operator = Operator::start().await;
    let gateway = operator.start_gateway().await;
    let tally = Tally::default();
    let names: Vec<String> = (0..ACCOUNTS).map(|number| format!("app-{number}")).collect();
    for name in &names {
        operator.ready(name, json!({})).await;
    }
    let ended: Vec<Mutex<Vec<Pair>>> = names.iter().map(|_| Mutex::default()).collect();
    let clients = names
        .iter()
        .flat_map(|name| (0..CLIENTS_PER_ACCOUNT).map(|_| use_constantly(&operator, &gateway, name, &tally)));
    let latecomers = ended.iter().map(|ended| try_what_has_ended(&gateway, ended, &tally));
    let began = Instant::now();
    let owners = async {
        let each = names.iter().zip(&ended);
        join_all(each.map(|(name, ended)| regenerate(&operator, &gateway, name, asked / ACCOUNTS, ended, &tally)))
            .await;
        tally.done.store(true, SeqCst);
    };
    tokio::join!(owners, join_all(clients), join_all(latecomers));
    let Tally { granted, refused, later, published_but_refused, ended_but_granted, longest_lag, .. } = tally;
    println!(
        "{asked} regenerations in {:.1} s under {granted:?} grants and {refused:?} refusals of what had ended; {later:?} \
         answers of 503; an ended secret was first refused \
         at most {:?} after the change of its record was seen",
        began.elapsed().as_secs_f32(),
        longest_lag.into_inner(),
    );
    assert_eq!(published_but_refused.into_inner(), 0, "a secret was refused that was in the published Secret");
    assert_eq!(ended_but_granted.into_inner(), 0, "a secret worked again after it had ended");
    assert!(granted.into_inner() > asked && refused.into_inner() > 0, "there was no traffic");
}

#[expect(clippy::disallowed_methods, reason = "only a test asks how long it is to be")]
fn asked() -> usize {
    std::env::var("KEYROTA_REGENERATIONS").map_or(REGENERATIONS, |number| number.parse().unwrap())
}

/// The owner of an account, who asks for the next secret as soon as the last one has ended.
async fn regenerate(
    operator: &Operator,
    gateway: &Gateway,
    name: &str,
    times: usize,
    ended: &Mutex<Vec<Pair>>,
    tally: &Tally,
) {
    let secret = format!("{name}-credentials");
    let account = operator.accounts().get(name).await.unwrap();
    let mut pair = operator.credential(&secret).await;
    for number in 1..=times {
        operator.edit(name, json!({"spec": {"regenerate": {"clientSecret": number}}})).await;
        let next = operator.next_credential(&secret, &pair).await;
        eventually("the old version is gone from the record", SOON, async || {
            let record = operator.record(&account).await?;
            (record.versions.len() == 1 && record.handled.client_secret == i64::try_from(number).unwrap()).then_some(())
        })
        .await;
        let since = Instant::now();
        eventually("the old secret is refused", SOON, async || (gateway.token(&pair).await.0 == 400).then_some(()))
            .await;
        let mut longest = tally.longest_lag.lock();
        *longest = longest.max(since.elapsed());
        drop(longest);
        ended.lock().push(std::mem::replace(&mut pair, next));
    }
}

/// A client that asks for one token after the other, and reads the Secret again when it is refused.
async fn use_constantly(operator: &Operator, gateway: &Gateway, name: &str, tally: &Tally) {
    let secret = format!("{name}-credentials");
    let mut pair = operator.credential(&secret).await;
    while !tally.done.load(SeqCst) {
        match gateway.token(&pair).await.0 {
            200 => drop(tally.granted.fetch_add(1, SeqCst)),
            503 => drop(tally.later.fetch_add(1, SeqCst)),
            _ => {
                tally.refused.fetch_add(1, SeqCst);
                let published = operator.credential(&secret).await;
                if published == pair {
                    tally.published_but_refused.fetch_add(1, SeqCst);
                }
                pair = published;
            }
        }
    }
}

/// Somebody who holds on to what has ended.
async fn try_what_has_ended(gateway: &Gateway, ended: &Mutex<Vec<Pair>>, tally: &Tally) {
    let mut number = 0;
    while !tally.done.load(SeqCst) {
        let pair = {
            let ended = ended.lock();
            ended.get(number % ended.len().max(1)).cloned()
        };
        let Some(pair) = pair else {
            tokio::task::yield_now().await;
            continue;
        };
        if gateway.token(&pair).await.0 == 200 {
            tally.ended_but_granted.fetch_add(1, SeqCst);
        }
        number += 1;
    }
}
