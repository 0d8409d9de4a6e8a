//! ServiceAccounts, case by case.

use serde_json::{Value, json};

use super::By::{Admission, Both};
use super::{Kind, Refused, Server};

/// `spec.clientSecret`
fn secret(settings: Value) -> Value {
    json!({"clientSecret": settings})
}

fn template(template: Value) -> Value {
    secret(json!({"template": template}))
}

fn internal(authentication: Value) -> Value {
    let mut spec = json!({"authentication": {"mode": "Internal"}});
    merge(&mut spec, json!({"authentication": authentication}));
    spec
}

fn external(more: Value) -> Value {
    let mut spec = json!({"authentication": {"mode": "External", "externalClientId": "someone"}});
    merge(&mut spec, more);
    spec
}

fn selector(selector: Value) -> Value {
    json!({"rolloutRestart": [{"kind": "Deployment", "selector": selector}]})
}

fn email(address: &str) -> Value {
    json!({"contact": {"email": address}})
}

/// Puts the fields of `more` into `spec`.
fn merge(spec: &mut Value, more: Value) {
    match (spec, more) {
        (Value::Object(spec), Value::Object(more)) => {
            more.into_iter().for_each(|(key, value)| merge(spec.entry(key).or_insert(Value::Null), value));
        }
        (spec, more) => *spec = more,
    }
}

fn groups(count: usize) -> Value {
    json!({"userGroups": (0..count).map(|n| format!("group-{n}")).collect::<Vec<_>>()})
}

fn labels(count: usize) -> Value {
    (0..count).map(|n| (format!("key-{n}"), json!("value"))).collect::<serde_json::Map<_, _>>().into()
}

#[tokio::test]
async fn what_the_edges_allow_is_let_in_and_read() {
    let server = Server::new().await;
    server.accepts(Kind::ServiceAccount, [
        json!({}),
        json!({"enabled": false}),
        json!({"description": ""}),
        json!({"description": "x".repeat(1024)}),
        secret(json!({})),
        secret(json!({"validityDays": 1})),
        secret(json!({"validityDays": 365})),
        secret(json!({"validityDays": 1, "overlap": "8h"})),
        secret(json!({"validityDays": 1, "overlap": "7h59m60s"})),
        secret(json!({"validityDays": 365, "overlap": "2920h"})),
        secret(json!({"overlap": "1s"})),
        secret(json!({"overlap": "0h0m1s"})),
        secret(json!({"rotation": "Manual", "expiryNotifications": false})),
        secret(json!({"secretName": "a".repeat(253)})),
        secret(json!({"secretName": "tls.example.com"})),
        template(json!({})),
        template(json!({"labels": {"team": "payments", "example.com/cost-centre": ""}})),
        template(json!({"labels": labels(32)})),
        template(json!({"annotations": {"reloader.stakater.com/match": "true", "note": "a b\nc"}})),
        template(json!({"annotations": {"note": "x".repeat(4096)}})),
        template(json!({"keys": {"client-id": "CLIENT_ID", "ca.crt": "tls.crt", "type": "kind"}})),
        // Names may be swapped, as long as each is there once.
        template(json!({"keys": {"client-id": "client-secret", "client-secret": "client-id"}})),
        template(json!({"keys": {"issuer": "x".repeat(253)}})),
        template(json!({"extraData": {"tenant": "acme", ".dot_file-1": "\u{1b}[0m\r\n"}})),
        template(json!({"extraData": {"x".repeat(253): "x".repeat(16384)}})),
        template(json!({"keys": {"issuer": "ISSUER"}, "extraData": {"OTHER": "x"}})),
        email("a@b"),
        email("first.last+tag@mail.example.com"),
        email(&format!("{}@example.com", "x".repeat(242))),
        json!({"contact": {}}),
        groups(64),
        json!({"userGroups": ["a".repeat(253)]}),
        json!({"regenerate": {"clientSecret": 9_007_199_254_740_993_i64, "clientId": i64::MAX}}),
        json!({"rolloutRestart": [{"kind": "DaemonSet", "name": "agent"}, {"kind": "StatefulSet", "name": "db"}]}),
        selector(json!({"matchLabels": {"app.kubernetes.io/name": "exporter"}})),
        selector(json!({"matchExpressions": [
            {"key": "app", "operator": "In", "values": ["a", "b"]},
            {"key": "canary", "operator": "DoesNotExist"},
        ]})),
        external(json!({})),
        external(json!({"enabled": false, "description": "x", "userGroups": ["readers"]})),
        external(json!({"authentication": {"externalClientId": "x".repeat(255)}})),
        external(json!({"authentication": {"externalClientId": "repo:acme/shop:ref:refs/heads/main"}})),
        external(json!({"authentication": {"externalClientId": "CN=a b, O=Acme"}})),
        external(json!({"authentication": {"trustedIssuer": "GitHub Actions"}})),
        // An object that says nothing by them: what a form sends.
        external(json!({"regenerate": {"clientSecret": 0, "clientId": 0}, "rolloutRestart": [], "userGroups": []})),
    ])
    .await;
}

