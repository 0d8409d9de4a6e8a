//! Nobody sees or does by the console what Kubernetes would not let them.

use std::sync::Arc;

use k8s_openapi::api::authorization::v1::SubjectAccessReview;
use keyrota::api::{CREATED_BY, UserGroup};
use keyrota::clock::SystemClock;
use kube::Api;
use kube::api::{DeleteParams, PostParams};
use serde_json::json;

use super::{Console, OWNER, VIEWER, may_assign, person, user};
use crate::common::operator::{Operator, SOON, kubectl};
use crate::common::{eventually, namespace};

/// An account that somebody created.
async fn created_by(operator: &Operator, name: &str, creator: &str) {
    let object = json!({
        "apiVersion": "keyrota.dev/v1alpha1", "kind": "ServiceAccount",
        "metadata": {"name": name, "annotations": {CREATED_BY: creator}},
        "spec": {"description": format!("canary-{name}")},
    });
    let object = serde_json::from_value(object).unwrap();
    operator.accounts().create(&PostParams::default(), &object).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn holders_of_listown_see_their_own_accounts_on_the_page_in_searches_and_in_exports() {
    let operator = Operator::start().await;
    let tenant = &operator.tenant.name;
    let rules =
        "[{apiGroups: [keyrota.dev], resources: [serviceaccounts], verbs: [listown, get, create, update, patch]}]";
    let token = person(&operator, tenant, "alice", rules).await;
    created_by(&operator, "hers", &user(tenant, "alice")).await;
    created_by(&operator, "his", &user(tenant, "bob")).await;
    let console = Console::start(&operator, &[], Arc::new(SystemClock)).await;
    let alice = console.signed_in(&token).await;
    for path in [
        "/accounts",
        "/accounts?q=canary",
        "/accounts?status=active",
        "/accounts.csv",
        "/accounts.csv?q=canary",
        &format!("/accounts?namespace={tenant}"),
    ] {
        let answer = alice.get(path).await;
        assert_eq!(answer.status, 200);
        answer.has("canary-hers").lacks("canary-his");
    }
    alice.get("/accounts").await.has("1–1 of 1").has("only the accounts that you created");
    alice.get("/accounts?q=his").await.has("No account matches");
    assert_eq!(alice.get(&format!("/accounts/{tenant}/hers")).await.status, 200);
    let his = alice.get(&format!("/accounts/{tenant}/his")).await;
    assert_eq!(his.status, 404, "what is not listed is not found by its address either");
    his.lacks("canary-his");
}

#[tokio::test(flavor = "multi_thread")]
async fn who_may_only_look_finds_everything_else_disabled_and_refused() {
    let operator = Operator::start().await;
    let tenant = &operator.tenant.name;
    let account = operator.ready("exporter", json!({"description": "before"})).await;
    let secret = operator.credential("exporter-credentials").await.1;
    let console = Console::start(&operator, &[], Arc::new(SystemClock)).await;
    let viewer = console.signed_in(&person(&operator, tenant, "viewer", VIEWER).await).await;
    let home = format!("/accounts/{tenant}/exporter");
    let key = format!("{tenant}/exporter/{}", account.metadata.uid.unwrap());

    let list = viewer.get(&format!("/accounts?namespace={tenant}")).await;
    list.has(&format!(
        "value=\"{key}\" aria-label=\"Select exporter in {tenant}\" disabled title=\"You may neither change"
    ));
    list.has("You may not create accounts in this namespace").lacks("href=\"/accounts/new");
    list.has("You may look at these accounts, but neither change nor delete them.");
    viewer.get("/accounts").await.has("You may create accounts in none of these namespaces");
    let page = viewer.get(&home).await;
    page.has("You may look, but not change anything.")
        .has("cannot patch resource")
        .has("cannot delete resource")
        .has("You may not read the Secret exporter-credentials.");

    let tries = [
        (
            home.clone(),
            vec![
                ("description", "after"),
                ("generation", "1"),
                ("validity", "180"),
                ("rotation", "Automatic"),
                ("notify", "on"),
            ],
        ),
        (format!("{home}/secret"), vec![]),
        (format!("{home}/download"), vec![("as", "env")]),
        (format!("{home}/groups"), vec![("group", "x"), ("generation", "1")]),
        (
            "/accounts/new".into(),
            vec![("namespace", tenant.as_str()), ("name", "another"), ("validity", "180"), ("rotation", "Automatic")],
        ),
    ];
    for (path, form) in tries {
        let answer = viewer.post(&path, &form).await;
        assert_eq!(answer.status, 403, "{path}: {}", answer.body);
        answer.has("is forbidden").lacks(&secret);
    }
    let regenerated = viewer.post(&format!("{home}/regenerate"), &[("what", "client-secret")]).await;
    assert_eq!((regenerated.status, regenerated.location()), (303, home.as_str()), "it was never shown");
    for action in ["disable", "delete"] {
        let answer = viewer
            .post(
                "/accounts/actions",
                &[("action", action), ("account", &key), ("confirmed", "yes"), ("back", "/accounts")],
            )
            .await;
        assert_eq!(answer.status, 303);
        viewer.get("/accounts").await.has("Failed").has("is forbidden");
    }
    let after = operator.accounts().get("exporter").await.unwrap();
    assert_eq!((after.spec.description.as_deref(), after.metadata.generation), (Some("before"), Some(1)));
    assert!(operator.accounts().get_opt("another").await.unwrap().is_none());
    assert_eq!(operator.credential("exporter-credentials").await.1, secret);
}

/// As the chart's policy does: somebody else's account is not changed, whatever RBAC says. For one person.
const OWN_ALONE: &str = "{apiVersion: admissionregistration.k8s.io/v1, kind: ValidatingAdmissionPolicy, metadata: {name: own-TENANT}, spec: {
    matchConstraints: {namespaceSelector: {matchLabels: {kubernetes.io/metadata.name: TENANT}}, resourceRules: [
        {apiGroups: [keyrota.dev], apiVersions: ['*'], operations: [UPDATE, DELETE], resources: [serviceaccounts]}]},
    validations: [{message: these are not yours, reason: Forbidden, expression:
        \"!request.userInfo.username.endsWith(':alice') || oldObject.metadata.annotations['keyrota.dev/created-by'] == request.userInfo.username\"}]}}
---
{apiVersion: admissionregistration.k8s.io/v1, kind: ValidatingAdmissionPolicyBinding, metadata: {name: own-TENANT},
    spec: {policyName: own-TENANT, validationActions: [Deny]}}
";

#[tokio::test(flavor = "multi_thread")]
async fn what_an_admission_policy_would_refuse_is_disabled_with_its_words() {
    let operator = Operator::start().await;
    let tenant = &operator.tenant.name;
    kubectl(operator.control_plane, &["apply", "-f", "-"], &OWN_ALONE.replace("TENANT", tenant));
    let rules = "[{apiGroups: [keyrota.dev], resources: [serviceaccounts], verbs: [get, list, patch, delete]}]";
    let token = person(&operator, tenant, "alice", rules).await;
    created_by(&operator, "hers", &user(tenant, "alice")).await;
    created_by(&operator, "his", &user(tenant, "bob")).await;
    let console = Console::start(&operator, &[], Arc::new(SystemClock)).await;
    let alice = console.signed_in(&token).await;
    let list = eventually("the policy is in force", SOON, async || {
        let list = alice.get("/accounts").await;
        list.body.contains("these are not yours").then_some(list)
    })
    .await;
    let box_of = |name: &str| {
        let tag = list.body.split(&format!("aria-label=\"Select {name} in")).nth(1).unwrap();
        tag.split('>').next().unwrap().to_owned()
    };
    assert!(box_of("his").contains(" disabled title=") && box_of("his").contains("these are not yours"));
    assert!(!box_of("hers").contains("disabled"), "{}", box_of("hers"));
    let his = alice.get(&format!("/accounts/{tenant}/his")).await;
    his.has("You may look, but not change anything.");
    assert!(his.body.matches(" disabled title=\"").count() >= 3, "Disable, Delete and Update");
    alice.get(&format!("/accounts/{tenant}/hers")).await.lacks("You may look").lacks("these are not yours");
    kubectl(operator.control_plane, &["delete", "-f", "-"], &OWN_ALONE.replace("TENANT", tenant));
}

#[tokio::test(flavor = "multi_thread")]
async fn another_namespace_is_out_of_reach_by_any_address() {
    let operator = Operator::start().await;
    let tenant = &operator.tenant.name;
    let other = namespace(operator.control_plane).await;
    let theirs = kube::Api::<keyrota::api::ServiceAccount>::namespaced(operator.client.clone(), &other.name);
    let object = json!({"apiVersion": "keyrota.dev/v1alpha1", "kind": "ServiceAccount", "metadata": {"name": "vault"}, "spec": {"description": "canary-vault"}});
    let vault = theirs.create(&PostParams::default(), &serde_json::from_value(object).unwrap()).await.unwrap();
    let console = Console::start(&operator, &[&other.name], Arc::new(SystemClock)).await;
    let owner = console.signed_in(&person(&operator, tenant, "owner", OWNER).await).await;
    let everything = person(&operator, &other.name, "owner", OWNER).await;
    let insider = console.signed_in(&everything).await;
    insider.get("/accounts").await.has("canary-vault");

    for path in ["/accounts", "/accounts?q=canary", &format!("/accounts?namespace={}", other.name), "/accounts.csv"] {
        owner.get(path).await.lacks("canary-vault");
    }
    let (home, uid) = (format!("/accounts/{}/vault", other.name), vault.metadata.uid.unwrap());
    for path in [home.clone(), format!("{home}/groups"), format!("{home}/regenerate?what=client-secret")] {
        let answer = owner.get(&path).await;
        assert_eq!(answer.status, 403, "{path}");
        answer.has("is forbidden").lacks("canary-vault");
    }
    for path in ["secret", "download", "regenerate", "groups"].map(|part| format!("{home}/{part}")) {
        let form = [("as", "env"), ("what", "client-secret"), ("generation", "1"), ("group", "x")];
        assert_eq!(owner.post(&path, &form).await.status, 403, "{path}");
    }
    // Paths that would lead elsewhere at the API server, had they been put together from what was sent.
    let walk = format!("/accounts/{tenant}/..%2f..%2f{}%2fserviceaccounts%2fvault", other.name);
    for path in [
        walk.as_str(),
        "/accounts/%2e%2e/vault",
        &format!("/accounts/{tenant}%2f..%2f{}/vault", other.name),
        &format!("/accounts/{tenant}/a%00b"),
    ] {
        assert_eq!(owner.get(path).await.status, 404, "{path}");
    }
    let keys = [format!("{}/vault/{uid}", other.name), format!("{tenant}/../{}/vault/{uid}", other.name)];
    for (key, expected) in keys.iter().zip([303, 400]) {
        let form = [("action", "delete"), ("confirmed", "yes"), ("account", key.as_str())];
        assert_eq!(owner.post("/accounts/actions", &form).await.status, expected, "{key}");
    }
    assert!(theirs.get("vault").await.unwrap().metadata.deletion_timestamp.is_none());
    let form =
        [("namespace", other.name.as_str()), ("name", "planted"), ("validity", "180"), ("rotation", "Automatic")];
    assert_eq!(owner.post("/accounts/new", &form).await.status, 403);
    let walk = [("namespace", "a/../b"), ("name", "planted"), ("validity", "180"), ("rotation", "Automatic")];
    let answer = owner.post("/accounts/new", &walk).await;
    assert_eq!(answer.status, 422);
    answer.has("id=\"namespace-error\"");
    assert!(theirs.get_opt("planted").await.unwrap().is_none());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_secret_under_the_accounts_name_is_never_shown() {
    let operator = Operator::start().await;
    let tenant = &operator.tenant.name;
    let foreign = json!({"apiVersion": "v1", "kind": "Secret", "metadata": {"name": "mine"}, "stringData": {
        "client-id": "canary", "client-secret": "canary"}});
    operator.secrets().create(&PostParams::default(), &serde_json::from_value(foreign).unwrap()).await.unwrap();
    operator.create("exporter", json!({"clientSecret": {"secretName": "mine"}})).await;
    let console = Console::start(&operator, &[], Arc::new(SystemClock)).await;
    let owner = console.signed_in(&person(&operator, tenant, "owner", OWNER).await).await;
    for path in ["secret", "download"] {
        let answer = owner.post(&format!("/accounts/{tenant}/exporter/{path}"), &[("as", "env")]).await;
        assert_eq!(answer.status, 400);
        answer.has("does not hold this account&#39;s credential").lacks("canary");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_look_that_cannot_be_recorded_is_not_had() {
    let operator = Operator::start().await;
    let tenant = &operator.tenant.name;
    operator.ready("exporter", json!({})).await;
    let secret = operator.credential("exporter-credentials").await.1;
    let console = Console::start(&operator, &[], Arc::new(SystemClock)).await;
    let rules = "[{apiGroups: [keyrota.dev], resources: [serviceaccounts], verbs: ['*']}, {apiGroups: [''], resources: [secrets], verbs: [get]}]";
    let unseen = console.signed_in(&person(&operator, tenant, "unseen", rules).await).await;
    let home = format!("/accounts/{tenant}/exporter");
    unseen.get(&home).await.has("no look goes unrecorded");
    let answer = unseen.post(&format!("{home}/secret"), &[]).await;
    assert_eq!(answer.status, 403);
    answer.lacks(&secret);
}

#[tokio::test(flavor = "multi_thread")]
async fn groups_are_assigned_only_by_those_who_may_and_only_those() {
    let operator = Operator::start().await;
    let tenant = &operator.tenant.name;
    operator.ready("exporter", json!({"userGroups": ["gone"]})).await;
    let groups: Api<UserGroup> = Api::all(operator.client.clone());
    let names = ["readers", "admins"].map(|name| format!("{name}-{tenant}"));
    for name in &names {
        let group = json!({"apiVersion": "keyrota.dev/v1alpha1", "kind": "UserGroup", "metadata": {"name": name}, "spec": {"description": format!("canary-{name}")}});
        groups.create(&PostParams::default(), &serde_json::from_value(group).unwrap()).await.unwrap();
    }
    let console = Console::start(&operator, &[], Arc::new(SystemClock)).await;
    let token = person(&operator, tenant, "owner", OWNER).await;
    may_assign(&operator, tenant, "owner", &names[0]);
    let owner = console.signed_in(&token).await;
    let page = format!("/accounts/{tenant}/exporter/groups");
    let shown = eventually("the groups are known", SOON, async || {
        let answer = owner.get(&page).await;
        answer.body.contains(&names[0]).then_some(answer)
    })
    .await;
    shown.lacks(&names[1]).has("There is no such group.");
    let answer = owner.post(&page, &[("generation", "1"), ("group", &names[0]), ("group", "gone")]).await;
    assert_eq!(answer.status, 303, "{}", answer.body);
    let after = operator.accounts().get("exporter").await.unwrap();
    assert_eq!(after.spec.user_groups, ["gone".to_owned(), names[0].clone()], "in their order, new ones behind");
    let stale = owner.post(&page, &[("generation", "1")]).await;
    assert_eq!(stale.status, 409);
    for name in &names {
        groups.delete(name, &DeleteParams::default()).await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_console_itself_can_read_no_secret_and_change_nothing() {
    let operator = Operator::start().await;
    let reviews: Api<SubjectAccessReview> = Api::all(operator.client.clone());
    let may = async |verb: &str, group: &str, resource: &str, namespace: &str| {
        let review = json!({"apiVersion": "authorization.k8s.io/v1", "kind": "SubjectAccessReview", "metadata": {}, "spec": {
            "user": user(&operator.own.name, "keyrota-console"),
            "groups": ["system:serviceaccounts", format!("system:serviceaccounts:{}", operator.own.name), "system:authenticated"],
            "resourceAttributes": {"verb": verb, "group": group, "resource": resource, "namespace": namespace},
        }});
        let answer = reviews.create(&PostParams::default(), &serde_json::from_value(review).unwrap()).await.unwrap();
        answer.status.unwrap().allowed
    };
    for namespace in [operator.own.name.as_str(), &operator.tenant.name, ""] {
        for verb in ["get", "list", "watch", "create", "update", "patch", "delete"] {
            assert!(!may(verb, "", "secrets", namespace).await, "{verb} secrets in {namespace}");
        }
        for verb in ["create", "update", "patch", "delete", "deletecollection", "impersonate"] {
            assert!(!may(verb, "keyrota.dev", "serviceaccounts", namespace).await, "{verb} accounts in {namespace}");
            assert!(
                !may(verb, "", "events", namespace).await && !may(verb, "", "configmaps", namespace).await,
                "{verb}"
            );
        }
        assert!(may("list", "keyrota.dev", "serviceaccounts", namespace).await, "what it is there for");
    }
}
