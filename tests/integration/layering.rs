//! The layers of ARCHITECTURE: what thinks knows nothing of what touches the world, and roles know nothing of each other.
//!
//! A scan of the text, not of the syntax: paths that begin with `crate::`, `keyrota::` or enough `super::` are imports,
//! wherever they stand but in comments.

use std::fmt;
use std::path::{Path, PathBuf};

use crate::generated::checkout;

/// Layers from the bottom up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Layer {
    /// Wire types.
    Api,
    /// The rules.
    Domain,
    /// What several roles share.
    Shared,
    /// Parts of the program that run on their own, and never import each other.
    Role,
    /// Runs the roles against a control plane of its own.
    Demo,
    /// `main.rs` and `bin/`.
    Binary,
    /// Provides a Kubernetes; knows nothing of Keyrota.
    ControlPlane,
}

/// Every module at the top of the library. A new one belongs here before anything else.
const MODULES: &[(&str, Layer)] = &[
    ("api", Layer::Api),
    ("domain", Layer::Domain),
    ("clock", Layer::Shared),
    ("config", Layer::Shared),
    ("crds", Layer::Shared),
    ("entropy", Layer::Shared),
    ("index", Layer::Shared),
    ("mail", Layer::Shared),
    ("secrets", Layer::Shared),
    ("server", Layer::Shared),
    ("telemetry", Layer::Shared),
    ("watch", Layer::Shared),
    ("cli", Layer::Role),
    ("console", Layer::Role),
    ("controller", Layer::Role),
    ("doctor", Layer::Role),
    ("gateway", Layer::Role),
    ("demo", Layer::Demo),
    ("controlplane", Layer::ControlPlane),
];

/// What the rules may not contain, each with the reason.
const NOT_IN_DOMAIN: &[(&str, &str)] = &[
    ("async fn", "rules do not wait"),
    ("async move", "rules do not wait"),
    (".await", "rules do not wait"),
    ("tokio::", "rules do not wait"),
    ("kube::Client", "rules do not touch the cluster"),
    ("kube::Api", "rules do not touch the cluster"),
    ("kube::runtime", "rules do not touch the cluster"),
    ("std::env", "settings are parameters"),
    ("std::fs", "rules do not touch files"),
    ("std::net", "rules do not touch the network"),
    ("Utc::now", "the time is a parameter"),
    ("Local::now", "the time is a parameter"),
    ("SystemTime", "the time is a parameter"),
    ("Instant", "the time is a parameter"),
    ("rand::rng", "the random source is a parameter"),
    ("SysRng", "the random source is a parameter"),
    ("SystemRandom", "the random source is a parameter"),
];

/// One broken rule, where it is broken.
#[derive(Debug, PartialEq, Eq)]
struct Fault {
    file: String,
    line: usize,
    problem: String,
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.line, self.problem)
    }
}

fn layer_of(module: &str) -> Option<Layer> {
    MODULES.iter().find(|(name, _)| *name == module).map(|(_, layer)| *layer)
}

/// Whether code of `from` may use `to`.
fn allowed(from: &str, to: &str) -> bool {
    let (Some(above), Some(below)) = (home_layer(from), layer_of(to)) else { return false };
    match (above, below) {
        _ if from == to => true,
        (Layer::Demo, Layer::ControlPlane) => true,
        (_, Layer::ControlPlane) | (Layer::ControlPlane, _) => false,
        (Layer::Shared, Layer::Shared) => true,
        _ => below < above,
    }
}

fn home_layer(module: &str) -> Option<Layer> {
    if ["main", "bin"].contains(&module) { Some(Layer::Binary) } else { layer_of(module) }
}

/// The faults of one file; `path` is relative to `src`.
fn faults(path: &str, text: &str) -> Vec<Fault> {
    let code = without_comments(text);
    let home = path.split(['/', '.']).next().unwrap_or_default();
    let fault = |at: usize, problem: String| Fault {
        file: format!("src/{path}"),
        line: code[..at].matches('\n').count() + 1,
        problem,
    };
    if home != "lib" && home_layer(home).is_none() {
        return vec![fault(0, format!("the module {home} has no layer: give it one in tests/integration/layering.rs"))];
    }
    let upward = imports(path, &code).into_iter().filter(|(_, module)| home != "lib" && !allowed(home, module));
    let mut faults: Vec<_> =
        upward.map(|(at, module)| fault(at, format!("{home} may not use {module}: imports point downwards"))).collect();
    if home == "domain" {
        let worldly = NOT_IN_DOMAIN.iter().flat_map(|(word, why)| code.match_indices(word).map(move |hit| (hit, why)));
        faults.extend(worldly.map(|((at, word), why)| fault(at, format!("domain may not contain {word}: {why}"))));
    }
    faults
}

/// Blanks comments and keeps every line where it is. Strings stay: serde and clap attributes name paths in them.
fn without_comments(text: &str) -> String {
    let code = text.lines().map(|line| {
        let end = if line.trim_start().starts_with("//") { 0 } else { line.find(" // ").unwrap_or(line.len()) };
        format!("{}\n", &line[..end])
    });
    code.collect()
}

/// The top-level modules that a file imports, each with its place in the text.
fn imports<'a>(path: &str, code: &'a str) -> Vec<(usize, &'a str)> {
    let root = "super::".repeat(depth(path));
    let mut found = Vec::new();
    for prefix in ["crate::", "keyrota::", root.as_str()].into_iter().filter(|prefix| !prefix.is_empty()) {
        for (at, _) in code.match_indices(prefix).filter(|(at, _)| begins_a_path(code, *at)) {
            let heads = heads(&code[at + prefix.len()..]);
            found.extend(heads.into_iter().filter(|head| layer_of(head).is_some()).map(|head| (at, head)));
        }
    }
    found
}