#[tokio::test]
async fn bad_settings_of_the_secret_are_refused_by_name() {
    let days = |days: Value| secret(json!({"validityDays": days}));
    let overlap = |overlap: &str| secret(json!({"validityDays": 1, "overlap": overlap}));
    let cases: Vec<Refused> = vec![
        (Both, days(json!(0)), "clientSecret.validityDays"),
        (Both, days(json!(-1)), "clientSecret.validityDays"),
        (Both, days(json!(366)), "clientSecret.validityDays"),
        (Both, days(json!(9_007_199_254_740_993_i64)), "clientSecret.validityDays"),
        (Both, days(json!(f64::MAX)), "clientSecret.validityDays"),
        (Both, days(json!(1.5)), "clientSecret.validityDays"),
        (Both, days(json!("30")), "clientSecret.validityDays"),
        (Both, secret(json!({"rotation": "automatic"})), "clientSecret.rotation"),
        (Both, secret(json!({"rotation": "Never"})), "clientSecret.rotation"),
        (Both, overlap("-0"), "clientSecret.overlap"),
        (Both, overlap("-1h"), "clientSecret.overlap"),
        (Both, overlap("0s"), "clientSecret.overlap"),
        (Both, overlap("1ns"), "clientSecret.overlap"),
        (Both, overlap("500ms"), "clientSecret.overlap"),
        (Both, overlap("1.5h"), "clientSecret.overlap"),
        (Both, overlap("P1D"), "clientSecret.overlap"),
        (Both, overlap("1d"), "clientSecret.overlap"),
        (Both, overlap("NaN"), "clientSecret.overlap"),
        (Both, overlap("Inf"), "clientSecret.overlap"),
        (Both, overlap(""), "clientSecret.overlap"),
        (Both, overlap(" 1h"), "clientSecret.overlap"),
        (Both, overlap("1h\n"), "clientSecret.overlap"),
        (Both, overlap("3600"), "clientSecret.overlap"),
        (Both, overlap("8h1s"), "clientSecret.overlap"),
        (Both, overlap("25h"), "clientSecret.overlap"),
        (Both, secret(json!({"overlap": "1441h"})), "clientSecret.overlap"),
        // More than Go's durations can hold, whose sum would wrap round to a small one.
        (Both, overlap("999999h999999h999999h999999h"), "clientSecret.overlap"),
        (Both, overlap("1h1h1h1h1h1h1h1h1h1h1h1h1h1h1h1h1h"), "clientSecret.overlap"),
        (Admission, secret(json!({"secretName": ""})), "clientSecret.secretName"),
        (Admission, secret(json!({"secretName": "Login"})), "clientSecret.secretName"),
        (Admission, secret(json!({"secretName": "../login"})), "clientSecret.secretName"),
        (Admission, secret(json!({"secretName": "a/b"})), "clientSecret.secretName"),
        (Admission, secret(json!({"secretName": "login."})), "clientSecret.secretName"),
        (Admission, secret(json!({"secretName": "a".repeat(254)})), "clientSecret.secretName"),
        (Both, secret(json!({"expiryNotifications": "yes"})), "clientSecret.expiryNotifications"),
    ];
    Server::new().await.refuses(Kind::ServiceAccount, cases).await;
}

