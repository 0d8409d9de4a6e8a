//! The chart gives the rights that were proven, and no other.

use std::collections::BTreeSet;
use std::process::Command;

use keyrota::demo;
use serde_json::Value;

use super::rights::{OWN, Place, granted, told};
use crate::chart::tools::helm;
use crate::common::tools::run;
use crate::generated::checkout;

pub(super) const COMPONENTS: [&str; 3] = ["keyrota-controller", "keyrota-gateway", "keyrota-console"];

/// The chart with these values. None without Go, which Helm is built with.
pub(super) fn rendered(values: &[&str]) -> Option<String> {
    let mut helm = Command::new(helm()?);
    helm.args(["template", "keyrota"]).arg(checkout("charts/keyrota")).args(["--namespace", OWN]);
    for value in values {
        helm.args(["--set", value]);
    }
    Some(run(&mut helm))
}

#[test]
fn the_chart_gives_the_rights_that_the_tour_proved_necessary() {
    let Some(chart) = rendered(&[]) else { return };
    for component in COMPONENTS {
        assert_eq!(told(granted(&chart, component)), told(granted(demo::INSTALL, component)), "{component}");
    }
}

#[test]
fn with_watched_namespaces_the_same_rights_hold_there_alone_and_no_cluster_role_is_on_secrets() {
    let Some(chart) = rendered(&["watchNamespaces={shop,bank}"]) else { return };
    let verbs = |manifests: &str, component: &str| -> BTreeSet<(String, String)> {
        granted(manifests, component).into_iter().map(|right| (right.resource, right.verb)).collect()
    };
    for component in COMPONENTS {
        assert_eq!(verbs(&chart, component), verbs(demo::INSTALL, component), "{component}");
    }
    let objects: Vec<Value> = serde_saphyr::from_multiple(&chart).unwrap();
    for role in objects.iter().filter(|object| object["kind"] == "ClusterRole") {
        for rule in role["rules"].as_array().into_iter().flatten() {
            let secrets = rule["resources"].as_array().unwrap().iter().any(|name| name == "secrets" || name == "*");
            assert!(!secrets, "{role}");
        }
    }
}

#[test]
fn mail_and_webhook_credentials_add_one_right_to_read_them_to_the_controller_alone() {
    let values = [
        "notifications.smtp.host=mail.example.com",
        "notifications.smtp.from=keyrota@example.com",
        "notifications.mailDomains={example.com}",
    ];
    let secrets = ["notifications.smtp.secretName=mail", "notifications.webhook.secretName=hook"];
    let Some(chart) = rendered(&[&values[..], &secrets[..]].concat()) else { return };
    let objects: Vec<Value> = serde_saphyr::from_multiple(&chart).unwrap();
    let elsewhere =
        |object: &&Value| object["kind"] == "Role" && object["metadata"]["namespace"] == "keyrota-notifications";
    let roles: Vec<&Value> = objects.iter().filter(elsewhere).collect();
    let [role] = roles.as_slice() else { panic!("{roles:?}") };
    let rule = serde_json::json!([
        {"apiGroups": [""], "resources": ["secrets"], "resourceNames": ["mail", "hook"], "verbs": ["get"]},
    ]);
    assert_eq!(role["rules"], rule);
    for component in ["keyrota-gateway", "keyrota-console"] {
        let rights = granted(&chart, component);
        assert!(rights.iter().all(|right| right.place == Place::Own || right.resource != "secrets"), "{component}");
    }
}

#[test]
fn the_console_has_no_right_on_any_secret() {
    let Some(chart) = rendered(&[]) else { return };
    let rights = granted(&chart, "keyrota-console");
    assert!(!rights.is_empty());
    let on_secrets = rights.into_iter().filter(|right| right.resource.starts_with("secrets") || right.resource == "*");
    assert_eq!(told(on_secrets), Vec::<String>::new());
}