/// How many `super::` lead from a file to the root of the library; none do from a binary.
fn depth(path: &str) -> usize {
    let parts: Vec<_> = path.trim_end_matches(".rs").split('/').collect();
    match parts.as_slice() {
        ["main" | "lib"] | ["bin", ..] => 0,
        [above @ .., "mod"] => above.len(),
        all => all.len(),
    }
}

/// Not the middle of a longer path or word, `super::super::` of `super::super::super::` for example.
fn begins_a_path(code: &str, at: usize) -> bool {
    !code[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':')
}

/// The first segments of what follows a prefix: one name, or those of a group in braces.
fn heads(rest: &str) -> Vec<&str> {
    let Some(group) = rest.strip_prefix('{') else { return vec![name(rest)] };
    let (mut heads, mut depth, mut start) = (Vec::new(), 0_usize, 0);
    for (at, c) in group.char_indices() {
        match c {
            '{' => depth += 1,
            '}' if depth > 0 => depth -= 1,
            ',' | '}' if depth == 0 => {
                heads.push(name(group[start..at].trim_start()));
                start = at + 1;
                if c == '}' {
                    break;
                }
            }
            _ => {}
        }
    }
    heads
}

fn name(text: &str) -> &str {
    &text[..text.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(text.len())]
}

/// Every source file, relative to `src`.
fn sources(directory: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(directory).unwrap().map(|entry| entry.unwrap().path());
    let (directories, files): (Vec<_>, Vec<_>) = entries.partition(|path| path.is_dir());
    let below = directories.iter().flat_map(|directory| sources(directory));
    below.chain(files.into_iter().filter(|file| file.extension().is_some_and(|e| e == "rs"))).collect()
}

#[test]
fn imports_point_downwards_and_the_rules_touch_nothing() {
    let root = checkout("src");
    let files = sources(&root);
    assert!(files.len() > 30, "only {} files below {}", files.len(), root.display());
    let faults = files.iter().flat_map(|file| {
        let path = file.strip_prefix(&root).unwrap().to_str().unwrap();
        faults(path, &std::fs::read_to_string(file).unwrap())
    });
    let faults: Vec<_> = faults.map(|fault| fault.to_string()).collect();
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

/// The problems found in a sample, with their lines.
fn found(path: &str, text: &str) -> Vec<(usize, String)> {
    faults(path, text).into_iter().map(|fault| (fault.line, fault.problem)).collect()
}

#[test]
fn an_upward_import_is_found_however_it_is_written() {
    for (path, text) in [
        ("domain/decide.rs", "use crate::gateway::grant;"),
        ("domain/decide.rs", "use crate::{api::Timestamp, clock::Clock};"),
        ("domain/decide.rs", "use crate::{\n    api::{self, Mode},\n    controller,\n};"),
        ("domain/decide.rs", "fn f(at: &crate::clock::SystemClock) {}"),
        ("domain/decide.rs", "use super::super::index::Index;"),
        ("domain/mod.rs", "pub use super::index;"),
        ("clock.rs", "use super::controller;"),
        ("gateway/grant.rs", "use crate::controller::apply;"),
        ("gateway/legacy/wire.rs", "use super::super::super::console;"),
        ("api/time.rs", "#[serde(with = \"crate::domain::duration\")]"),
        ("controlplane/start.rs", "use crate::api::ServiceAccount;"),
        ("index/feed.rs", "let x = 1; use crate::gateway; // downwards, honestly"),
        ("main.rs", "use keyrota::controlplane;"),
    ] {
        assert_eq!(found(path, text).len(), 1, "{path}: {text}: {:?}", found(path, text));
    }
}

#[test]
fn a_downward_import_is_none_of_its_business() {
    for (path, text) in [
        ("gateway/mod.rs", "use crate::{index::Index, domain::{decide, mint}, api};"),
        ("gateway/legacy/wire.rs", "use super::super::grant; use super::answer; use crate::gateway::keys;"),
        ("domain/decide.rs", "//! As [`crate::gateway`] does.\nuse super::record; // not crate::controller\n"),
        ("domain/decide.rs", "use some_crate::controller; use super::*;"),
        ("server.rs", "use crate::config::Args;"),
        ("demo.rs", "use crate::{controller, controlplane, gateway};"),
        ("main.rs", "use keyrota::{controller, gateway};"),
        ("lib.rs", "pub mod gateway;"),
    ] {
        assert_eq!(found(path, text), Vec::new(), "{path}: {text}");
    }
}

#[test]
fn a_rule_that_touches_the_world_is_found_with_its_line() {
    let text = "use chrono::Utc;\n\nfn f() {\n    let now = Utc::now();\n}\n";
    assert_eq!(
        found("domain/decide.rs", text),
        [(4, "domain may not contain Utc::now: the time is a parameter".into())]
    );
    assert_eq!(found("domain/decide.rs", "async fn f() {\n  g().await\n}").len(), 2);
    assert_eq!(found("gateway/mod.rs", "async fn f() { g().await }"), Vec::new());
}

#[test]
fn a_module_without_a_layer_is_told_to_get_one() {
    let problem = "the module metrics has no layer: give it one in tests/integration/layering.rs";
    assert_eq!(found("metrics/mod.rs", ""), [(1, problem.to_owned())]);
}