#[tokio::test]
async fn what_would_break_the_published_secret_is_refused_by_name() {
    let cases: Vec<Refused> = vec![
        (Both, template(json!({"labels": {"keyrota.dev/account": "x"}})), "template.labels"),
        (Both, template(json!({"labels": {"app.kubernetes.io/managed-by": "Helm"}})), "template.labels"),
        (Admission, template(json!({"labels": {"a b": "x"}})), "template.labels"),
        (Admission, template(json!({"labels": {"": "x"}})), "template.labels"),
        (Admission, template(json!({"labels": {"x".repeat(64): "x"}})), "template.labels"),
        (Admission, template(json!({"labels": {"team": "x".repeat(64)}})), "template.labels"),
        (Admission, template(json!({"labels": {"team": "a b"}})), "template.labels"),
        (Admission, template(json!({"labels": labels(33)})), "template.labels"),
        (Both, template(json!({"labels": {"team": 1}})), "template.labels"),
        (Both, template(json!({"annotations": {"keyrota.dev/regenerate": "x"}})), "template.annotations"),
        (Admission, template(json!({"annotations": {"a/b/c": "x"}})), "template.annotations"),
        (Admission, template(json!({"annotations": {"note": "x".repeat(4097)}})), "template.annotations"),
        (Admission, template(json!({"annotations": labels(33)})), "template.annotations"),
        (Admission, template(json!({"keys": {"client-id": ""}})), "template.keys.client-id"),
        (Admission, template(json!({"keys": {"client-id": "a b"}})), "template.keys.client-id"),
        (Admission, template(json!({"keys": {"ca.crt": "../ca"}})), "template.keys.ca.crt"),
        (Admission, template(json!({"keys": {"token-url": "x".repeat(254)}})), "template.keys.token-url"),
        (Both, template(json!({"keys": {"client-id": "same", "client-secret": "same"}})), "template.keys"),
        (Both, template(json!({"keys": {"client-id": "client-secret"}})), "template.keys"),
        (Both, template(json!({"keys": {"provider": "type"}})), "template.keys"),
        (Admission, template(json!({"keys": {"client_id": "x"}})), "template.keys.client_id"),
        (Both, template(json!({"extraData": {"client-id": "x"}})), "template.extraData"),
        (Both, template(json!({"extraData": {"ca.crt": "x"}})), "template.extraData"),
        (Both, template(json!({"extraData": {"provider": "x"}})), "template.extraData"),
        // Reserved even where it is published under another name: programs look for it.
        (Both, template(json!({"keys": {"client-id": "ID"}, "extraData": {"client-id": "x"}})), "template.extraData"),
        (Both, template(json!({"keys": {"client-id": "ID"}, "extraData": {"ID": "x"}})), "template.extraData"),
        (Admission, template(json!({"extraData": {"a b": "x"}})), "template.extraData"),
        (Admission, template(json!({"extraData": {"": "x"}})), "template.extraData"),
        (Admission, template(json!({"extraData": {"x".repeat(254): "x"}})), "template.extraData"),
        (Admission, template(json!({"extraData": {"big": "x".repeat(16385)}})), "template.extraData"),
        (Admission, template(json!({"extraData": labels(33)})), "template.extraData"),
        (Admission, template(json!({"extraData": labels(10_000)})), "template.extraData"),
    ];
    Server::new().await.refuses(Kind::ServiceAccount, cases).await;
}

