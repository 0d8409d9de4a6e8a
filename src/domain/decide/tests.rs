use rstest::rstest;

use super::*;
use crate::api;
use crate::domain::simulation::{Secret, World, account, days, hours, seconds, start};

fn ready(world: &World) -> Standing {
    world.decide().standing
}

#[test]
fn a_new_account_gets_a_credential_and_its_present_trigger_values_count_as_handled() {
    let asked = World::new().asking_for_secret(7).asking_for_client_id(3);
    assert_eq!(asked.reason(), Some(Reason::Created));
    let settled = asked.settled();
    assert_eq!(settled.ledger.published.len(), 1);
    assert_eq!(settled.record.map(|record| (record.handled.client_secret, record.handled.client_id)), Some((7, 3)));
}

#[rstest]
#[case::nothing_to_do(account(), None)]
#[case::asked_for_a_secret(account().asking_for_secret(1), Some(Reason::Requested))]
#[case::asked_for_a_client_id(account().asking_for_client_id(1), Some(Reason::ClientIdRegenerated))]
#[case::asked_for_both(account().asking_for_secret(1).asking_for_client_id(1), Some(Reason::ClientIdRegenerated))]
#[case::compromised(account().compromised(), Some(Reason::Compromised))]
#[case::compromised_first(account().compromised().asking_for_client_id(1), Some(Reason::Compromised))]
#[case::secret_deleted(account().with_secret(Secret::Missing), Some(Reason::Repaired))]
#[case::secret_altered(account().garbled(), Some(Reason::Repaired))]
#[case::record_lost(account().without_record(), Some(Reason::Repaired))]
#[case::record_and_secret_lost(account().without_record().with_secret(Secret::Missing), Some(Reason::Repaired))]
#[case::record_and_status_lost(account().without_record().without_status(), Some(Reason::Repaired))]
#[case::a_trigger_before_a_repair(account().garbled().asking_for_secret(1), Some(Reason::Requested))]
#[case::status_lost(account().without_status(), None)]
#[case::another_label(account().labelled("payments"), None)]
fn a_credential_changes_for_these_reasons_and_no_other(#[case] world: World, #[case] reason: Option<Reason>) {
    assert_eq!(world.reason(), reason);
    let changed = world.clone().settled().ledger.published.len() - world.ledger.published.len();
    assert_eq!(changed, usize::from(reason.is_some()));
}

#[rstest]
#[case::compromised(account().asking_for_secret(1).settled().compromised())]
#[case::deleted(account().deleting().garbled().asking_for_secret(1))]
#[case::disabled(account().disabled().garbled().asking_for_client_id(1).compromised())]
#[case::disabled_from_the_start(World::new().disabled())]
#[case::disabled_and_the_record_lost(account().disabled().without_record())]
#[case::disabled_when_due(account().disabled().expiring_in(seconds(0)))]
#[case::in_the_way(account().with_secret(Secret::Foreign).asking_for_secret(1))]
#[case::garbage_in_the_way(World::new().with_secret(Secret::Leftover))]
#[case::expired_manual_and_deleted(account().manual().expiring_in(seconds(0)).with_secret(Secret::Missing))]
#[case::expired_manual_and_altered(account().manual().labelled("new").expiring_in(seconds(0)).garbled())]
fn nothing_is_written_for(#[case] world: World) {
    let world = if ready(&world) == Standing::Ready { world.settled() } else { world };
    assert_eq!(world.decide().action, Action::Nothing);
}

#[rstest]
#[case(account(), Standing::Ready)]
#[case(account().disabled(), Standing::Disabled)]
#[case(account().manual().expiring_in(seconds(0)), Standing::Expired)]
#[case(account().expiring_in(seconds(0)), Standing::Ready)]
#[case(account().manual().expiring_in(seconds(0)).disabled(), Standing::Disabled)]
#[case(account().deleting().disabled(), Standing::Deleting)]
#[case(account().with_secret(Secret::Leftover), Standing::WaitingForGarbageCollection)]
#[case(account().with_secret(Secret::Foreign).disabled(), Standing::SecretConflict { owner: "Deployment web".into() })]
fn the_standing_says_what_keeps_an_account_from_its_credential(#[case] world: World, #[case] standing: Standing) {
    assert_eq!(ready(&world), standing);
}

#[rstest]
#[case(-1, None)]
#[case(0, Some(Reason::Scheduled))]
#[case(1, Some(Reason::Scheduled))]
fn an_automatic_secret_is_replaced_one_overlap_before_its_end(#[case] late: i64, #[case] reason: Option<Reason>) {
    // With an overlap below ten seconds there is no jitter.
    let world = account().overlapping("9s").settled().expiring_in(seconds(9 - late));
    assert_eq!(world.reason(), reason);
    assert_eq!(account().manual().overlapping("9s").settled().expiring_in(seconds(9 - late)).reason(), None);
}

#[test]
fn the_jitter_makes_a_rotation_later_and_never_sooner() {
    let world = account();
    let due = world.decide().wake.unwrap();
    let earliest = world.current().not_after.saturating_add(-hours(24));
    assert!((earliest..=earliest.saturating_add(TimeDelta::minutes(144))).contains(&due), "{due}");
}

