//! The chart as the checkers of its users see it, with every set of values.

use std::path::Path;
use std::process::Command;

use super::tools::{checkov, helm, kube_score, promtool, unittest};
use super::{chart, name, passes, rendered, tools, value_sets};
use crate::common::tools::{run, unless_passed};
use crate::generated::checkout;

/// A finding that we let stand.
struct Exception {
    check: &'static str,
    /// The one set that it is let stand in; all without it.
    set: Option<&'static str>,
}

const fn everywhere(check: &'static str) -> Exception {
    Exception { check, set: None }
}

/// The set that tries what can be switched off.
const fn when_single(check: &'static str) -> Exception {
    Exception { check, set: Some("single") }
}

const KUBE_SCORE: &[Exception] = &[
    // The tag is a version, which never changes: pulling it again would make a registry that is away our outage.
    everywhere("container-image-pull-policy"),
    // Of consoles there is one by default: sessions are in its memory.
    everywhere("deployment-replicas"),
    // Where a value asks for one.
    everywhere("service-type"),
    when_single("pod-networkpolicy"),
];

const CHECKOV: &[Exception] = &[
    // As above.
    everywhere("CKV_K8S_15"),
    // The digest is known once the image is pushed: image.digest takes it.
    everywhere("CKV_K8S_43"),
    when_single("CKV2_K8S_6"),
];

/// What stands in this set, for a command line.
fn ignored<'a>(exceptions: &'a [Exception], set: &str) -> Vec<&'a str> {
    let here = exceptions.iter().filter(|exception| exception.set.is_none_or(|only| only == set));
    here.map(|exception| exception.check).collect()
}

#[test]
fn helm_lints_every_set_of_values_strictly() {
    let Some(helm) = helm() else { return };
    let mut lint = Command::new(helm);
    lint.arg("lint").arg(chart()).args(["--strict", "--namespace", "keyrota-system"]);
    for set in value_sets() {
        let mut of_set = Command::new(lint.get_program());
        passes(of_set.args(lint.get_args()).arg("--values").arg(set));
    }
}

#[test]
fn every_template_does_what_its_suite_says() {
    let Some(unittest) = unittest() else { return };
    // In a copy: it makes a folder for snapshots beside the suites.
    let copy = tempfile::tempdir().unwrap();
    run(Command::new("cp").arg("-r").arg(chart()).arg(copy.path()));
    let said = passes(Command::new(unittest).arg("--color=false").arg(copy.path().join("keyrota")));
    let summary = said.lines().find(|line| line.starts_with("Tests:")).unwrap();
    println!("{summary}");
    assert!(!summary.contains(" 0 passed"), "{said}");
}

#[test]
fn kube_score_finds_nothing() {
    let Some((helm, kube_score)) = helm().zip(kube_score()) else { return };
    for set in value_sets() {
        let manifest = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(manifest.path(), rendered(&helm, &set)).unwrap();
        let mut command = Command::new(&kube_score);
        command.args(["score", "--output-format", "ci", "--exit-one-on-warning"]);
        for check in ignored(KUBE_SCORE, &name(&set)) {
            command.args(["--ignore-test", check]);
        }
        let said = passes(command.arg(manifest.path()));
        assert!(said.contains("[OK] keyrota-controller/keyrota-system apps/v1/Deployment"), "{said}");
    }
}

#[test]
fn checkov_finds_nothing() {
    let Some((helm, python)) = helm().zip(checkov()) else { return };
    // It looks into no hidden folder.
    let folder = tempfile::Builder::new().prefix("keyrota").tempdir().unwrap();
    let mut input = format!("{:?}", CHECKOV.iter().map(|exception| exception.check).collect::<Vec<_>>());
    for set in value_sets() {
        let (name, manifest) = (name(&set), rendered(&helm, &set));
        let of_set = folder.path().join(if name == "single" { "single" } else { "others" });
        std::fs::create_dir_all(&of_set).unwrap();
        std::fs::write(of_set.join(format!("{name}.yaml")), &manifest).unwrap();
        input += &manifest;
    }
    // Its start alone takes seconds.
    unless_passed(tools::CHECKOV, &input, || {
        for sets in ["single", "others"] {
            scan(&python, &folder.path().join(sets), &ignored(CHECKOV, sets));
        }
    });
}

fn scan(python: &Path, folder: &Path, skip: &[&str]) {
    let mut command = Command::new(python);
    command.args(["-m", "checkov.main", "--framework", "kubernetes", "--compact", "--skip-download"]);
    // A configuration of the user's own must not decide.
    command.current_dir(folder).arg("--directory").arg(folder).args(["--skip-check", &skip.join(",")]);
    let said = passes(&mut command);
    // It is content with a folder in which it finds nothing to check, too.
    let summary = said.lines().find(|line| line.starts_with("Passed checks: ")).unwrap_or(&said);
    println!("{summary}");
    assert!(!summary.contains("Passed checks: 0,"), "{said}");
}

#[test]
fn the_alerts_fire_where_they_should_and_nowhere_else() {
    let Some(promtool) = promtool() else { return };
    let rules = chart().join("files/alerts.yaml");
    passes(Command::new(&promtool).args(["check", "rules", "--lint=all", "--lint-fatal"]).arg(rules));
    let tests = checkout("tests/integration/chart/alerts_test.yaml");
    passes(Command::new(&promtool).args(["test", "rules"]).arg(tests));
}