#[tokio::test]
async fn internal_and_external_contradictions_are_refused_by_name() {
    let cases: Vec<Refused> = vec![
        (Both, json!({"authentication": {"mode": "External"}}), "authentication.externalClientId"),
        (Both, json!({"authentication": {"externalClientId": "x"}}), "authentication.externalClientId"),
        (Both, internal(json!({"externalClientId": "x"})), "authentication.externalClientId"),
        (Admission, internal(json!({"trustedIssuer": "github"})), "authentication.trustedIssuer"),
        (Both, internal(json!({"mode": "internal"})), "authentication.mode"),
        (Both, internal(json!({"mode": ""})), "authentication.mode"),
        (Both, external(json!({"authentication": {"externalClientId": ""}})), "authentication.externalClientId"),
        (
            Both,
            external(json!({"authentication": {"externalClientId": "x".repeat(256)}})),
            "authentication.externalClientId",
        ),
        (Admission, external(json!({"authentication": {"externalClientId": " x"}})), "authentication.externalClientId"),
        (
            Admission,
            external(json!({"authentication": {"externalClientId": "x\n"}})),
            "authentication.externalClientId",
        ),
        (Admission, external(json!({"authentication": {"externalClientId": "ü"}})), "authentication.externalClientId"),
        (Admission, external(json!({"authentication": {"trustedIssuer": ""}})), "authentication.trustedIssuer"),
        (
            Admission,
            external(json!({"authentication": {"trustedIssuer": "x".repeat(256)}})),
            "authentication.trustedIssuer",
        ),
        (Admission, external(json!({"authentication": {"trustedIssuer": "a\u{1b}b"}})), "authentication.trustedIssuer"),
        (Both, external(json!({"clientSecret": {}})), "clientSecret is only for"),
        (Both, external(json!({"clientSecret": {"validityDays": 30}})), "clientSecret is only for"),
        (Admission, external(json!({"contact": {}})), "contact is only for"),
        (Admission, external(json!({"contact": {"email": "a@example.com"}})), "contact is only for"),
        (Admission, external(json!({"regenerate": {"clientSecret": 1}})), "regenerate is only for"),
        (Admission, external(json!({"regenerate": {"clientId": 1}})), "regenerate is only for"),
        (
            Admission,
            external(json!({"rolloutRestart": [{"kind": "Deployment", "name": "a"}]})),
            "rolloutRestart is only for",
        ),
    ];
    Server::new().await.refuses(Kind::ServiceAccount, cases).await;
}

