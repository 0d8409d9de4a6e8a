//! The tables of docs/observability.md: metrics as a running controller, gateway and console tell them, conditions and Events from
//! the one list that the code takes them from.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::sync::Arc;

use keyrota::clock::SystemClock;
use keyrota::domain::words::{CONDITIONS, EVENTS, Tone};
use serde_json::json;

use super::{checkout, none_outdated, outdated};
use crate::common::eventually;
use crate::common::operator::{Operator, SOON, free_address, metrics};
use crate::console::Console;

const FILE: &str = "docs/observability.md";

#[derive(Debug, Default, PartialEq, Eq)]
struct Metric {
    type_: String,
    unit: String,
    help: String,
}

/// What an OpenMetrics text says of its metrics, by name.
fn parsed(text: &str) -> BTreeMap<String, Metric> {
    let mut all = BTreeMap::<String, Metric>::new();
    for line in text.lines() {
        let words: Vec<&str> = line.splitn(4, ' ').collect();
        if let ["#", keyword, name, rest] = words.as_slice() {
            let metric = all.entry((*name).to_owned()).or_default();
            match *keyword {
                "HELP" => metric.help = rest.trim_end_matches('.').to_owned(),
                "TYPE" => metric.type_ = (*rest).to_owned(),
                "UNIT" => metric.unit = (*rest).to_owned(),
                _ => {}
            }
        }
    }
    all
}

fn told(all: &BTreeMap<String, Metric>) -> String {
    let mut table = "| metric | type | unit | meaning |\n|---|---|---|---|\n".to_owned();
    for (name, Metric { type_, unit, help }) in all {
        assert!(!help.is_empty() && !type_.is_empty(), "{name} has neither help nor type");
        let suffix = if type_ == "counter" { "_total" } else { "" };
        writeln!(table, "| `{name}{suffix}` | {type_} | {unit} | {} |", help.replace('|', "\\|")).unwrap();
    }
    table
}

/// The text with what stands between the markers of this name replaced.
fn with_section(text: &str, name: &str, content: &str) -> String {
    let (begin, end) = (format!("<!-- generated: {name} -->\n"), format!("<!-- end: {name} -->\n"));
    let from = text.find(&begin).unwrap_or_else(|| panic!("{FILE} has no {begin}")) + begin.len();
    let to = text.find(&end).unwrap_or_else(|| panic!("{FILE} has no {end}"));
    format!("{}\n{content}\n{}", &text[..from], &text[to..])
}

fn conditions() -> String {
    let mut table = "| kind | type | status | reason | meaning |\n|---|---|---|---|---|\n".to_owned();
    for word in CONDITIONS {
        let (kind, type_, status, reason) = (word.kind(), word.type_(), word.status(), word.reason());
        writeln!(table, "| {kind} | `{type_}` | {status:?} | `{reason}` | {} |", word.meaning()).unwrap();
    }
    table
}

fn events() -> String {
    let mut table = "| on | type | reason | when |\n|---|---|---|---|\n".to_owned();
    for event in EVENTS {
        let tone = match event.tone() {
            Tone::Normal => "Normal",
            Tone::Warning => "Warning",
        };
        writeln!(table, "| {} | {tone} | `{}` | {} |", event.kind(), event.reason(), event.when()).unwrap();
    }
    table
}

#[tokio::test(flavor = "multi_thread")]
async fn the_documentation_tells_every_metric_condition_and_event() {
    let mut operator = Operator::prepared(Arc::new(SystemClock)).await;
    let address = free_address().to_string();
    operator.flags = vec!["--health-listen".into(), address.clone()];
    operator.start_controller();
    let gateway = operator.start_gateway().await;
    operator.ready("app", json!({})).await;
    let wrong = ("nobody".to_owned(), "nothing".to_owned());
    assert_eq!(gateway.token(&wrong).await.0, 400);
    // As they are written: what a watch is late with, and what never failed, is there with its help all the same.
    let controller = eventually("the account has a series", SOON, async || {
        let text = metrics(&address).await;
        text.contains("client_secret_expiry_timestamp_seconds{").then_some(text)
    })
    .await;
    let text = std::fs::read_to_string(checkout(FILE)).unwrap();
    let text = with_section(&text, "controller metrics", &told(&parsed(&controller)));
    let text = with_section(&text, "gateway metrics", &told(&parsed(&metrics(&gateway.health).await)));
    let console = Console::start(&operator, &[], Arc::new(SystemClock)).await;
    let text = with_section(&text, "console metrics", &told(&parsed(&metrics(&console.health).await)));
    let text = with_section(&text, "conditions", &conditions());
    let text = with_section(&text, "events", &events());
    none_outdated([outdated(FILE, &text)]);
}

#[test]
fn every_condition_and_event_is_told_once() {
    for (index, word) in CONDITIONS.iter().enumerate() {
        let same = |other: &&&keyrota::domain::words::Word| {
            (other.kind(), other.type_(), other.reason()) == (word.kind(), word.type_(), word.reason())
        };
        assert_eq!(CONDITIONS.iter().filter(same).count(), 1, "{index}: {word:?}");
    }
    for event in EVENTS {
        let same = EVENTS.iter().filter(|other| (other.kind(), other.reason()) == (event.kind(), event.reason()));
        assert_eq!(same.count(), 1, "{event:?}");
    }
}

/// The list is complete because nothing else makes conditions and Events.
#[test]
fn conditions_and_events_are_made_from_the_list_alone() {
    fn scan(directory: &std::path::Path, found: &mut Vec<String>) {
        for entry in std::fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                scan(&path, found);
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            // Tests may make up what they like.
            let code = text.split("#[cfg(test)]\nmod").next().unwrap();
            let made = |line: &str| {
                line.contains("last_transition_time:")
                    || line.contains("reason: \"")
                    || line.contains("reason: Some(\"")
            };
            let ours = path.ends_with("domain/words.rs") || path.ends_with("api/condition.rs");
            let test = path.to_string_lossy().contains("test") || path.ends_with("rotation_properties.rs");
            if !ours && !test {
                found.extend(code.lines().filter(|line| made(line)).map(|line| format!("{}: {line}", path.display())));
            }
        }
    }
    let mut found = Vec::new();
    scan(&checkout("src"), &mut found);
    assert_eq!(found, Vec::<String>::new(), "take a word of src/domain/words.rs");
}
