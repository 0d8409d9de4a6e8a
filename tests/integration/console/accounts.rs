//! What the manual lets a person do, as requests; with text that tries to be more than text.

use std::sync::Arc;

use keyrota::clock::SystemClock;
use serde_json::json;

use super::{Console, OWNER, Visitor, person};
use crate::common::eventually;
use crate::common::operator::{Operator, SOON};

async fn with_owner() -> (Operator, Console, Visitor) {
    let operator = Operator::start().await;
    let console = Console::start(&operator, &[], Arc::new(SystemClock)).await;
    let owner = console.signed_in(&person(&operator, &operator.tenant.name, "owner", OWNER).await).await;
    (operator, console, owner)
}

fn form<'a>(namespace: &'a str, name: &'a str) -> Vec<(&'a str, &'a str)> {
    vec![("namespace", namespace), ("name", name), ("validity", "180"), ("rotation", "Automatic"), ("notify", "on")]
}

#[tokio::test(flavor = "multi_thread")]
async fn an_account_is_created_waited_for_shown_regenerated_and_deleted() {
    let (operator, _console, owner) = with_owner().await;
    let tenant = &operator.tenant.name;
    let mut typed = form(tenant, "exporter");
    typed.extend([("description", "Nightly\r\nexport"), ("email", "ops@example.com")]);
    let preview = owner.post("/accounts/new", &[typed.as_slice(), &[("intent", "preview")]].concat()).await;
    preview.has("validityDays: 180").has("email: ops@example.com");
    assert!(operator.accounts().get_opt("exporter").await.unwrap().is_none(), "a preview applies nothing");
    let answer = owner.post("/accounts/new", &typed).await;
    let home = format!("/accounts/{tenant}/exporter");
    assert_eq!((answer.status, answer.location()), (303, home.as_str()));
    assert_eq!(operator.accounts().get("exporter").await.unwrap().spec.description.as_deref(), Some("Nightly\nexport"));
    let page = eventually("the page has done waiting", SOON, async || {
        let page = owner.get(&home).await;
        let waits = page.body.contains("This page looks again by itself");
        assert_eq!(waits, page.body.contains("http-equiv=\"refresh\""), "also without scripts");
        (!waits).then_some(page)
    })
    .await;
    let (id, secret) = operator.credential("exporter-credentials").await;
    page.has(&id).lacks(&secret).has("<svg class=\"timeline\"");
    assert_eq!(page.value("client-secret").unwrap(), "•".repeat(32));
    let early = owner.get(&format!("{home}/regenerate?what=client-secret")).await;
    assert_eq!((early.status, early.location()), (303, home.as_str()), "first Show, then Regenerate");

    let shown = owner.post(&format!("{home}/secret"), &[]).await;
    assert_eq!(shown.value("client-secret").as_deref(), Some(secret.as_str()));
    assert_eq!(shown.headers["refresh"], format!("30;url={home}"), "hidden again without scripts, too");
    let events = operator.client.clone();
    let events: kube::Api<k8s_openapi::api::core::v1::Event> = kube::Api::namespaced(events, tenant);
    let all = events.list(&kube::api::ListParams::default()).await.unwrap().items;
    let told = all.iter().find(|event| event.reason.as_deref() == Some("ClientSecretShown")).unwrap();
    let message = format!("{} looked at the client secret in the console", super::user(tenant, "owner"));
    assert_eq!(told.message.as_deref(), Some(message.as_str()));
    owner.get(&home).await.lacks(&secret);

    let env = owner.post(&format!("{home}/download"), &[("as", "env")]).await;
    env.has(&format!("CLIENT_SECRET=\"{secret}\"\n"));
    assert!(env.headers["content-disposition"].to_str().unwrap().contains("exporter.env"));
    owner.post(&format!("{home}/download"), &[("as", "kubectl")]).await.has("kubectl apply").has(&secret);

    for (what, new_id) in [("client-secret", false), ("client-id", true)] {
        let before = operator.credential("exporter-credentials").await;
        let confirm = owner.get(&format!("{home}/regenerate?what={what}")).await;
        confirm.has("stops working at once").has("never used").has("No workload");
        assert_eq!(owner.post(&format!("{home}/regenerate"), &[("what", what)]).await.location(), home);
        let after = operator.next_credential("exporter-credentials", &before).await;
        assert!(after.1 != before.1 && (after.0 != before.0) == new_id, "{what}");
        eventually("the page has done waiting", SOON, async || {
            let page = owner.get(&home).await;
            (!page.body.contains("This page looks again by itself")).then_some(())
        })
        .await;
    }

    let uid = operator.accounts().get("exporter").await.unwrap().metadata.uid.unwrap();
    let key = format!("{tenant}/exporter/{uid}");
    let confirm = owner.post("/accounts/actions", &[("action", "delete"), ("account", &key)]).await;
    confirm.has("Delete this account?");
    assert!(operator.accounts().get_opt("exporter").await.unwrap().is_some());
    owner.post("/accounts/actions", &[("action", "delete"), ("account", &key), ("confirmed", "yes")]).await;
    owner.get("/accounts").await.has(&format!("Deleted {tenant}/exporter."));
    let listed = eventually("the deleted account is in the inventory", SOON, async || {
        let page = owner.get("/accounts?status=deleted").await;
        page.body.contains("1–1 of 1").then_some(page)
    })
    .await;
    listed.has("exporter").has("<span class=\"badge deleted\">Deleted</span>").lacks("href=\"/accounts/test");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_external_account_needs_a_client_id_and_has_no_secret() {
    let (operator, _console, owner) = with_owner().await;
    let tenant = &operator.tenant.name;
    let mut typed = form(tenant, "crawler");
    typed.push(("external", "on"));
    let answer = owner.post("/accounts/new", &typed).await;
    assert_eq!(answer.status, 422);
    answer.has("id=\"client-id-error\"").has("authentication.externalClientId is required with mode External");
    typed.push(("client-id", "system:serviceaccount:shop:crawler"));
    assert_eq!(owner.post("/accounts/new", &typed).await.status, 303);
    let spec = operator.accounts().get("crawler").await.unwrap().spec;
    assert!(spec.client_secret.is_none() && spec.contact.is_none());
    let page = owner.get(&format!("/accounts/{tenant}/crawler")).await;
    page.has("system:serviceaccount:shop:crawler")
        .lacks("Client Secret Settings")
        .lacks("Contact Information")
        .lacks(">Show<");
}

/// A name of 242 characters: one that an object may have, but not with `-credentials` behind it.
const LONGEST_AND_ONE: &str = "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb\
                               .cccccccccccccccccccccccccccccccccccccccccccccccccccccccccccc.ddddddddddddddddddddddddddddddddddddddddddddddddddddddddddd";

#[tokio::test(flavor = "multi_thread")]
async fn what_the_api_server_refuses_is_said_beside_its_field_and_nothing_typed_is_lost() {
    let (operator, _console, owner) = with_owner().await;
    let tenant = operator.tenant.name.clone();
    let cases = [
        ("name", "Not A Name", "name", "a lowercase RFC 1123 subdomain"),
        ("name", "", "name", "name or generateName is required"),
        ("name", LONGEST_AND_ONE, "name", "must be at most 241 characters"),
        ("validity", "0", "validity", "should be greater than or equal to 1"),
        ("validity", "366", "validity", "should be less than or equal to 365"),
        ("validity", "-1", "validity", "should be greater than or equal to 1"),
        ("validity", "9007199254740993", "validity", "365"),
        ("validity", "1.5", "validity", "must be of type integer"),
        ("validity", "ninety", "validity", "must be of type integer"),
        ("validity", "", "validity", "must be of type integer"),
        ("rotation", "Sometimes", "rotation", "supported values"),
        ("email", "Ops <ops@example.com>", "email", "spec.contact.email in body should match"),
        ("email", "a@b.c, d@e.f", "email", "should match"),
        ("description", "a\u{202e}b", "description", "control characters"),
        ("description", "a\u{1b}[31mb", "description", "control characters"),
        ("namespace", "no-such-namespace", "namespace", "not found"),
        ("namespace", "UPPER", "namespace", "lowercase"),
    ];
    for (field, value, beside, words) in cases {
        let mut typed = form(&tenant, "a-name");
        typed.push(("description", "kept"));
        typed.push(("email", "kept@example.com"));
        typed.retain(|(name, _)| *name != field);
        typed.push((field, value));
        let answer = owner.post("/accounts/new", &typed).await;
        if value == "no-such-namespace" {
            // Rights come before existence: RBAC knows nothing of that namespace.
            assert_eq!(answer.status, 403);
            answer.has("kept@example.com");
            continue;
        }
        assert_eq!(answer.status, 422, "{field}={value}: {}", answer.body);
        let error = answer.body.split(&format!("id=\"{beside}-error\">")).nth(1);
        let error = error.and_then(|rest| rest.split("</p>").next()).unwrap_or_default();
        assert!(error.contains(words), "{field}={value:?}: {error:?}");
        for (_, kept) in typed.iter().filter(|(name, kept)| *name != "notify" && !kept.contains(['<', '\u{1b}'])) {
            assert!(answer.body.contains(kept), "{kept:?} was lost with {field}={value:?}");
        }
    }
}

/// What tries to be more than text, in every field that takes text.
const HOSTILE: [&str; 8] = [
    "<script>alert(1)</script>",
    "\"><img src=x onerror=alert(1)>",
    "' onfocus='alert(1)' autofocus='",
    "</textarea><script>alert(1)</script>",
    "{{ 7919 * 7919 }} ${7919*7919} {% raw %}",
    "javascript:alert(1)",
    "--><svg/onload=alert(1)>",
    "<!--#include virtual=\"/etc/passwd\"-->",
];

#[tokio::test(flavor = "multi_thread")]
async fn text_stays_text_wherever_it_is_shown() {
    let (operator, _console, owner) = with_owner().await;
    let tenant = operator.tenant.name.clone();
    for (number, hostile) in HOSTILE.into_iter().enumerate() {
        let name = format!("a{number}");
        let mut typed = form(&tenant, &name);
        typed.push(("description", hostile));
        assert_eq!(owner.post("/accounts/new", &typed).await.status, 303, "{hostile}");
        let encoded: String = form_urlencoded::byte_serialize(hostile.as_bytes()).collect();
        let mut everywhere: Vec<(&str, &str)> = form(hostile, hostile);
        everywhere.retain(|(name, _)| *name != "validity" && *name != "rotation");
        everywhere.extend(
            ["description", "validity", "rotation", "email", "client-id", "trusted-issuer"]
                .map(|field| (field, hostile)),
        );
        let preview = [everywhere.as_slice(), &[("intent", "preview")]].concat();
        let external = [everywhere.as_slice(), &[("intent", "preview"), ("external", "on")]].concat();
        let pages = [
            owner.get("/accounts").await,
            owner.get(&format!("/accounts?q={encoded}&namespace={encoded}&sort={encoded}&status={encoded}")).await,
            owner.get(&format!("/accounts/{tenant}/{name}")).await,
            owner.get(&format!("/accounts/new?namespace={encoded}")).await,
            owner.post("/accounts/new", &everywhere).await,
            owner.post("/accounts/new", &preview).await,
            owner.post("/accounts/new", &external).await,
            owner.post(&format!("/accounts/{tenant}/{name}"), &preview).await,
            owner.post("/accounts/actions", &[("action", hostile), ("account", hostile), ("back", hostile)]).await,
            owner.get(&format!("/signin?next={encoded}")).await,
            owner.get(&format!("/accounts/{encoded}/{encoded}")).await,
        ];
        for page in pages.iter().filter(|page| !page.body.is_empty()) {
            for tag in [
                "<script>alert",
                "<img",
                "<svg/onload",
                "<!--#",
                "' onfocus=",
                "href=\"javascript:",
                "action=\"javascript:",
                "></textarea><script",
            ] {
                assert!(tag == "<img" || !page.body.contains(tag), "{tag} {}", page.body);
            }
            assert_eq!(page.body.matches("<img").count(), page.body.matches("<img src=\"/assets/").count());
            assert_eq!(page.body.matches("<script").count(), 2, "{}", page.body);
            page.lacks("62710561");
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn one_account_that_fails_does_not_stop_the_rest() {
    let (operator, _console, owner) = with_owner().await;
    let tenant = operator.tenant.name.clone();
    let mut keys = Vec::new();
    for name in ["a", "b", "c"] {
        let account = operator.ready(name, json!({})).await;
        keys.push(format!("{tenant}/{name}/{}", account.metadata.uid.unwrap()));
    }
    // One that was recreated since: the check box means the one that was seen.
    keys[1] = format!("{tenant}/b/00000000-0000-0000-0000-000000000000");
    let mut chosen: Vec<(&str, &str)> = keys.iter().map(|key| ("account", key.as_str())).collect();
    chosen.push(("back", "/accounts?size=50"));
    let act = |action: &'static str| [chosen.as_slice(), &[("action", action), ("confirmed", "yes")]].concat();
    let answer = owner.post("/accounts/actions", &act("disable")).await;
    assert_eq!((answer.status, answer.location()), (303, "/accounts?size=50"));
    let page = owner.get("/accounts").await;
    page.has("Disabled 2 of 3 accounts.").has(&format!("{tenant}/b"));
    owner.get("/accounts").await.lacks("Disabled 2 of 3");
    let enabled = async |name: &str| operator.accounts().get(name).await.unwrap().spec.enabled;
    assert_eq!((enabled("a").await, enabled("b").await, enabled("c").await), (false, true, false));
    owner.post("/accounts/actions", &act("enable")).await;
    assert_eq!((enabled("a").await, enabled("c").await), (true, true));
    owner.post("/accounts/actions", &act("delete")).await;
    owner.get("/accounts").await.has("Deleted 2 of 3 accounts.");
    let left: Vec<_> = operator.accounts().list(&Default::default()).await.unwrap().items;
    assert_eq!(left.iter().filter_map(|a| a.metadata.name.as_deref()).collect::<Vec<_>>(), ["b"]);
    owner.post("/accounts/actions", &[("action", "enable")]).await;
    owner.get("/accounts").await.has("Tick the accounts first.");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_edit_holds_only_what_was_changed_and_never_overwrites_somebody_elses() {
    let (operator, _console, owner) = with_owner().await;
    let tenant = operator.tenant.name.clone();
    operator.ready("exporter", json!({})).await;
    let home = format!("/accounts/{tenant}/exporter");
    let edit = |description: &'static str, generation: &'static str| {
        vec![
            ("description", description),
            ("generation", generation),
            ("validity", "180"),
            ("rotation", "Automatic"),
            ("notify", "on"),
        ]
    };
    assert_eq!(owner.post(&home, &edit("mine", "1")).await.location(), home);
    let after = operator.accounts().get("exporter").await.unwrap();
    assert_eq!(after.spec.description.as_deref(), Some("mine"));
    assert!(after.spec.client_secret.is_none(), "defaults are not written");
    operator.edit("exporter", json!({"spec": {"enabled": false}})).await;
    let late = owner.post(&home, &edit("late", "2")).await;
    assert_eq!(late.status, 409);
    late.has("changed by somebody else").has("late").has("name=\"generation\" value=\"3\"");
    assert_eq!(owner.post(&home, &edit("late", "3")).await.location(), home);
    let after = operator.accounts().get("exporter").await.unwrap();
    assert_eq!((after.spec.description.as_deref(), after.spec.enabled), (Some("late"), false));
    let bad = owner.post(&home, &[edit("kept", "4").as_slice(), &[("email", "no address")]].concat()).await;
    assert_eq!(bad.status, 422);
    bad.has("id=\"email-error\"").has("no address").has("kept");
    operator.edit("exporter", json!({"metadata": {"labels": {"argocd.argoproj.io/instance": "shop"}}})).await;
    owner.get(&home).await.has("Argo CD owns this account");
}
