//! The Dockerfile, as far as it can be checked where no image can be built.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

use super::tools::helm;
use super::{objects, pod_templates, template};
use crate::common::tools::run;
use crate::generated::checkout;

fn dockerfile() -> String {
    std::fs::read_to_string(checkout("Dockerfile")).unwrap()
}

/// The last line that starts with `instruction`, without it.
fn last<'a>(dockerfile: &'a str, instruction: &str) -> &'a str {
    let mut lines = dockerfile.lines().filter_map(|line| line.strip_prefix(instruction)?.strip_prefix(' '));
    lines.next_back().unwrap_or_else(|| panic!("no {instruction}"))
}

#[test]
fn the_image_runs_the_binary_as_the_user_that_the_chart_names_and_exposes_its_ports() {
    let Some(helm) = helm() else { return };
    let dockerfile = dockerfile();
    assert_eq!(last(&dockerfile, "ENTRYPOINT"), "[\"/keyrota\"]");
    let objects = objects(&run(&mut template(&helm, &[])));
    let mut ports = BTreeSet::new();
    for pod in pod_templates(&objects) {
        let security = &pod["spec"]["securityContext"];
        assert_eq!(last(&dockerfile, "USER"), format!("{}:{}", security["runAsUser"], security["runAsGroup"]));
        for container in pod["spec"]["containers"].as_array().unwrap() {
            assert!(container["command"].is_null(), "the image's own entry point is used");
            ports.extend(container["ports"].as_array().unwrap().iter().map(|port| port["containerPort"].to_string()));
        }
    }
    let exposed: BTreeSet<_> = last(&dockerfile, "EXPOSE").split(' ').map(str::to_owned).collect();
    assert_eq!(exposed, ports);
}

#[test]
fn the_image_is_built_with_the_toolchain_of_the_checkout_from_images_with_a_version() {
    let dockerfile = dockerfile();
    let toolchain = std::fs::read_to_string(checkout("rust-toolchain.toml")).unwrap();
    let channel = toolchain.lines().find_map(|line| line.strip_prefix("channel = ")).unwrap().trim_matches('"');
    assert!(dockerfile.contains(&format!("FROM rust:{channel}-slim-")), "{channel}");
    assert!(dockerfile.contains(&format!("RUSTUP_TOOLCHAIN={channel} ")), "{channel}");
    for image in dockerfile.lines().filter_map(|line| line.strip_prefix("FROM ")) {
        assert!(image.contains(':') && !image.contains(":latest"), "{image}");
    }
}

/// Everything that Cargo reads for the binary is copied, and let through by .dockerignore.
#[test]
fn what_the_image_is_built_from_is_enough_for_cargo() {
    let dockerfile = dockerfile();
    let ignore = std::fs::read_to_string(checkout(".dockerignore")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let copied =
        dockerfile.lines().filter_map(|line| line.strip_prefix("COPY ")).filter(|line| !line.contains("--from"));
    for line in copied {
        let (sources, to) = line.rsplit_once(' ').unwrap();
        for source in sources.split(' ') {
            assert!(ignore.lines().any(|line| line == format!("!{source}")), "{source} is not let through");
            let place = folder.path().join(to);
            let place = if to.ends_with('/') { place.join(source) } else { place };
            std::fs::create_dir_all(place.parent().unwrap()).unwrap();
            run(Command::new("cp").arg("-r").arg(checkout(source)).arg(place));
        }
    }
    let made = dockerfile.split_once("touch ").unwrap().1.split_once(" \\\n").unwrap().0;
    for file in made.split(' ').map(|file| folder.path().join(file)) {
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, "").unwrap();
    }
    // Whatever the sources include at compile time is there, too.
    for file in included(&folder.path().join("src")) {
        assert!(file.exists(), "{} is not copied", file.display());
    }
    assert_eq!(targets(folder.path()), targets(&checkout("")));
}

/// The names of what Cargo could build in a folder; a target without its file is none.
fn targets(folder: &Path) -> BTreeSet<String> {
    let mut cargo = Command::new(env!("CARGO"));
    let said =
        run(cargo.current_dir(folder).args(["metadata", "--locked", "--offline", "--no-deps", "--format-version=1"]));
    let metadata: Value = serde_json::from_str(&said).unwrap();
    let targets = metadata["packages"][0]["targets"].as_array().unwrap();
    let there = targets.iter().filter(|target| Path::new(target["src_path"].as_str().unwrap()).exists());
    there.map(|target| format!("{} {}", target["kind"], target["name"])).collect()
}

/// What `include_str!` and `include_bytes!` name below a folder.
fn included(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        if entry.is_dir() {
            found.extend(included(&entry));
            continue;
        }
        let text = std::fs::read_to_string(&entry).unwrap_or_default();
        for word in ["include_str!(\"", "include_bytes!(\""] {
            let names = text.split(word).skip(1).map(|rest| rest.split('"').next().unwrap());
            found.extend(names.map(|name| entry.parent().unwrap().join(name)));
        }
    }
    found
}
