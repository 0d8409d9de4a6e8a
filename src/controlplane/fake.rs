//! Programs that pretend, for the tests of what is done with them.

use std::process::Command;

/// A directory with a shell script in it that can be run as `name`.
pub(super) fn program(name: &str, script: &str) -> tempfile::TempDir {
    let directory = tempfile::tempdir().unwrap();
    // Written by another process: a file that this one has open for writing while another test
    // forks cannot be run for a moment ("text file busy").
    let write = r#"printf '#!/bin/sh\n%s\n' "$2" > "$1" && chmod 755 "$1""#;
    let status = Command::new("/bin/sh").args(["-c", write, "sh", name, script]).current_dir(directory.path()).status();
    assert!(status.unwrap().success());
    directory
}
