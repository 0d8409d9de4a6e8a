//! The console in a real browser: playwright-core and Debian's chromium, driven by `tests/console`.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;

use aws_lc_rs::digest::{SHA256, digest};
use chrono::TimeDelta;
use k8s_openapi::api::core::v1::Secret;
use keyrota::api::{CREATED_BY, UserGroup};
use keyrota::clock::{Clock, SystemClock};
use kube::Api;
use kube::api::{DeleteParams, Patch, PatchParams, PostParams};
use rstest::rstest;
use serde_json::{Value, json};
use tokio::sync::Mutex;

use super::{Console, OWNER, VIEWER, may_assign, person};
use crate::common::eventually;
use crate::common::operator::{Operator, SOON, free_address, text};
use crate::common::tools::{in_ci, installed, run};

/// The browser; where there is none it is installed if that is possible, else the reason is told.
fn chromium() -> Option<PathBuf> {
    let find = || {
        let names = ["/usr/bin/chromium", "/usr/bin/chromium-browser", "/usr/bin/google-chrome"];
        names.into_iter().map(PathBuf::from).find(|path| path.exists())
    };
    if let Some(found) = find() {
        return Some(found);
    }
    let is_root = rustix::process::geteuid().is_root();
    if is_root && Command::new("apt-get").arg("--version").output().is_ok() {
        writeln!(std::io::stderr(), "installing chromium for the console's tests …").unwrap();
        for arguments in
            [["update", "-q", "-y"].as_slice(), &["install", "-q", "-y", "--no-install-recommends", "chromium"]]
        {
            let _ = Command::new("apt-get").args(arguments).env("DEBIAN_FRONTEND", "noninteractive").output();
        }
    }
    let found = find();
    if found.is_none() {
        assert!(!in_ci(), "CI needs chromium: apt-get install chromium");
        let reason = "there is no chromium, and only root can install it: apt-get install chromium";
        writeln!(std::io::stderr(), "SKIPPED: the console was not tried in a browser: {reason}").unwrap();
    }
    found
}

/// The suite with what it needs, in the cache, keyed by what it is made from.
fn suite() -> Option<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/console");
    let sources = ["package.json", "package-lock.json", ".npmrc"];
    let all: Vec<u8> = sources.iter().flat_map(|source| std::fs::read(folder.join(source)).unwrap()).collect();
    let key: String = digest(&SHA256, &all).as_ref().iter().take(6).map(|byte| format!("{byte:02x}")).collect();
    let home = installed(&format!("console-browser-{key}"), "npm", |home| {
        for source in sources {
            std::fs::copy(folder.join(source), home.join(source)).unwrap();
        }
        run(Command::new("npm").args(["ci", "--no-audit", "--no-fund", "--silent"]).current_dir(home));
    })?;
    // Node finds packages beside the script, so the script goes where they are; a new one takes the old one's place.
    for script in std::fs::read_dir(&folder).unwrap().map(|entry| entry.unwrap().path()) {
        if script.extension().is_some_and(|extension| extension == "mjs") {
            let new = tempfile::NamedTempFile::new_in(&home).unwrap();
            std::fs::copy(&script, new.path()).unwrap();
            new.persist(home.join(script.file_name().unwrap())).unwrap();
        }
    }
    Some(home.join("suite.mjs"))
}

/// An operator with accounts that are worth a look, and its console over TLS, with the certificate that the controller made.
async fn started(group: &str) -> (Operator, Console, tempfile::TempDir) {
    let mut operator = Operator::prepared(Arc::new(SystemClock)).await;
    operator.flags = ["--console-names", "localhost,127.0.0.1"].map(str::to_owned).into();
    operator.start_controller();
    let secret: Secret = eventually("the console's certificate is made", SOON, async || {
        operator.own_secrets().get_opt("keyrota-console-tls").await.unwrap()
    })
    .await;
    let folder = tempfile::tempdir().unwrap();
    let file = |key: &str| folder.path().join(key).to_str().unwrap().to_owned();
    for key in ["tls.key", "tls.crt"] {
        std::fs::write(folder.path().join(key), text(&secret, key)).unwrap();
    }
    let listen = free_address();
    let further = ["--tls-cert-file".to_owned(), file("tls.crt"), "--tls-key-file".to_owned(), file("tls.key")];
    let origin = format!("https://{listen}");
    let console = Console::start_with(&operator, &[], Arc::new(SystemClock), listen, &origin, &further).await;
    let ca = reqwest::Certificate::from_pem(text(&secret, "ca.crt").as_bytes()).unwrap();
    let trusting = reqwest::Client::builder().no_proxy().tls_certs_only([ca]).build().unwrap();
    assert!(trusting.get(&origin).send().await.is_ok(), "the certificate is for the console, and of the gateway's CA");

    let groups: Api<UserGroup> = Api::all(operator.client.clone());
    let object = json!({"apiVersion": "keyrota.dev/v1alpha1", "kind": "UserGroup", "metadata": {"name": group},
        "spec": {"description": "May read and write the document archive", "scopes": ["archive.read", "archive.write"]}});
    groups.create(&PostParams::default(), &serde_json::from_value(object).unwrap()).await.unwrap();
    furnish(&operator, group).await;
    (operator, console, folder)
}

