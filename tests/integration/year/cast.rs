//! Who takes part in the simulated year, and what people do to them.

use serde_json::{Value, json};

use super::expected::{Act, DAY, HOUR, Terms};

/// An account, and what happens to it when: seconds from the beginning.
pub(super) struct Part {
    pub(super) name: String,
    pub(super) spec: Value,
    /// None for an External account.
    pub(super) terms: Option<Terms>,
    pub(super) acts: Vec<(i64, Act)>,
}

/// Automatic accounts: validity in days, and overlap in seconds with how the manifest writes it. The first four are
/// four of the five with a week or less; a tenth and a third of a validity, and the default on both sides of its knee.
const AUTOMATIC: [(i64, Option<(i64, &str)>); 24] = [
    (7, None),
    (3, None),
    (1, Some((HOUR, "1h"))),
    (5, Some((12 * HOUR, "12h"))),
    (30, None),
    (8, Some((8 * DAY / 3, "64h"))),
    (90, Some((1, "1s"))),
    (10, None),
    (60, Some((90 * 60, "90m"))),
    (14, Some((HOUR + 1, "1h0m1s"))),
    (180, None),
    (365, Some((100 * DAY, "2400h"))),
    (21, None),
    (45, Some((9, "9s"))),
    (75, None),
    (100, Some((10 * DAY, "240h"))),
    (120, None),
    (150, Some((50 * DAY, "1200h"))),
    (200, None),
    (240, Some((30 * 60, "30m"))),
    (270, None),
    (300, Some((72 * HOUR, "72h"))),
    (364, None),
    (365, None),
];

/// Manual accounts: validity in days; the first is the fifth of a week or less.
const MANUAL: [i64; 17] = [7, 30, 91, 90, 200, 31, 60, 61, 45, 92, 120, 150, 180, 364, 300, 365, 9];

/// The accounts for so many days, a third of them or all. Nobody's time is a round one, and no two are the same.
pub(super) fn cast(whole: bool, group: &str) -> Vec<Part> {
    let part = |all: usize, sample: usize| if whole { all } else { sample };
    let mut cast = Vec::new();
    for (days, overlap) in AUTOMATIC.into_iter().take(part(24, 6)) {
        cast.push(automatic(days, overlap));
    }
    for days in MANUAL.into_iter().take(part(17, 4)) {
        cast.push(manual(days));
    }
    for number in 0..part(4, 1) {
        let spec = json!({"enabled": number != 0,
            "authentication": {"mode": "External", "externalClientId": format!("{group}-{number}")}});
        cast.push(Part { name: format!("external-{number}"), spec, terms: None, acts: Vec::new() });
    }
    for number in 0..part(5, 1) {
        let mut asleep = if number % 2 == 0 { automatic(30, None) } else { manual(30) };
        asleep.name = format!("asleep-{number}");
        asleep.spec["enabled"] = json!(false);
        asleep.terms.as_mut().unwrap().enabled = false;
        cast.push(asleep);
    }
    for (number, part) in (0..).zip(&mut cast) {
        if number % 3 == 0 {
            part.spec["userGroups"] = json!([group, "nobody-has-it"]);
        }
        part.acts.insert(0, (37 * number, Act::Create));
        if part.terms.as_ref().is_some_and(|terms| terms.enabled) {
            part.acts.extend(script(number));
        }
    }
    cast
}

fn automatic(days: i64, overlap: Option<(i64, &str)>) -> Part {
    let mut spec = json!({"clientSecret": {"validityDays": days}, "contact": {"email": "team@example.com"}});
    if let Some((_, text)) = overlap {
        spec["clientSecret"]["overlap"] = json!(text);
    }
    let overlap = overlap.map(|(seconds, _)| seconds);
    let name = format!("automatic-{days}-{}", overlap.map_or("default".into(), |overlap| overlap.to_string()));
    let terms = Terms { automatic: true, days, overlap, notify: true, enabled: true };
    Part { name, spec, terms: Some(terms), acts: Vec::new() }
}

fn manual(days: i64) -> Part {
    // Some want no notices.
    let notify = days % 10 != 1;
    let secret = json!({"rotation": "Manual", "validityDays": days, "expiryNotifications": notify});
    let terms = Terms { automatic: false, days, overlap: None, notify, enabled: true };
    Part { name: format!("manual-{days}"), spec: json!({"clientSecret": secret}), terms: Some(terms), acts: Vec::new() }
}

/// What people do to the account with this number: most of them nothing.
fn script(number: i64) -> Vec<(i64, Act)> {
    let at = |day: i64| day * DAY + 5 * HOUR + 61 * number;
    match number % 10 {
        1 => vec![(at(20), Act::RegenerateSecret), (at(130), Act::RegenerateSecret), (at(130) + 60, Act::RegenerateId)],
        4 => vec![(at(12), Act::DeleteSecret), (at(200), Act::ReportLeak)],
        6 => vec![(at(10), Act::RegenerateId), (at(33), Act::RegenerateSecret), (at(250), Act::DeleteSecret)],
        7 => vec![(at(5), Act::Enable(false)), (at(50), Act::Enable(true)), (at(300), Act::Enable(false))],
        8 => vec![(at(15), Act::SetValidity(40)), (at(100), Act::SetValidity(365)), (at(101), Act::SetValidity(20))],
        9 => vec![(at(3), Act::ReportLeak), (at(180), Act::RegenerateSecret)],
        _ => Vec::new(),
    }
}

/// The issuer's grace over the year: shortened while graces run, lengthened, and taken away.
pub(super) fn graces(parts: usize) -> Vec<(i64, Act)> {
    // An hour after the first of those that are regenerated on the days 20 and 33, and half an hour after a later one.
    let at = |day: i64, seconds: i64| day * DAY + 5 * HOUR + seconds;
    let last = 61 * i64::try_from(parts).unwrap();
    vec![
        (-10, Act::SetGrace(4 * HOUR)),
        (at(20, last + HOUR), Act::SetGrace(2 * HOUR)),
        (at(33, last + HOUR), Act::SetGrace(24 * HOUR)),
        (at(130, last + 2 * HOUR), Act::SetGrace(HOUR)),
        (at(180, last + 60), Act::SetGrace(0)),
        (at(240, 0), Act::SetGrace(7 * HOUR)),
    ]
}