#[tokio::test]
async fn bad_contacts_groups_triggers_and_workloads_are_refused_by_name() {
    let workload = |workload: Value| json!({"rolloutRestart": [workload]});
    let many = |count: usize| json!({"rolloutRestart": vec![json!({"kind": "Deployment", "name": "a"}); count]});
    let cases: Vec<Refused> = vec![
        (Admission, email(""), "contact.email"),
        (Admission, email("nobody"), "contact.email"),
        (Admission, email("Team A <a@example.com>"), "contact.email"),
        (Admission, email("<a@example.com>"), "contact.email"),
        (Admission, email("\"a b\"@example.com"), "contact.email"),
        (Admission, email("a@example.com (a comment)"), "contact.email"),
        (Admission, email("a@example.com,b@example.com"), "contact.email"),
        (Admission, email("a@example.com;b@example.com"), "contact.email"),
        (Admission, email("a@example.com\r\nBcc: b@example.com"), "contact.email"),
        (Admission, email("a@example.com\n"), "contact.email"),
        (Admission, email("a@b@example.com"), "contact.email"),
        (Admission, email("a@-example.com"), "contact.email"),
        (Admission, email("a@example..com"), "contact.email"),
        (Admission, email("a@[127.0.0.1]"), "contact.email"),
        (Admission, email(&format!("{}@example.com", "x".repeat(243))), "contact.email"),
        (Both, groups(65), "userGroups"),
        (Admission, json!({"userGroups": ["a", "b", "a"]}), "userGroups"),
        (Admission, json!({"userGroups": [""]}), "userGroups"),
        (Admission, json!({"userGroups": ["Readers"]}), "userGroups"),
        (Admission, json!({"userGroups": ["a".repeat(254)]}), "userGroups"),
        (Both, json!({"userGroups": [null]}), "userGroups"),
        (Both, json!({"userGroups": "readers"}), "userGroups"),
        (Admission, json!({"regenerate": {"clientSecret": -1}}), "regenerate.clientSecret"),
        (Admission, json!({"regenerate": {"clientId": -1}}), "regenerate.clientId"),
        (Both, json!({"regenerate": {"clientId": 0.5}}), "regenerate.clientId"),
        (Both, json!({"regenerate": {"clientId": 18_446_744_073_709_551_615_u64}}), "regenerate.clientId"),
        (Both, json!({"regenerate": {"clientSecret": "1"}}), "regenerate.clientSecret"),
        (Both, workload(json!({"name": "a"})), "rolloutRestart[0].kind"),
        (Both, workload(json!({"kind": "CronJob", "name": "a"})), "rolloutRestart[0].kind"),
        (Admission, workload(json!({"kind": "Deployment"})), "rolloutRestart: give exactly one of"),
        (
            Admission,
            workload(json!({"kind": "Deployment", "name": "a", "selector": {"matchLabels": {"app": "a"}}})),
            "rolloutRestart: give exactly one of",
        ),
        (Admission, workload(json!({"kind": "Deployment", "name": "a/b"})), "rolloutRestart[0].name"),
        (
            Admission,
            workload(json!({"kind": "Deployment", "name": "a", "namespace": "b"})),
            "rolloutRestart[0].namespace",
        ),
        (Admission, many(33), "rolloutRestart"),
        (Admission, selector(json!({})), "rolloutRestart.selector may not be empty"),
        (Admission, selector(json!({"matchLabels": {}})), "rolloutRestart.selector may not be empty"),
        (Admission, selector(json!({"matchLabels": {"a b": "x"}})), "selector.matchLabels"),
        (Admission, selector(json!({"matchLabels": {"app": "a b"}})), "selector.matchLabels"),
        (Admission, selector(json!({"matchLabels": labels(17)})), "selector.matchLabels"),
        (
            Admission,
            selector(json!({"matchExpressions": [{"key": "app", "operator": "Like", "values": ["a"]}]})),
            "selector.matchExpressions",
        ),
        (
            Admission,
            selector(json!({"matchExpressions": [{"key": "app", "operator": "In"}]})),
            "selector.matchExpressions",
        ),
        (
            Admission,
            selector(json!({"matchExpressions": [{"key": "app", "operator": "Exists", "values": ["a"]}]})),
            "selector.matchExpressions",
        ),
        (
            Admission,
            selector(json!({"matchExpressions": [{"key": "a b", "operator": "Exists"}]})),
            "selector.matchExpressions",
        ),
    ];
    Server::new().await.refuses(Kind::ServiceAccount, cases).await;
}

/// Prose is anybody's: what a display can encode is let in, what it cannot is refused.
#[tokio::test]
async fn a_description_is_prose_in_any_script_and_nothing_that_a_terminal_obeys() {
    let described = |text: &str| json!({"description": text});
    let server = Server::new().await;
    let prose = [
        "Zertifikate für München – täglich",
        "שלום עולם",
        "می\u{200c}خواهم",
        "👩\u{200d}💻 zero\u{200b}width",
        "two\nlines\tand a tab",
        "<script>alert(1)</script> <b>bold</b>",
        "{{ .Values.secret }} ${HOME} $(id) `id` %s %n",
        "../../etc/passwd; DROP TABLE accounts; --",
    ];
    for kind in [Kind::ServiceAccount, Kind::UserGroup] {
        server.accepts(kind, prose.map(described)).await;
        let refused = [
            "a NUL\0",
            "\u{1b}[31mred\u{1b}[0m",
            "\u{9b}31mred",
            "a line\r\nlevel=error forged",
            "a bell \u{7}",
            "rubbed out \u{7f}",
            "a line\u{2028}separator",
            "gpj.\u{202e}exe",
            "isolated \u{2066}text\u{2069}",
        ];
        server.refuses(kind, refused.map(|text| (Admission, described(text), "description"))).await;
        server.refuses(kind, [(Admission, described(&"x".repeat(1025)), "description")]).await;
    }
}