async fn furnish(operator: &Operator, group: &str) {
    let account = async |name: &str, creator: &str, labels: Value, spec: Value| {
        let object = json!({
            "apiVersion": "keyrota.dev/v1alpha1", "kind": "ServiceAccount",
            "metadata": {"name": name, "labels": labels, "annotations": {CREATED_BY: creator}}, "spec": spec,
        });
        let object = serde_json::from_value(object).unwrap();
        operator.accounts().create(&PostParams::default(), &object).await.unwrap();
    };
    let (alice, bob) = ("alice@example.com", "bob@example.com");
    account("billing", alice, json!({}), json!({
        "description": "Invoices, written to the archive", "clientSecret": {"validityDays": 120, "rotation": "Manual"},
        "contact": {"email": "payments@example.com"}, "userGroups": [group, "auditors"],
        "rolloutRestart": [{"kind": "Deployment", "name": "billing"}],
    }))
    .await;
    account(
        "crawler",
        bob,
        json!({}),
        json!({
            "description": "Crawls the catalogue, without a secret",
            "authentication": {"mode": "External", "externalClientId": "system:serviceaccount:shop:crawler"},
        }),
    )
    .await;
    account(
        "expired",
        bob,
        json!({}),
        json!({
            "description": "Configured by hand in the partner's portal",
            "clientSecret": {"validityDays": 90, "rotation": "Manual"}, "contact": {"email": "partners@example.com"},
        }),
    )
    .await;
    account("from-git", alice, json!({"argocd.argoproj.io/instance": "shop"}), json!({"description": "Kept in Git"}))
        .await;
    account(
        "hostile",
        bob,
        json!({}),
        json!({"description": "<script>alert(1)</script>\"><img src=x onerror=alert(1)>"}),
    )
    .await;
    for number in 1..=12 {
        let description =
            format!("Batch job number {number} of the nightly run, which imports orders and writes reports");
        let spec =
            json!({"description": description, "enabled": number % 5 != 0, "contact": {"email": "batch@example.com"}});
        account(&format!("job-{number:02}"), alice, json!({}), spec).await;
    }
    for name in ["billing", "expired", "from-git", "hostile", "job-12"] {
        operator.until(name, "made", |status| status.client_id.is_some()).await;
    }
    operator.accounts().delete("job-12", &DeleteParams::default()).await.unwrap();
    eventually("a deleted account is remembered", SOON, async || {
        (!operator.tombstones().await.is_empty()).then_some(())
    })
    .await;
}

