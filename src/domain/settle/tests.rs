use rstest::rstest;

use super::*;
use crate::api::ConditionStatus;
use crate::api::service_account::Reason;
use crate::domain::account::Authentication;
use crate::domain::simulation::{Secret, World, account, days, hours, seconds, start};

fn condition<'a>(status: &'a ServiceAccountStatus, type_: &str) -> Option<&'a Condition> {
    status.conditions.iter().find(|condition| condition.type_ == type_)
}

fn ready_of(world: &World) -> (ConditionStatus, String) {
    let status = world.settle();
    condition(&status, "Ready").map(|ready| (ready.status, ready.reason.clone())).unwrap()
}

#[rstest]
#[case(account(), ConditionStatus::True, "Published", None)]
#[case(World::new(), ConditionStatus::False, "Publishing", Some("Reconciling"))]
#[case(account().disabled(), ConditionStatus::True, "Disabled", None)]
#[case(account().deleting(), ConditionStatus::False, "Deleting", None)]
#[case(account().manual().settled().expiring_in(seconds(0)), ConditionStatus::False, "Expired", Some("Stalled"))]
#[case(account().with_secret(Secret::Foreign), ConditionStatus::False, "SecretConflict", Some("Stalled"))]
#[case(
    World::new().with_secret(Secret::Leftover),
    ConditionStatus::False,
    "WaitingForGarbageCollection",
    Some("Reconciling")
)]
fn ready_says_why_and_kstatus_is_told_whether_it_goes_on_by_itself(
    #[case] world: World,
    #[case] status: ConditionStatus,
    #[case] reason: &str,
    #[case] abnormal: Option<&str>,
) {
    assert_eq!(ready_of(&world), (status, reason.to_owned()));
    let status = world.settle();
    for type_ in ["Reconciling", "Stalled"] {
        let found = condition(&status, type_);
        assert_eq!(found.map(|found| found.reason.as_str()), (abnormal == Some(type_)).then_some(reason));
        assert!(found.is_none_or(|found| found.status == ConditionStatus::True));
    }
}

#[rstest]
#[case(-1, ClientSecretStatus::Active, false)]
#[case(0, ClientSecretStatus::Inactive, true)]
#[case(1, ClientSecretStatus::Inactive, true)]
fn an_expiry_shows_at_its_second(#[case] late: i64, #[case] secret: ClientSecretStatus, #[case] expired: bool) {
    let status = account().manual().settled().expiring_in(seconds(-late)).settle();
    assert_eq!(status.client_secret_status, Some(secret));
    assert_eq!(condition(&status, "Expired").is_some(), expired);
}

#[test]
fn a_disabled_account_is_inactive_and_plans_no_rotation() {
    let status = account().disabled().settle();
    assert_eq!(status.account_status, Some(AccountStatus::Inactive));
    assert_eq!((status.client_secret_status, status.next_rotation_time), (Some(ClientSecretStatus::Inactive), None));
    assert_eq!(account().settle().next_rotation_time, account().decide().wake);
}

#[rstest]
#[case(-1, vec![2, 1])]
#[case(0, vec![2])]
fn the_previous_credential_shows_while_it_works(#[case] late: i64, #[case] versions: Vec<i64>) {
    let world = account().grace(hours(1)).asking_for_secret(1).settled().after(hours(1) + seconds(late));
    let shown: Vec<i64> = world.settle().credentials.iter().map(|credential| credential.version).collect();
    assert_eq!(shown, versions);
}

#[test]
fn a_transition_time_is_kept_until_the_status_changes() {
    let world = account().after(days(1)).labelled("payments").settled();
    assert_eq!(condition(&world.status, "Ready").unwrap().last_transition_time, start());
    let disabled = world.disabled().settled();
    let ready = condition(&disabled.status, "Ready").unwrap();
    assert_eq!((ready.last_transition_time, ready.reason.as_str()), (start(), "Disabled"), "still True");
    let blocked = disabled.enabled().with_secret(Secret::Foreign).settled();
    assert_eq!(condition(&blocked.status, "Ready").unwrap().last_transition_time, blocked.now);
}

#[test]
fn what_only_the_status_knows_is_kept() {
    let mut world = account();
    let used = start().saturating_add(seconds(5));
    world.status.last_access_time = Some(used);
    world.status.credentials[0].first_used_time = Some(used);
    world.status.credentials[0].last_used_time = Some(used);
    let status = world.grace(hours(1)).asking_for_secret(1).settled().status;
    let previous = &status.credentials[1];
    assert_eq!((previous.version, previous.first_used_time, previous.last_used_time), (1, Some(used), Some(used)));
    assert_eq!((status.last_access_time, status.credentials[0].last_used_time), (Some(used), None));
}

#[test]
fn of_a_lost_record_the_client_id_and_the_versions_stay_reported() {
    let lost = account().disabled().without_record().settled().status;
    assert_eq!(lost.client_id, account().status.client_id);
    assert_eq!(lost.credentials, account().status.credentials);
    assert_eq!((lost.client_secret_expiry_time, lost.handled), (None, None));
}

#[test]
fn missing_groups_are_named_and_the_account_is_ready_all_the_same() {
    let world = account();
    let applied = Applied {
        account: world.account(),
        record: world.record.clone(),
        standing: Standing::Ready,
        issuer: "default".into(),
        missing_groups: vec!["ops".into(), "qa".into()],
        missing_trust: None,
        uses: Uses::new(),
    };
    let status = settle(&applied, &world.status, world.now);
    assert!(condition(&status, "GroupsMissing").unwrap().message.contains("ops, qa"));
    assert_eq!(condition(&status, "Ready").unwrap().status, ConditionStatus::True);
}