#[rstest]
#[case(-1, Standing::Ready)]
#[case(0, Standing::Expired)]
#[case(1, Standing::Expired)]
fn a_manual_secret_stops_at_its_end(#[case] late: i64, #[case] standing: Standing) {
    let world = account().manual().settled().expiring_in(seconds(-late));
    assert_eq!((ready(&world), world.accepts(1)), (standing.clone(), standing == Standing::Ready));
    assert_eq!(world.asking_for_secret(1).reason(), Some(Reason::Requested));
}

#[rstest]
#[case::requested(account().asking_for_secret(1), hours(1))]
#[case::client_id(account().asking_for_client_id(1), hours(1))]
#[case::repaired(account().garbled(), hours(24))]
#[case::compromised(account().compromised(), seconds(0))]
#[case::scheduled(account().overlapping("9s").settled().expiring_in(seconds(9)), seconds(9))]
#[case::requested_near_the_end(account().manual().settled().expiring_in(seconds(9)).asking_for_secret(1), seconds(9))]
#[case::repaired_near_the_end(account().manual().settled().expiring_in(hours(23)).garbled(), hours(23))]
fn the_old_secret_works_on_until_its_grace_or_its_own_end(#[case] world: World, #[case] left: TimeDelta) {
    let changed = world.grace(hours(1)).settled();
    let end = changed.now.saturating_add(left);
    assert_eq!(changed.previous().map(|old| old.not_after), (left > seconds(0)).then_some(end));
    assert_eq!(changed.at(end.saturating_add(seconds(-1))).accepts(1), left > seconds(0));
    assert!(!changed.at(end).accepts(1));
}

#[test]
fn a_further_change_ends_the_oldest_secret() {
    let twice = account().grace(hours(24)).asking_for_secret(1).settled().asking_for_secret(2).settled();
    assert_eq!([1, 2, 3].map(|plaintext| twice.accepts(plaintext)), [false, true, true]);
}

#[test]
fn a_leak_makes_the_tokens_of_every_earlier_version_inactive() {
    let world = account().grace(hours(24)).asking_for_secret(1).settled().compromised().settled();
    assert_eq!(world.record.as_ref().map(|record| record.compromised_versions.clone()), Some(vec![1, 2]));
    assert_eq!([1, 2, 3].map(|plaintext| world.accepts(plaintext)), [false, false, true]);
}

#[test]
fn a_leak_and_a_request_for_a_client_id_are_answered_together() {
    let world = account().compromised().asking_for_client_id(1).settled();
    assert_eq!((world.current().version, world.current().reason), (2, Reason::Compromised));
    assert_ne!(world.current().client_id, account().current().client_id);
}

#[rstest]
#[case::client_id(account().asking_for_client_id(1), true)]
#[case::secret(account().asking_for_secret(1), false)]
#[case::repair(account().with_secret(Secret::Missing), false)]
#[case::leak(account().compromised(), false)]
#[case::lost_record(account().without_record(), false)]
fn only_a_request_for_it_changes_the_client_id(#[case] world: World, #[case] changes: bool) {
    assert_eq!(world.settled().current().client_id != account().current().client_id, changes);
}

/// v1 is 100 days old; counted from its creation it ends at the new validity, but not within the coming day.
#[rstest]
#[case::longer(365, days(265))]
#[case::shorter(120, days(20))]
#[case::shorter_than_the_floor(101, days(1))]
#[case::shorter_than_its_age(1, days(1))]
fn an_edited_validity_moves_the_end(#[case] validity: i32, #[case] left: TimeDelta) {
    let edited = account().after(days(100)).valid_for(validity);
    let not_after = edited.now.saturating_add(left);
    assert_eq!(edited.decide().action, Action::MoveExpiry { not_after, validity_days: validity });
    assert_eq!(edited.disabled().settled().current().not_after, not_after);
}

#[rstest]
#[case::below_the_floor_it_keeps_what_it_has(1, hours(3))]
#[case::longer(181, hours(27))]
fn an_edited_validity_near_the_end(#[case] validity: i32, #[case] left: TimeDelta) {
    let edited = account().manual().settled().expiring_in(hours(3)).valid_for(validity).settled();
    assert_eq!(edited.current().not_after, edited.now.saturating_add(left));
}

#[test]
fn a_long_overlap_is_the_floor_of_a_shortened_validity() {
    let edited = account().after(days(100)).valid_for(90).overlapping("48h");
    assert!(
        matches!(edited.decide().action, Action::MoveExpiry { not_after, .. } if not_after == edited.now.saturating_add(days(2)))
    );
}

#[test]
fn a_longer_validity_makes_a_rotation_that_is_due_unnecessary() {
    let world = account().expiring_in(hours(1)).valid_for(365).settled();
    assert_eq!((world.current().version, world.current().not_after), (1, start().saturating_add(days(365))));
}

#[rstest]
#[case(-1, true)]
#[case(0, false)]
#[case(1, false)]
fn an_edited_validity_never_revives(#[case] late: i64, #[case] moved: bool) {
    let edited = account().manual().settled().expiring_in(seconds(-late)).valid_for(365);
    assert_eq!(matches!(edited.decide().action, Action::MoveExpiry { .. }), moved);
}