#[tokio::test]
async fn a_name_leaves_room_for_the_names_that_derive_from_it() {
    let server = Server::new().await;
    let named = |length: usize| {
        let mut object = Kind::ServiceAccount.object(json!({}));
        object["metadata"]["name"] = "a".repeat(length).into();
        object
    };
    let stored = server.dry_run(Kind::ServiceAccount, &named(241)).await.unwrap();
    Kind::ServiceAccount.parse(stored).unwrap();
    for length in [242, 253] {
        let message = server.dry_run(Kind::ServiceAccount, &named(length)).await.unwrap_err();
        assert!(message.contains("metadata.name must be at most 241 characters"), "{message}");
        assert!(Kind::ServiceAccount.parse(named(length)).is_err(), "{length}");
    }
}

/// Each case: the spec as it is stored, the change, and what the refusal says.
#[tokio::test]
async fn what_is_fixed_after_creation_can_be_neither_changed_nor_added_nor_removed() {
    let server = Server::new().await;
    let named = secret(json!({"secretName": "login"}));
    let trusting = external(json!({"authentication": {"trustedIssuer": "github"}}));
    let mode = "authentication.mode is immutable";
    let client_id = "authentication.externalClientId is immutable";
    let issuer = "authentication.trustedIssuer is immutable";
    let name = "clientSecret.secretName may not be added, changed or removed";
    let cases = [
        (json!({}), json!({"authentication": {"mode": "External", "externalClientId": "x"}}), mode),
        (external(json!({})), json!({"authentication": {"mode": "Internal", "externalClientId": null}}), mode),
        (external(json!({})), json!({"authentication": null}), mode),
        (external(json!({})), json!({"authentication": {"externalClientId": "another"}}), client_id),
        (external(json!({})), json!({"authentication": {"externalClientId": null}}), "externalClientId is required"),
        (external(json!({})), json!({"authentication": {"trustedIssuer": "github"}}), issuer),
        (trusting.clone(), json!({"authentication": {"trustedIssuer": "gitlab"}}), issuer),
        (trusting, json!({"authentication": {"trustedIssuer": null}}), issuer),
        (json!({}), json!({"clientSecret": {"secretName": "login"}}), name),
        (secret(json!({})), json!({"clientSecret": {"secretName": "login"}}), name),
        (named.clone(), json!({"clientSecret": {"secretName": "another"}}), name),
        (named.clone(), json!({"clientSecret": {"secretName": null}}), name),
        (named.clone(), json!({"clientSecret": null}), name),
    ];
    for (number, (stored, change, says)) in cases.into_iter().enumerate() {
        let mut object = Kind::ServiceAccount.object(stored.clone());
        object["metadata"]["name"] = format!("fixed-{number}").into();
        server.create(Kind::ServiceAccount, &object).await;
        let patch = json!({"spec": change});
        let answer = server.change(Kind::ServiceAccount, &format!("fixed-{number}"), &patch).await;
        let message = answer.expect_err(&format!("{stored} became {change}"));
        assert!(message.contains(says), "{stored} to {change}: {message}");
        // Everything else about the same account can still be edited.
        let editable = json!({"spec": {"description": "edited", "enabled": false, "userGroups": ["readers"]}});
        server.change(Kind::ServiceAccount, &format!("fixed-{number}"), &editable).await.unwrap();
    }
}
