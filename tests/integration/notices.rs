//! Expiry notices, through days in seconds: against the real API server, a real mail server with STARTTLS and AUTH, and
//! a real HTTP receiver that checks the signature.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use keyrota::api::{ConditionStatus, ServiceAccount, ServiceAccountStatus, Timestamp};
use keyrota::clock::{Clock, ManualClock, SharedClock, SystemClock};
use keyrota::config;
use keyrota::doctor::{self, DoctorArgs};
use keyrota::domain::notice::State;
use keyrota::domain::record::Record;
use kube::api::{DeleteParams, PostParams};
use serde_json::{Value, json};

use super::common::eventually;
use super::common::mailbox::{self, Mailbox};
use super::common::operator::{Operator, SOON, condition, text};
use super::common::receiver::{Receiver, TestIssuer};

/// Longer than a mail may take (20 s) and a webhook (10 s), with room for a busy machine.
const AFTER_A_TIME_OUT: Duration = Duration::from_secs(60);

/// An operator on a clock of its own, with these flags.
async fn operator(flags: &[Vec<String>]) -> (Operator, ManualClock) {
    let clock = ManualClock::at(SystemClock.now());
    let mut operator = Operator::prepared(Arc::new(clock.clone())).await;
    operator.flags = flags.concat();
    (operator, clock)
}

fn manual(validity_days: i32, email: &str) -> Value {
    json!({"clientSecret": {"rotation": "Manual", "validityDays": validity_days}, "contact": {"email": email}})
}

fn status(account: &ServiceAccount) -> ServiceAccountStatus {
    account.status.clone().unwrap_or_default()
}

fn expiry(account: &ServiceAccount) -> Timestamp {
    status(account).client_secret_expiry_time.unwrap()
}

fn before(expiry: Timestamp, days: i64) -> Timestamp {
    expiry.saturating_add(TimeDelta::days(-days))
}

fn a_second_before(time: Timestamp) -> Timestamp {
    time.saturating_add(TimeDelta::seconds(-1))
}

/// Waits until a pass that began now has come to its end.
async fn passed(operator: &Operator, name: &str) -> ServiceAccount {
    let mark = format!("seen at {}", operator.clock.timestamp());
    operator.edit(name, json!({"spec": {"description": mark}})).await;
    operator.until(name, "seen", |_| true).await
}