#[test]
fn reverting_the_validity_in_time_reverts_the_end() {
    let reverted = account().after(days(10)).valid_for(1).settled().after(hours(5)).valid_for(180).settled();
    assert_eq!(reverted.current().not_after, account().current().not_after);
}

/// v1 has run for ten minutes of a grace of one hour.
#[rstest]
#[case::shorter(TimeDelta::minutes(30), Some(TimeDelta::minutes(20)))]
#[case::shorter_than_it_has_run(TimeDelta::zero(), Some(TimeDelta::zero()))]
#[case::the_same(TimeDelta::minutes(60), None)]
#[case::longer(hours(24), None)]
fn an_edited_grace_shortens_and_never_extends(#[case] grace: TimeDelta, #[case] left: Option<TimeDelta>) {
    let world = account().grace(hours(1)).asking_for_secret(1).settled().after(TimeDelta::minutes(10)).grace(grace);
    let expected = left.map(|left| Action::ShortenGrace { not_after: world.now.saturating_add(left) });
    assert_eq!(world.decide().action, expected.unwrap_or(Action::Nothing));
}

#[test]
fn an_edited_grace_leaves_an_overlap_and_a_repair_alone() {
    let rotated = account().overlapping("9s").settled().expiring_in(seconds(9)).grace(hours(1)).settled();
    let repaired = account().garbled().grace(hours(1)).settled();
    assert_eq!(rotated.grace(hours(0)).decide().action, Action::Nothing);
    assert_eq!(repaired.grace(hours(0)).decide().action, Action::Nothing);
}

#[test]
fn an_outdated_secret_is_written_again_around_the_same_credential_also_while_disabled() {
    for world in [account().labelled("payments"), account().labelled("payments").disabled()] {
        assert!(matches!(world.decide().action, Action::Republish { .. }));
        assert_eq!(world.settled().current(), account().current());
    }
}

#[test]
fn a_published_version_is_finished_even_if_the_account_was_disabled_since() {
    let world = account().asking_for_secret(1).dying_after(2).disabled();
    assert_eq!(world.decide().action, Action::Retire { version: 2 });
    assert!(world.settled().accepts(2));
}

#[test]
fn a_staged_version_is_left_alone_until_another_one_is_published() {
    let died = account().asking_for_client_id(1).dying_after(1);
    assert_eq!((died.staged(), died.accepts(2)), (1, true));
    let finished = died.settled();
    assert_eq!((finished.staged(), finished.current().version, finished.accepts(2)), (0, 3, false));
    assert_eq!(finished.current().client_id, "client-2", "the client ID that was staged is taken up again");
}

#[rstest]
#[case::not_yet_open(301, Some(1))]
#[case::just_open(300, None)]
fn an_annotation_from_the_future_wakes_the_account_when_it_opens(#[case] ahead: i64, #[case] wake: Option<i64>) {
    let world = account().manual().settled();
    let time = world.now.saturating_add(seconds(ahead));
    let annotated = world.annotated(api::REGENERATE, format!("client-secret@{time}"));
    assert_eq!(annotated.reason().is_none(), wake.is_some());
    if let Some(wake) = wake {
        assert_eq!(annotated.decide().wake, Some(annotated.now.saturating_add(seconds(wake))));
    }
}

#[rstest]
#[case::conflict(Secret::Foreign, 60)]
#[case::garbage(Secret::Leftover, 2)]
fn a_secret_in_the_way_is_looked_at_again(#[case] secret: Secret, #[case] after: i64) {
    let world = account().with_secret(secret.clone());
    assert_eq!(world.decide().wake, Some(world.now.saturating_add(seconds(after))));
    let ending = account().manual().settled().expiring_in(seconds(1)).with_secret(secret);
    assert_eq!(ending.decide().wake, Some(ending.now.saturating_add(seconds(1))), "its expiry shows all the same");
}

fn external(edit: impl FnOnce(&mut Observed)) -> Plan {
    let mut observed = account().observe();
    observed.account.authentication = Authentication::External { client_id: "ci".into(), trusted_issuer: None };
    observed.record = None;
    edit(&mut observed);
    decide(&observed, start())
}

#[test]
fn an_external_account_is_registered_once_and_gives_way_to_an_older_one() {
    let registered = Record { external_client_id: Some("ci".into()), ..Record::new(account().account().owner) };
    assert_eq!(external(|_| {}).action, Action::Register);
    assert_eq!(external(|o| o.record = Some(registered)).action, Action::Nothing);
    assert_eq!(external(|o| o.account.enabled = false).standing, Standing::Disabled);
    assert_eq!(external(|o| o.namespace_ending = true).action, Action::Nothing);
    let rival = external(|o| o.rival = Some("shop/older".into()));
    assert_eq!((rival.action, rival.wake), (Action::Nothing, Some(start().saturating_add(seconds(60)))));
    assert_eq!(rival.standing, Standing::ClientIdConflict { rival: "shop/older".into() });
}