#[test]
fn an_account_whose_client_id_is_an_older_ones_does_not_say_that_it_has_it() {
    let mut account = account().account();
    account.authentication = Authentication::External { client_id: "ci".into(), trusted_issuer: None };
    let applied = Applied {
        record: Some(Record { external_client_id: Some("ci".into()), ..Record::new(account.owner.clone()) }),
        account,
        standing: Standing::ClientIdConflict { rival: "shop/older".into() },
        issuer: "default".into(),
        missing_groups: Vec::new(),
        missing_trust: None,
        uses: Uses::new(),
    };
    let old = ServiceAccountStatus { client_id: Some("ci".into()), ..ServiceAccountStatus::default() };
    let status = settle(&applied, &old, start());
    assert_eq!(status.client_id, None);
    assert_eq!(condition(&status, "Ready").unwrap().reason, "ClientIdConflict");
}

#[test]
fn an_external_account_shows_its_client_id_and_no_secret() {
    let mut account = account().account();
    account.authentication = Authentication::External { client_id: "ci".into(), trusted_issuer: None };
    let record = Record { external_client_id: Some("ci".into()), ..Record::new(account.owner.clone()) };
    let applied = Applied {
        account,
        record: Some(record),
        standing: Standing::Ready,
        issuer: "default".into(),
        missing_groups: Vec::new(),
        missing_trust: None,
        uses: Uses::new(),
    };
    let status = settle(&applied, &ServiceAccountStatus::default(), start());
    assert_eq!(
        (status.client_id.as_deref(), status.client_secret_status),
        (Some("ci"), Some(ClientSecretStatus::None))
    );
    assert_eq!((status.binding, status.next_rotation_time), (None, None));
}

#[rstest]
#[case::ready(Standing::Ready, ConditionStatus::False, "TrustedIssuerNotFound", true)]
#[case::disabled(Standing::Disabled, ConditionStatus::True, "Disabled", false)]
fn an_external_account_that_nobody_is_trusted_for_is_told_so_and_waits_for_somebody(
    #[case] standing: Standing,
    #[case] status: ConditionStatus,
    #[case] reason: &str,
    #[case] stalled: bool,
) {
    let mut account = account().account();
    account.authentication = Authentication::External { client_id: "ci".into(), trusted_issuer: Some("idp".into()) };
    let applied = Applied {
        account,
        record: None,
        standing,
        issuer: "acme".into(),
        missing_groups: Vec::new(),
        missing_trust: Some("none of its trustedIssuers is named \"idp\"".into()),
        uses: Uses::new(),
    };
    let settled = settle(&applied, &ServiceAccountStatus::default(), start());
    let ready = condition(&settled, "Ready").unwrap();
    assert_eq!((ready.status, ready.reason.as_str()), (status, reason));
    assert_eq!(condition(&settled, "Stalled").is_some(), stalled);
    if stalled {
        let text = "the TokenIssuer acme accepts no tokens for it: none of its trustedIssuers is named \"idp\"";
        assert_eq!(ready.message, text);
    }
}

#[test]
fn every_trigger_that_was_acted_on_is_reported() {
    let world = account().asking_for_secret(2).asking_for_client_id(3).compromised().settled();
    let handled = world.status.handled.unwrap();
    assert_eq!((handled.client_secret, handled.client_id, handled.compromised_time), (2, 3, Some(world.now)));
    assert_eq!(world.status.credentials[0].reason, Reason::Compromised);
}

/// v2 replaced v1, which got a token a second later; some time after that.
fn in_use(grace: TimeDelta, after: TimeDelta) -> (ServiceAccountStatus, Option<Timestamp>) {
    let replaced = account().grace(grace).asking_for_secret(1).settled();
    let used = replaced.now.saturating_add(seconds(1));
    let world = replaced.after(after);
    let applied = Applied {
        account: world.account(),
        record: world.record.clone(),
        standing: Standing::Ready,
        issuer: "default".into(),
        missing_groups: Vec::new(),
        missing_trust: None,
        uses: Uses::from([(1, crate::domain::usage::Use { first: used, last: used })]),
    };
    let status = settle(&applied, &world.status, world.now);
    let wake = wake(&applied, &status, world.now);
    (status, wake)
}

#[rstest]
#[case::long_before(hours(20), hours(1), Some("UsedAfterRotation"), Some(hours(19)))]
#[case::a_second_before_the_last_hour(hours(20), hours(19) - seconds(1), Some("UsedAfterRotation"), Some(hours(19)))]
#[case::the_last_hour(hours(20), hours(19), Some(words::ENDS_SOON.reason()), None)]
#[case::the_last_second(hours(20), hours(20) - seconds(1), Some(words::ENDS_SOON.reason()), None)]
#[case::its_end(hours(20), hours(20), None, None)]
#[case::before_the_last_tenth(seconds(600), seconds(539), Some("UsedAfterRotation"), Some(seconds(540)))]
#[case::the_last_tenth(seconds(600), seconds(540), Some(words::ENDS_SOON.reason()), None)]
#[case::no_time_for_two_warnings(seconds(9), seconds(8), Some("UsedAfterRotation"), Some(seconds(9)))]
fn of_a_previous_secret_in_use_people_are_warned_again_before_its_end(
    #[case] grace: TimeDelta,
    #[case] after: TimeDelta,
    #[case] reason: Option<&str>,
    #[case] next: Option<TimeDelta>,
) {
    let (status, wake) = in_use(grace, after);
    assert_eq!(condition(&status, words::IN_USE.type_()).map(|condition| condition.reason.as_str()), reason);
    let replaced = account().grace(grace).asking_for_secret(1).settled().now;
    assert_eq!(wake, next.map(|next| replaced.saturating_add(next)));
}