/// Waits until no notice of the account is pending.
async fn settled(operator: &Operator, account: &ServiceAccount) -> Record {
    eventually("all notices are settled", SOON, async || {
        let record = operator.record(account).await?;
        let pending = record.notices.iter().any(|notice| notice.state == State::Pending);
        (!record.notices.is_empty() && !pending).then_some(record)
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn every_notice_of_a_manual_account_goes_out_on_its_second_by_mail_webhook_and_event() {
    let Some(mailbox) = Mailbox::open() else { return };
    let receiver = Receiver::answering(204).await;
    let (mut operator, clock) =
        operator(&[mailbox.flags(), receiver.flags(), vec!["--cluster-name".into(), "<prod>".into()]]).await;
    let notifications = json!({"adminRecipients": ["admin@hq.corp.example"], "webhook": receiver.url});
    let _issuer = TestIssuer::with(operator.control_plane, &operator.tenant.name, notifications).await;
    operator.start_controller();
    let account = operator.ready("exporter", manual(100, "team@example.com")).await;
    let expiry = expiry(&account);

    for (count, threshold) in (1..).zip([90, 60, 30, 7, 1, -1]) {
        let due = before(expiry, threshold);
        clock.set(a_second_before(due).at());
        let early = passed(&operator, "exporter").await;
        assert!(status(&early).notifications.iter().all(|entry| i64::from(entry.threshold) != threshold));
        assert_eq!((mailbox.mails().len(), receiver.received().len()), (2 * (count - 1), count - 1));

        clock.set(due.at());
        mailbox.until(2 * count).await;
        let received = receiver.until(count).await;
        assert_eq!(received[count - 1].timestamp, due.unix());
        let record = settled(&operator, &account).await;
        let notice = record.notices.last().unwrap();
        assert_eq!((i64::from(notice.threshold), notice.due_time, notice.state), (threshold, due, State::Sent));
    }
    assert_what_was_said(&operator, &account, &mailbox, &receiver).await;
    let last = passed(&operator, "exporter").await;
    assert_eq!(status(&last).notifications.len(), 6 * 3);
    assert!(status(&last).notifications.iter().all(|entry| entry.result == "Sent" && entry.sent_time.is_some()));
    assert_eq!(condition(&status(&last), "Expired").0, Some(ConditionStatus::True));
    assert_eq!(condition(&status(&last), "NotificationFailed").0, None);
}

async fn assert_what_was_said(operator: &Operator, account: &ServiceAccount, mailbox: &Mailbox, receiver: &Receiver) {
    let (mails, received) = (mailbox.mails(), receiver.received());
    assert_eq!((mails.len(), received.len()), (12, 6));
    let ids: BTreeSet<_> = mails.iter().map(|mail| mail["headers"]["message-id"].as_str().unwrap()).collect();
    assert_eq!(ids.len(), 6, "both get the same letter: {ids:?}");
    let uid = account.metadata.uid.as_ref().unwrap();
    assert!(ids.contains(format!("<notice-{uid}-1-90@example.com>").as_str()), "{ids:?}");
    assert_eq!(received.iter().map(|request| &request.id).collect::<BTreeSet<_>>().len(), 6);

    let to: BTreeSet<_> = mails.iter().map(|mail| mail["to"][0].as_str().unwrap()).collect();
    assert_eq!(to, BTreeSet::from(["admin@hq.corp.example", "team@example.com"]));
    let secret = operator.secrets().get("exporter-credentials").await.unwrap();
    for mail in &mails {
        assert_eq!((&mail["encrypted"], &mail["authenticated"]), (&json!(true), &json!(true)));
        assert_eq!(
            (&mail["headers"]["auto-submitted"], mail["to"].as_array().unwrap().len()),
            (&json!("auto-generated"), 1)
        );
        let patch =
            "serviceaccounts.keyrota.dev exporter --type merge -p '{\"spec\":{\"regenerate\":{\"clientSecret\":1}}}'";
        let (text_part, html) = (mail["text"].as_str().unwrap(), mail["html"].as_str().unwrap());
        assert!(text_part.contains(patch) && text_part.contains(&operator.tenant.name), "{text_part}");
        assert!(html.contains("&lt;prod&gt;") && !html.contains("<prod>"), "{html}");
        assert!(!mail.to_string().contains(&text(&secret, "client-secret")));
    }
    let event = &received[3].event;
    assert_eq!(
        (&event["type"], &event["data"]["thresholdDays"]),
        (&json!("dev.keyrota.clientsecret.expiring"), &json!(7))
    );
    assert_eq!(event["subject"], json!(format!("{}/exporter", operator.tenant.name)));
    assert_eq!(received[5].event["type"], json!("dev.keyrota.clientsecret.expired"));
    assert_eq!(operator.events("ClientSecretExpiring").await.len(), 5);
    let expired = operator.events("ClientSecretExpired").await;
    assert_eq!((expired.len(), expired[0].type_.as_deref()), (1, Some("Warning")));
    assert_eq!(expired[0].regarding.as_ref().unwrap().uid.as_ref(), Some(uid));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_not_sent_before_a_restart_is_sent_after_it_once_and_of_many_missed_only_the_most_urgent() {
    let dead = Mailbox::dead();
    let (mut operator, clock) = operator(&[dead.flags()]).await;
    operator.start_controller();
    let account = operator.ready("exporter", manual(100, "team@example.com")).await;
    let expiry = expiry(&account);
    clock.set(before(expiry, 90).at());
    operator.until("exporter", "in trouble", |status| condition(status, "NotificationFailed").1 == "Retrying").await;
    operator.kill_controller().await;

    let Some(mailbox) = dead.open() else { return };
    operator.start_controller();
    mailbox.until(1).await;
    settled(&operator, &account).await;
    operator.until("exporter", "mended", |status| condition(status, "NotificationFailed").0.is_none()).await;
    operator.kill_controller().await;

    // Away past the thresholds of 60, 30 and 7 days.
    clock.set(before(expiry, 5).at());
    operator.start_controller();
    let mails = mailbox.until(2).await;
    settled(&operator, &account).await;
    operator.kill_controller().await;
    operator.start_controller();
    let account = passed(&operator, "exporter").await;
    assert_eq!(mailbox.mails().len(), 2);
    assert!(mails[1]["headers"]["subject"].as_str().unwrap().contains("expires in 5 days"), "{}", mails[1]);
    let record = settled(&operator, &account).await;
    let states: Vec<_> = record.notices.iter().map(|notice| (notice.threshold, notice.state)).collect();
    assert_eq!(states, [(90, State::Sent), (60, State::Skipped), (30, State::Skipped), (7, State::Sent)]);

    // A new version ends it; the next notice is of the new one.
    operator.edit("exporter", json!({"spec": {"regenerate": {"clientSecret": 1}}})).await;
    operator.until("exporter", "regenerated", |status| status.credentials.iter().any(|c| c.version == 2)).await;
    clock.set(before(expiry, 1).at());
    let account = passed(&operator, "exporter").await;
    assert!(status(&account).notifications.is_empty() && mailbox.mails().len() == 2);
    assert_eq!(condition(&status(&account), "Expiring").0, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_controller_that_is_told_to_stop_waits_for_what_is_under_way_so_that_nothing_is_sent_twice() {
    let receiver = Receiver::answering(204).await;
    receiver.hold();
    let (mut operator, clock) = operator(&[receiver.flags()]).await;
    let notifications = json!({"webhook": receiver.url});
    let _issuer = TestIssuer::with(operator.control_plane, &operator.tenant.name, notifications).await;
    let controller = operator.another_controller(&["--leader-elect", "false"]);
    let account = operator.ready("exporter", manual(100, "team@example.com")).await;
    clock.set(before(expiry(&account), 90).at());
    receiver.until(1).await;
    let stopping = tokio::spawn(controller.stop());
    receiver.release();
    stopping.await.unwrap();
    assert!(operator.record(&account).await.unwrap().notices.iter().all(|notice| notice.state == State::Sent));
    operator.start_controller();
    passed(&operator, "exporter").await;
    assert_eq!(receiver.received().len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_mail_server_that_never_answers_and_a_webhook_likewise_delay_nothing_else() {
    // Takes connections, and says nothing.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let address = silent.local_addr().unwrap();
    let mut flags: Vec<String> =
        ["--smtp-host", "127.0.0.1", "--smtp-from", "k@example.com", "--mail-domains", "*"].map(str::to_owned).to_vec();
    flags.extend(["--smtp-port".into(), address.port().to_string()]);
    let receiver = Receiver::answering(204).await;
    let (mut operator, clock) = operator(&[flags, receiver.flags()]).await;
    let notifications = json!({"webhook": format!("http://{address}/hook")});
    let _issuer = TestIssuer::with(operator.control_plane, &operator.tenant.name, notifications).await;
    operator.start_controller();
    let mut waiting = Vec::new();
    for number in 0..10 {
        waiting.push(operator.ready(&format!("waits-{number}"), manual(100, "team@example.com")).await);
    }
    operator.ready("rotates", json!({"clientSecret": {"validityDays": 15}})).await;
    let first = operator.credential("rotates-credentials").await;
    let latest = waiting.iter().map(expiry).max().unwrap();

    // Twenty deliveries hang. Meanwhile a secret is rotated on schedule, another on request, and an account is made.
    clock.set(before(latest, 85).at());
    operator.next_credential("rotates-credentials", &first).await;
    let second = operator.credential("waits-0-credentials").await;
    operator.edit("waits-0", json!({"spec": {"regenerate": {"clientSecret": 1}}})).await;
    operator.next_credential("waits-0-credentials", &second).await;
    operator.ready("new", json!({})).await;
    for account in &waiting[1..] {
        let name = account.metadata.name.as_deref().unwrap();
        let told = |status: &ServiceAccountStatus| {
            status.notifications.iter().any(|entry| entry.channel == "Event" && entry.result == "Sent")
        };
        operator.until(name, "told of by an Event", told).await;
    }
    let failed = eventually("the dead servers are told of", AFTER_A_TIME_OUT, async || {
        let account = operator.accounts().get("waits-9").await.unwrap();
        let found = status(&account).conditions.into_iter().find(|c| c.type_ == "NotificationFailed")?;
        (found.message.contains("Email: ") && found.message.contains("Webhook: ")).then_some(found)
    })
    .await;
    assert_eq!((failed.status, failed.reason.as_str()), (ConditionStatus::True, "Retrying"));
    assert!(
        !failed.message.contains("team@example.com") && !failed.message.contains(&address.to_string()),
        "{failed:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_webhook_that_answers_500_is_asked_again_after_growing_pauses_until_it_takes_the_notice() {
    let receiver = Receiver::answering(500).await;
    let (mut operator, clock) = operator(&[receiver.flags()]).await;
    let notifications = json!({"webhook": receiver.url});
    let _issuer = TestIssuer::with(operator.control_plane, &operator.tenant.name, notifications).await;
    operator.start_controller();
    let account = operator.ready("exporter", manual(100, "team@example.com")).await;
    clock.set(before(expiry(&account), 90).at());
    for count in 1..=3_usize {
        receiver.until(count).await;
        let tried = |status: &ServiceAccountStatus| {
            let failed = status.conditions.iter().find(|c| c.type_ == "NotificationFailed");
            failed.is_some_and(|failed| failed.message.contains("the webhook answered 500"))
        };
        operator.until("exporter", "told of as failing", tried).await;
        eventually("the attempt is recorded", SOON, async || {
            let record = operator.record(&account).await?;
            let attempts = record.notices[0].deliveries.iter().map(|delivery| delivery.attempts).max()?;
            (attempts as usize == count).then_some(())
        })
        .await;
        // A second less than the least pause: not yet.
        let least = TimeDelta::seconds(60 << (count - 1));
        clock.advance(least - TimeDelta::seconds(1));
        passed(&operator, "exporter").await;
        assert_eq!(receiver.received().len(), count);
        // At the end of the longest: now.
        if count == 3 {
            receiver.answer(200);
        }
        clock.advance(least / 2 + TimeDelta::seconds(1));
    }
    let received = receiver.until(4).await;
    assert!(received.iter().all(|request| request.id == received[0].id && request.event["id"] == received[0].id));
    assert!(
        received
            .windows(2)
            .all(|pair| pair[0].timestamp < pair[1].timestamp && pair[0].event["time"] == pair[1].event["time"])
    );
    operator.until("exporter", "mended", |status| condition(status, "NotificationFailed").0.is_none()).await;
    settled(&operator, &account).await;
    assert_eq!(receiver.received().len(), 4);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rotation_that_cannot_be_done_is_told_of_when_it_is_ten_minutes_late() {
    let Some(mailbox) = Mailbox::open() else { return };
    let (mut operator, clock) = operator(&[mailbox.flags()]).await;
    operator.start_controller();
    let spec = json!({"clientSecret": {"validityDays": 30, "overlap": "1h"}, "contact": {"email": "team@example.com"}});
    let refused = operator.ready("refused", spec.clone()).await;
    let blocked = operator.ready("blocked", spec).await;
    // One cannot be written, so that its passes fail; the other is somebody else's.
    operator.kill_controller().await;
    let secrets = operator.secrets();
    let mut immutable = secrets.get("refused-credentials").await.unwrap();
    immutable.immutable = Some(true);
    secrets.replace("refused-credentials", &PostParams::default(), &immutable).await.unwrap();
    secrets.delete("blocked-credentials", &DeleteParams::default()).await.unwrap();
    let foreign = serde_json::from_value(json!({"metadata": {"name": "blocked-credentials"}})).unwrap();
    secrets.create(&PostParams::default(), &foreign).await.unwrap();
    operator.start_controller();
    operator.until("blocked", "in conflict", |status| condition(status, "Ready").1 == "SecretConflict").await;

    let rotation = |account| status(account).next_rotation_time.unwrap();
    let mut late = [("refused", rotation(&refused)), ("blocked", rotation(&blocked))]
        .map(|(name, time)| (name, time.saturating_add(TimeDelta::minutes(10))));
    late.sort_by_key(|(_, time)| *time);
    for (count, (name, late)) in (1..).zip(late) {
        clock.set(a_second_before(late).at());
        let reason = if name == "refused" { "ReconcileFailed" } else { "SecretConflict" };
        operator.until(name, "stuck", |status| condition(status, "Ready").1 == reason).await;
        assert_eq!(mailbox.mails().len(), count - 1);
        clock.set(late.at());
        // A pass that fails is tried again on the machine's clock, after a while: sooner when something happens.
        operator.edit(name, json!({"metadata": {"annotations": {"example.com/looked-at": "now"}}})).await;
        let mails = mailbox.until(count).await;
        let mail = &mails[count - 1];
        assert!(mail["text"].as_str().unwrap().contains("It should have been rotated automatically"), "{mail}");
        operator.until(name, "expiring", |status| condition(status, "Expiring").1 == "RotationLate").await;
    }
    assert_eq!(mailbox.mails().len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn mail_goes_to_allowed_domains_alone_and_a_refused_address_can_be_mended() {
    let Some(mailbox) = Mailbox::with(&["--tls", "tls", "--refuse", "typo@example.com"]) else { return };
    let (mut operator, clock) = operator(&[mailbox.flags(), vec!["--smtp-tls".into(), "tls".into()]]).await;
    operator.start_controller();
    let account = operator.ready("exporter", manual(100, "team@evil-example.com")).await;
    clock.set(before(expiry(&account), 90).at());
    for (problem, next) in [
        ("its domain is not among --mail-domains", "typo@example.com"),
        ("the mail server refused the recipient (550)", "team@example.com"),
    ] {
        let failed = |status: &ServiceAccountStatus| {
            let failed = status.conditions.iter().find(|c| c.type_ == "NotificationFailed");
            failed.is_some_and(|failed| failed.reason == "GivenUp" && failed.message.contains(problem))
        };
        operator.until("exporter", problem, failed).await;
        assert!(mailbox.mails().is_empty());
        operator.edit("exporter", json!({"spec": {"contact": {"email": next}}})).await;
    }
    let mails = mailbox.until(1).await;
    assert_eq!((&mails[0]["to"], &mails[0]["encrypted"]), (&json!(["team@example.com"]), &json!(true)));
    operator.until("exporter", "mended", |status| condition(status, "NotificationFailed").0.is_none()).await;
}

#[tokio::test]
async fn doctor_says_of_each_step_of_a_trial_mail_whether_it_works() {
    super::common::install_tls_provider();
    let Some(mailbox) = Mailbox::with(&["--refuse", "nobody@example.com"]) else { return };
    let (said, outcome) = trial(&mailbox, "team@example.com", &[]).await;
    assert!(outcome.is_ok(), "{said}");
    let steps: Vec<_> = said.lines().filter(|line| line.starts_with("ok ")).collect();
    assert_eq!(steps.len(), 8, "{said}");
    assert!(mailbox.until(1).await[0]["headers"]["subject"].as_str().unwrap().contains("Trial mail"));
    assert!(!said.contains(mailbox::PASSWORD));

    let wrong = mailbox.file("wrong");
    std::fs::write(&wrong, "not-the-password").unwrap();
    let (wrong, closed) = (wrong.to_str().unwrap(), Mailbox::dead().port.to_string());
    for (flags, to, problem) in [
        (vec!["--smtp-password-file", wrong], "team@example.com", "FAIL  the server takes the username and password"),
        (vec!["--smtp-port", &closed], "team@example.com", "FAIL  the server can be reached"),
        (vec!["--smtp-host", "nowhere.invalid"], "team@example.com", "FAIL  the server's name resolves"),
        (vec!["--smtp-host", "localhost", "--smtp-tls", "tls"], "team@example.com", "FAIL  TLS is up"),
        (vec![], "nobody@example.com", "FAIL  the server takes the recipient"),
        (vec![], "team@evil.org", "FAIL  the address may be written to"),
    ] {
        let (said, outcome) = trial(&mailbox, to, &flags).await;
        let error = format!("{:#}", outcome.unwrap_err());
        assert!(said.contains(problem) && error.contains("the trial mail was not sent"), "{said}{error}");
        assert!(!said.contains("not-the-password") && !said.contains(mailbox::PASSWORD), "{said}");
    }
    assert_eq!(mailbox.mails().len(), 1);
}

#[tokio::test]
async fn a_certificate_that_nobody_vouches_for_is_not_trusted() {
    super::common::install_tls_provider();
    let Some(mailbox) = Mailbox::open() else { return };
    let Some(other) = Mailbox::open() else { return };
    let ca = other.file("certificate.pem");
    let (said, outcome) = trial(&mailbox, "team@example.com", &["--smtp-ca-file", ca.to_str().unwrap()]).await;
    assert!(outcome.is_err() && said.contains("FAIL  TLS is up and the certificate is good"), "{said}");
    assert!(mailbox.mails().is_empty());
}

/// `keyrota doctor --test-mail`, with some flags changed.
async fn trial(mailbox: &Mailbox, to: &str, changed: &[&str]) -> (String, anyhow::Result<()>) {
    let mut flags = mailbox.flags();
    for pair in changed.chunks(2) {
        match flags.iter().position(|flag| flag == pair[0]) {
            Some(at) => flags[at + 1] = pair[1].to_owned(),
            None => flags.extend(pair.iter().map(|text| (*text).to_owned())),
        }
    }
    let arguments: Vec<&str> = ["--test-mail", to].into_iter().chain(flags.iter().map(String::as_str)).collect();
    let args: DoctorArgs = config::parse(&arguments).unwrap();
    let clock: SharedClock = Arc::new(SystemClock);
    let mut said = String::new();
    let outcome = doctor::test_mail(&args, &clock, |line| {
        said.push_str(line);
        said.push('\n');
    })
    .await;
    (said, outcome)
}
