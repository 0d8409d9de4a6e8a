//! Generated files are what their source says; `UPDATE=1` writes them.

mod argocd;
mod observability;

use std::path::{Path, PathBuf};
use std::process::Command;

use keyrota::crds;

/// Says to people and tools that an edit here will not last.
pub(crate) const CRD_HEADER: &str = "# Generated from src/api by `UPDATE=1 cargo test generated`; do not edit.\n";

/// A path in the checkout.
pub(crate) fn checkout(path: impl AsRef<Path>) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(path)
}

#[expect(clippy::disallowed_methods, reason = "a switch for the person who runs the tests, not a setting")]
fn updating() -> bool {
    std::env::var_os("UPDATE").is_some_and(|value| value == "1")
}

/// What is wrong with a generated file, if anything; rewritten first when that is asked for.
pub(crate) fn outdated(path: &str, expected: &str) -> Option<String> {
    let file = checkout(path);
    if updating() {
        std::fs::write(&file, expected).unwrap();
    }
    let found = std::fs::read_to_string(&file).unwrap_or_default();
    (found != expected).then(|| {
        let same = found.lines().zip(expected.lines()).take_while(|(found, expected)| found == expected).count();
        let line = |text: &str| text.lines().nth(same).unwrap_or("(the end of the file)").to_owned();
        format!("{path} differs at line {}:\n  is     {}\n  should {}", same + 1, line(&found), line(expected))
    })
}

/// Fails with the remedy when any of `outdated` is something.
pub(crate) fn none_outdated(outdated: impl IntoIterator<Item = Option<String>>) {
    let outdated: Vec<_> = outdated.into_iter().flatten().collect();
    assert!(outdated.is_empty(), "run UPDATE=1 cargo test generated, then look at the diff\n{}", outdated.join("\n"));
}

#[test]
fn the_crd_directory_holds_what_the_types_say_and_nothing_else() {
    let mut expected = vec!["samples".to_owned()];
    let files = crds::all().into_iter().map(|crd| {
        expected.push(crds::file_name(&crd));
        outdated(&format!("crds/{}", crds::file_name(&crd)), &format!("{CRD_HEADER}{}", crds::yaml(&crd).unwrap()))
    });
    none_outdated(files);

    let entries = std::fs::read_dir(checkout("crds")).unwrap();
    let mut found: Vec<_> = entries.map(|entry| entry.unwrap().file_name().into_string().unwrap()).collect();
    expected.sort();
    found.sort();
    assert_eq!(found, expected);
}

#[test]
fn the_command_prints_the_same_as_one_stream() {
    let output = Command::new(env!("CARGO_BIN_EXE_keyrota")).arg("crds").output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let expected = crds::all().iter().map(|crd| format!("---\n{}", crds::yaml(crd).unwrap())).collect::<String>();
    assert_eq!(String::from_utf8(output.stdout).unwrap(), expected);
}
