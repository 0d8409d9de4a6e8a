//! A year in a few minutes: accounts of all kinds, from deadline to deadline, against the real API server. Each deadline
//! is looked at a second before, when nothing may happen, and at it; the clock stands until all has settled. What
//! happened is compared with a list that is reckoned without the operator.

mod cast;
mod expected;
mod world;

use std::collections::BTreeSet;

use cast::{Part, cast, graces};
use expected::{Act, DAY, History, What, history};
use world::World;

/// What there is to look at, and when people do what, for so many days.
async fn days_pass(days: i64, whole: bool) {
    let mut world = World::begin().await;
    let start = world.now();
    let cast = cast(whole, &world.operator.tenant.name);
    let graces = graces(cast.len());
    let mut acts: Vec<(i64, Option<usize>, Act)> = Vec::new();
    acts.extend(graces.iter().map(|(time, act)| (start + time, None, *act)));
    for (number, part) in cast.iter().enumerate() {
        acts.extend(part.acts.iter().map(|(time, act)| (start + time, Some(number), *act)));
    }
    acts.sort_by_key(|(time, number, _)| (*time, *number));
    let (creations, acts): (Vec<_>, Vec<_>) = acts.into_iter().partition(|(time, ..)| *time < start + 3600);
    for (time, number, act) in creations {
        perform(&mut world, &cast, time, number, act).await;
    }
    let expected = expectations(&world, &cast, &graces, start, start + days * DAY);

    let horizon = start + days * DAY;
    let mut acts = acts.into_iter().filter(|(time, ..)| *time <= horizon).peekable();
    let times: BTreeSet<i64> = expected.iter().map(|(time, ..)| *time).collect();
    loop {
        let now = world.now();
        let reckoned = times.range(now + 1..).next().copied();
        let planned = acts.peek().map(|(time, ..)| *time);
        // The controller's own deadlines, too: it may wake for what nobody sees.
        let own = world.operator.backlog.next_deadline().map(keyrota::api::Timestamp::unix);
        let Some(next) = [reckoned, planned, own].into_iter().flatten().min().filter(|time| *time <= horizon) else {
            break;
        };
        world.step_to(next).await;
        while let Some((time, number, act)) = acts.next_if(|(time, ..)| *time == next) {
            perform(&mut world, &cast, time, number, act).await;
        }
    }
    world.step_to(horizon).await;
    compare(&world.seen, &expected);
    world.every_notice_was_an_event(&expected).await;
    let count = |wanted: fn(&What) -> bool| expected.iter().filter(|(.., what)| wanted(what)).count();
    println!(
        "{} accounts, {days} days: {} steps, {} versions, {} ends, {} notices, in {:.0?}",
        cast.len(),
        world.steps,
        count(|what| matches!(what, What::Published { .. })),
        count(|what| matches!(what, What::Ended { .. })),
        count(|what| matches!(what, What::Notice { .. })),
        world.began.elapsed(),
    );
}

async fn perform(world: &mut World, cast: &[Part], time: i64, number: Option<usize>, act: Act) {
    world.set_time(time);
    match number {
        Some(number) => world.act(&cast[number].name, &cast[number].spec, act).await,
        None => world.set_grace(act).await,
    }
    world.look().await;
}

/// The list to compare with. All that is taken from the operator is each account's jitter, once, and it has its bound.
fn expectations(world: &World, cast: &[Part], graces: &[(i64, Act)], start: i64, horizon: i64) -> History {
    let mut all = History::new();
    for part in cast {
        let Some(terms) = &part.terms else { continue };
        let mut acts: Vec<(i64, Act)> =
            graces.iter().chain(&part.acts).map(|(time, act)| (start + time, *act)).collect();
        acts.sort_by_key(|(time, _)| *time);
        let jitter = if terms.automatic && terms.enabled {
            let (next, ends) = world.next_rotation(&part.name);
            let jitter = next - (ends - terms.overlap());
            assert!((0..=terms.overlap() / 10).contains(&jitter), "{}: a jitter of {jitter} s", part.name);
            jitter
        } else {
            assert!(!world.rotates(&part.name), "{} tells of a rotation to come", part.name);
            0
        };
        all.extend(history(&part.name, terms, jitter, &acts, horizon));
    }
    all
}

fn compare(seen: &History, expected: &History) {
    let show = |entries: Vec<&(i64, String, What)>| {
        entries.iter().take(20).map(|entry| format!("  {entry:?}")).collect::<Vec<_>>().join("\n")
    };
    let (missing, surplus) =
        (expected.difference(seen).collect::<Vec<_>>(), seen.difference(expected).collect::<Vec<_>>());
    assert!(
        missing.is_empty() && surplus.is_empty(),
        "{} did not happen on their second:\n{}\n{} that should not have happened:\n{}",
        missing.len(),
        show(missing),
        surplus.len(),
        show(surplus)
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn sixty_days_of_twelve_accounts_pass_and_everything_happens_on_its_second() {
    days_pass(60, false).await;
}

#[tokio::test(flavor = "multi_thread")]
#[ignore = "takes minutes: `just year`"]
async fn a_year_of_fifty_accounts_passes_and_everything_happens_on_its_second() {
    days_pass(365, true).await;
}
