//! Signing in and out, and requests that are not what they seem.

use std::sync::Arc;

use chrono::TimeDelta;
use k8s_openapi::api::core::v1::ServiceAccount as Person;
use keyrota::clock::{Clock, ManualClock, SystemClock};
use kube::Api;
use kube::api::DeleteParams;
use reqwest::header::SET_COOKIE;
use rstest::rstest;
use serde_json::json;

use super::{Console, OWNER, VIEWER, person};
use crate::common::eventually;
use crate::common::operator::{Operator, SOON};

async fn with_owner() -> (Operator, Console, String) {
    let operator = Operator::start().await;
    let console = Console::start(&operator, &[], Arc::new(SystemClock)).await;
    let token = person(&operator, &operator.tenant.name, "owner", OWNER).await;
    (operator, console, token)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_signs_in_and_a_wrong_one_is_refused_beside_its_field() {
    let (operator, console, token) = with_owner().await;
    let mut visitor = console.visitor();
    let to_sign_in = visitor.get("/accounts?q=a").await;
    assert_eq!((to_sign_in.status, to_sign_in.location()), (303, "/signin?next=%2Faccounts%3Fq%3Da"));
    for wrong in ["", "nonsense", "two words", "ä", &token[..token.len() - 2], &"x".repeat(20_000)] {
        let answer = visitor.sign_in(wrong).await;
        assert!(answer.headers.get(SET_COOKIE).is_none() && answer.status == 403, "{wrong}");
        answer.has("id=\"token-error\"");
        assert!(wrong.is_empty() || !answer.body.contains(wrong), "what was typed is not shown again");
    }
    let answer = visitor.sign_in(&token).await;
    let cookie = answer.headers[SET_COOKIE].to_str().unwrap();
    for part in ["__Host-keyrota=", "HttpOnly", "Secure", "SameSite=Lax", "Path=/"] {
        assert!(cookie.contains(part), "{cookie}");
    }
    assert!(!cookie.contains("Domain") && !cookie.contains(&token));
    let name = super::user(&operator.tenant.name, "owner");
    visitor.get("/accounts").await.has(&name).lacks(&token);
}

#[tokio::test(flavor = "multi_thread")]
async fn signing_in_renews_the_session_and_signing_out_ends_it_at_the_server() {
    let (_operator, console, token) = with_owner().await;
    let mut visitor = console.visitor();
    visitor.cookie = Some("__Host-keyrota=chosen-by-somebody-else".into());
    visitor.sign_in(&token).await;
    let first = visitor.clone();
    assert!(!first.cookie.as_ref().unwrap().contains("chosen-by-somebody-else"));
    visitor.sign_in(&token).await;
    assert_ne!(first.cookie, visitor.cookie);
    assert_eq!(first.get("/accounts").await.status, 303, "the session before is over");
    assert_eq!(visitor.get("/accounts").await.status, 200);

    let out = visitor.post("/signout", &[]).await;
    assert!(out.status == 303 && out.headers[SET_COOKIE].to_str().unwrap().contains("Max-Age=0"));
    let kept = visitor.get("/accounts").await;
    assert_eq!(
        (kept.status, kept.location()),
        (303, "/signin?next=%2Faccounts&ended="),
        "the cookie is worth nothing now"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn an_idle_session_is_over_after_fifteen_minutes() {
    let operator = Operator::start().await;
    let clock = ManualClock::at(SystemClock.now());
    let console = Console::start(&operator, &[], Arc::new(clock.clone())).await;
    let token = person(&operator, &operator.tenant.name, "owner", OWNER).await;
    let visitor = console.signed_in(&token).await;
    for _ in 0..3 {
        clock.advance(TimeDelta::minutes(14) + TimeDelta::seconds(59));
        assert_eq!(visitor.get("/accounts").await.status, 200);
    }
    clock.advance(TimeDelta::minutes(15));
    let answer = visitor.get("/accounts").await;
    assert_eq!((answer.status, answer.location()), (303, "/signin?next=%2Faccounts&ended="));
    visitor.get(answer.location()).await.has("Your session is over");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_token_that_no_longer_counts_ends_the_session_within_a_minute() {
    let operator = Operator::start().await;
    let clock = ManualClock::at(SystemClock.now());
    let console = Console::start(&operator, &[], Arc::new(clock.clone())).await;
    let namespace = &operator.tenant.name;
    let token = person(&operator, namespace, "leaver", OWNER).await;
    let visitor = console.signed_in(&token).await;
    let people: Api<Person> = Api::namespaced(operator.client.clone(), namespace);
    people.delete("leaver", &DeleteParams::default()).await.unwrap();
    // The API server itself believes a token for ten seconds.
    eventually("the session is over", SOON, async || {
        clock.advance(TimeDelta::seconds(60));
        (visitor.get("/accounts").await.status == 303).then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whose_token_ends_between_two_looks_is_asked_to_sign_in_and_comes_back() {
    let operator = Operator::start().await;
    let console = Console::start(&operator, &[], Arc::new(ManualClock::at(SystemClock.now()))).await;
    let namespace = &operator.tenant.name;
    let token = person(&operator, namespace, "leaver", OWNER).await;
    let visitor = console.signed_in(&token).await;
    let people: Api<Person> = Api::namespaced(operator.client.clone(), namespace);
    people.delete("leaver", &DeleteParams::default()).await.unwrap();
    let answer = eventually("the API server no longer knows the token", SOON, async || {
        let answer = visitor.get(&format!("/accounts/{namespace}/exporter")).await;
        (answer.status == 303).then_some(answer)
    })
    .await;
    assert_eq!(answer.location(), format!("/signin?next=%2Faccounts%2F{namespace}%2Fexporter&ended="));
    assert_eq!(visitor.get("/accounts").await.status, 303, "the session is over at the server");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_page_that_waits_keeps_no_session_alive() {
    let operator = Operator::start().await;
    let clock = ManualClock::at(SystemClock.now());
    let console = Console::start(&operator, &[], Arc::new(clock.clone())).await;
    let token = person(&operator, &operator.tenant.name, "owner", OWNER).await;
    let visitor = console.signed_in(&token).await;
    let home = format!("/accounts/{}/nothing?waiting", operator.tenant.name);
    for _ in 0..14 {
        clock.advance(TimeDelta::minutes(1));
        assert_eq!(visitor.get(&home).await.status, 404);
    }
    clock.advance(TimeDelta::minutes(1));
    assert_eq!(visitor.get(&home).await.status, 303);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_htmx_cannot_have_is_a_line_above_the_page_it_stays_on() {
    let (operator, console, token) = with_owner().await;
    let visitor = console.signed_in(&token).await;
    let path = format!("/accounts/{}/nothing", operator.tenant.name);
    let whole = visitor.get(&path).await;
    whole.has("<!doctype html>");
    assert!(whole.status == 404 && whole.headers.get("hx-retarget").is_none());
    let part = visitor.get_with(&path, &[("HX-Request", "true")]).await;
    part.has("There is nothing here").lacks("<!doctype");
    assert_eq!(
        (part.status, &part.headers["hx-retarget"], &part.headers["hx-reselect"]),
        (404, &"#problem".parse().unwrap(), &".problem".parse().unwrap())
    );
}

#[rstest]
#[case::elsewhere("https://evil.example/")]
#[case::without_scheme("//evil.example/")]
#[case::backslash("/\\evil.example")]
#[case::script("javascript:alert(1)")]
#[case::header("/accounts\r\nX-Evil: yes")]
#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_sent_to_another_site(#[case] next: &str) {
    let (_operator, console, token) = with_owner().await;
    let visitor = console.visitor();
    for form in [[("token", token.as_str()), ("next", next)], [("theme", "dark"), ("back", next)]] {
        let path = if form[0].0 == "token" { "/signin" } else { "/theme" };
        let answer = visitor.post(path, &form).await;
        assert_eq!((answer.status, answer.location()), (303, "/accounts"), "{path}");
        assert!(answer.headers.get("x-evil").is_none());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_change_from_another_site_is_refused_whatever_it_is() {
    let (operator, console, token) = with_owner().await;
    let account = operator.ready("exporter", json!({})).await;
    let visitor = console.signed_in(&token).await;
    let home = format!("/accounts/{}/exporter", operator.tenant.name);
    let key = format!("{}/exporter/{}", operator.tenant.name, account.metadata.uid.unwrap());
    let changes = [
        ("/accounts/actions".to_owned(), vec![("action", "delete"), ("confirmed", "yes"), ("account", key.as_str())]),
        ("/accounts/actions".to_owned(), vec![("action", "disable"), ("account", &key)]),
        ("/accounts/new".to_owned(), vec![("namespace", operator.tenant.name.as_str()), ("name", "evil")]),
        (
            home.clone(),
            vec![("description", "evil"), ("generation", "1"), ("validity", "180"), ("rotation", "Automatic")],
        ),
        (format!("{home}/groups"), vec![("group", "evil"), ("generation", "1")]),
        (format!("{home}/secret"), vec![]),
        (format!("{home}/download"), vec![("as", "env")]),
        (format!("{home}/regenerate"), vec![("what", "client-secret")]),
        ("/signout".to_owned(), vec![]),
        ("/signin".to_owned(), vec![("token", token.as_str())]),
    ];
    let secret = operator.credential("exporter-credentials").await.1;
    for headers in [
        vec![("Sec-Fetch-Site", "cross-site")],
        vec![("Sec-Fetch-Site", "same-site")],
        vec![("Origin", "https://evil.example")],
        vec![("Origin", "null")],
    ] {
        for (path, form) in &changes {
            let answer = visitor.post_with(path, form, &headers).await;
            assert_eq!(answer.status, 403, "{path} {headers:?}");
            answer.has("This request came from another site").lacks(&secret);
        }
    }
    let after = operator.accounts().get("exporter").await.unwrap();
    assert_eq!((after.metadata.generation, after.spec.enabled), (Some(1), true));
    assert_eq!(visitor.get("/accounts").await.status, 200, "still signed in");
    let own = visitor.post_with(&changes[1].0, &changes[1].1, &[("Origin", console.base.as_str())]).await;
    assert_eq!(own.status, 303, "from the console itself it is done");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_answer_is_guarded_and_no_page_is_kept() {
    let (operator, console, _) = with_owner().await;
    let token = person(&operator, &operator.tenant.name, "viewer", VIEWER).await;
    let visitor = console.signed_in(&token).await;
    for path in ["/accounts", "/accounts/new", "/signin", "/nowhere", "/accounts/a/b/c", "/accounts.csv"] {
        let answer = visitor.get(path).await;
        let header = |name: &str| answer.headers.get(name).map(|value| value.to_str().unwrap()).unwrap_or_default();
        let policy = header("content-security-policy");
        assert!(policy.starts_with("default-src 'none'; script-src 'self'; style-src 'self';"), "{path}: {policy}");
        assert!(policy.contains("frame-ancestors 'none'") && !policy.contains("unsafe"), "{policy}");
        assert_eq!((header("x-content-type-options"), header("cache-control")), ("nosniff", "no-store"), "{path}");
        assert_eq!((header("x-frame-options"), header("referrer-policy")), ("DENY", "same-origin"));
        for inline in ["<style", " style=", "onclick", "onload", "<script>", "javascript:"] {
            answer.lacks(inline);
        }
    }
    assert_eq!(visitor.get("/nowhere").await.status, 404);
    assert_eq!(visitor.get("/accounts/actions").await.status, 405);
    let page = visitor.get("/accounts").await;
    let asset =
        page.body.split("src=\"").find_map(|rest| rest.split('"').next().filter(|url| url.ends_with(".js"))).unwrap();
    let script = visitor.get(asset).await;
    assert_eq!(
        (script.status, script.headers["cache-control"].to_str().unwrap()),
        (200, "public, max-age=31536000, immutable")
    );
    assert_eq!(visitor.get("/assets/0000000000000000/console.js").await.status, 404);
    assert_eq!(visitor.get("/assets/..%2f..%2fCargo.toml/x").await.status, 404);
    let large = visitor.post("/accounts/new", &[("description", &"x".repeat(70_000))]).await;
    assert_eq!(large.status, 413);
}