/// What takes months otherwise: written by hand once no controller is there to report what is true.
async fn aged(operator: &mut Operator) {
    operator.kill_controller().await;
    let now = SystemClock.now();
    let days = |days: i64| (now + TimeDelta::days(days)).to_rfc3339_opts(chrono::SecondsFormat::Secs, true);
    let id = operator.accounts().get("billing").await.unwrap().status.unwrap().client_id.unwrap();
    let notice = |threshold: i64, result: &str| {
        let sent = if result == "Sent" { json!(days(25 - threshold)) } else { Value::Null };
        json!({"threshold": threshold, "dueTime": days(25 - threshold), "sentTime": sent, "channel": "Email", "result": result})
    };
    let billing = json!({"status": {
        "lastAccessTime": days(0), "clientSecretExpiryTime": days(25),
        "credentials": [
            {"version": 2, "clientId": id, "state": "Current", "notBefore": days(-95), "notAfter": days(25),
             "firstUsedTime": days(-93), "lastUsedTime": days(0), "reason": "Requested"},
            {"version": 1, "clientId": id, "state": "Previous", "notBefore": days(-130), "notAfter": days(1),
             "firstUsedTime": days(-129), "lastUsedTime": days(-60), "reason": "Created"}],
        "notifications": [notice(90, "Sent"), notice(60, "Sent"), notice(30, "Sent"), notice(7, "Pending"), notice(1, "Pending"), notice(-1, "Pending")],
    }});
    let condition = |type_: &str, reason: &str, message: &str| json!({"type": type_, "status": "True", "reason": reason, "message": message, "observedGeneration": 1, "lastTransitionTime": days(-2)});
    let expired = json!({"status": {
        "clientSecretStatus": "Inactive", "clientSecretExpiryTime": days(-2),
        "conditions": [condition("Ready", "Ready", "the credential is published"), condition("Expired", "ClientSecretExpired", "the client secret expired: raise spec.regenerate.clientSecret")],
    }});
    for (name, status) in [("billing", billing), ("expired", expired)] {
        let patch = Patch::Merge(status);
        operator.accounts().patch_status(name, &PatchParams::default(), &patch).await.unwrap();
    }
    operator.create("waiting", json!({"description": "Nobody makes its credential"})).await;
}

/// One browser at a time: two of them on a small machine take longer than one after the other, and wait in vain.
static BROWSER: Mutex<()> = Mutex::const_new(());

#[rstest]
#[case::the_manuals_procedures("procedures", 19)]
#[case::by_keyboard_alone("keyboard", 6)]
#[case::without_javascript("plain", 5)]
#[case::wide_narrow_magnified_light_and_dark_without_a_violation("looks", 150)]
#[tokio::test(flavor = "multi_thread")]
async fn the_console_works_in_a_browser(#[case] part: &'static str, #[case] at_least: usize) {
    drive(part, at_least, Path::new("target/console-shots")).await;
}

/// `just screenshots`: not a check, but what README.md and docs/console.md show.
#[ignore = "writes docs/console"]
#[tokio::test(flavor = "multi_thread")]
async fn the_pictures_of_the_documentation() {
    drive("pictures", 4, Path::new("docs/console")).await;
}

async fn drive(part: &'static str, at_least: usize, shots: &Path) {
    let (Some(chromium), Some(suite)) = (chromium(), suite()) else { return };
    let _alone = BROWSER.lock().await;
    let group = format!("archive-writers-{part}-{}", std::process::id());
    let (mut operator, console, _folder) = started(&group).await;
    if ["looks", "pictures"].contains(&part) {
        aged(&mut operator).await;
    }
    let tenant = operator.tenant.name.clone();
    let tokens = json!({
        "owner": person(&operator, &tenant, "owner", OWNER).await,
        "viewer": person(&operator, &tenant, "viewer", VIEWER).await,
        "nobody": person(&operator, &tenant, "nobody", "[]").await,
    });
    may_assign(&operator, &tenant, "owner", &group);
    let shots = Path::new(env!("CARGO_MANIFEST_DIR")).join(shots);
    std::fs::create_dir_all(&shots).unwrap();
    let given = json!({
        "part": part, "url": console.base, "chromium": chromium, "shots": shots, "namespace": tenant, "group": group,
        "tokens": tokens,
    });
    let checks = checked(suite, given).await;
    let groups: Api<UserGroup> = Api::all(operator.client.clone());
    groups.delete(&group, &DeleteParams::default()).await.unwrap();
    let failed: Vec<String> = checks
        .iter()
        .filter_map(|check| Some(format!("{}: {}", check["check"].as_str()?, check.get("error")?.as_str()?)))
        .collect();
    assert!(failed.is_empty(), "{} of {} failed:\n{}", failed.len(), checks.len(), failed.join("\n\n"));
    assert!(checks.len() >= at_least, "only {} checks", checks.len());
}

/// Runs the suite and returns what it says of each check.
async fn checked(suite: PathBuf, given: Value) -> Vec<Value> {
    let output = tokio::task::spawn_blocking(move || {
        let mut child = Command::new("node").arg(suite).stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        child.stdin.take().unwrap().write_all(given.to_string().as_bytes()).unwrap();
        child.wait_with_output().unwrap()
    })
    .await
    .unwrap();
    let lines = String::from_utf8(output.stdout).unwrap();
    let checks = lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    assert!(output.status.success(), "the suite ended with {}: {lines}", output.status);
    checks
}
