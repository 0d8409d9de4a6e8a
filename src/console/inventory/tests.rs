use std::sync::Arc;

use k8s_openapi::api::core::v1::ConfigMap;
use rstest::rstest;
use serde_json::json;

use super::testing::{account, at, by, mail, row};
use super::*;
use crate::api::ServiceAccountStatus;
use crate::api::service_account::Mode;

const NOW: &str = "2026-11-22T12:00:00Z";

fn names(rows: &[Arc<Row>]) -> Vec<&str> {
    rows.iter().map(|row| row.name.as_str()).collect()
}

fn holdings() -> Holdings {
    let holdings = Holdings::new(1);
    holdings.insert(row("shop", "exporter", |object| {
        object.spec.description = Some("Nightly Export".into());
        object.spec.contact = mail("ops@example.com");
        by(object, "alice");
        let status = json!({"observedGeneration": 1, "clientId": "0df1032c", "accountStatus": "Active",
            "clientSecretStatus": "Active", "clientSecretExpiryTime": "2026-11-29T12:00:00Z"});
        object.status = Some(serde_json::from_value::<ServiceAccountStatus>(status).unwrap());
    }));
    holdings.insert(row("shop", "billing", |object| object.spec.enabled = false));
    holdings.insert(row("bank", "crawler", |object| {
        object.spec.authentication.mode = Mode::External;
        object.spec.authentication.external_client_id = Some("system:serviceaccount:bank:crawler".into());
        by(object, "bob");
    }));
    let tombstone = json!({"metadata": {"name": "deleted-x"}, "data": {
        "accountStatus": "deleted", "uid": "x", "namespace": "bank", "name": "ancient", "authenticationMode": "Internal",
        "createdTime": "2020-01-01T00:00:00Z", "deletedTime": "2026-11-20T00:00:00Z", "createdBy": "bob"}});
    let tombstone: ConfigMap = serde_json::from_value(tombstone).unwrap();
    holdings.insert(Row::of_tombstone(tombstone).unwrap());
    holdings
}

#[rstest]
#[case::everything("", &["ancient", "billing", "crawler", "exporter"])]
#[case::one_namespace("namespace=shop", &["billing", "exporter"])]
#[case::a_name("q=EXPORTER", &["exporter"])]
#[case::a_client_id("q=0df1", &["exporter"])]
#[case::a_description("q=nightly", &["exporter"])]
#[case::a_mail_address("q=ops%40example", &["exporter"])]
#[case::a_creator("q=alice", &["exporter"])]
#[case::every_word_must_match("q=nightly+alice", &["exporter"])]
#[case::one_word_that_does_not("q=nightly+bob", &[])]
#[case::no_match_across_fields("q=exporter%0A0df1", &["exporter"])]
#[case::active("status=active", &["crawler", "exporter"])]
#[case::inactive("status=inactive", &["billing"])]
#[case::deleted("status=deleted", &["ancient"])]
#[case::mode("mode=external", &["crawler"])]
#[case::secret("secret=inactive", &["billing"])]
#[case::expiring_within_exactly_the_time_left("expiring=7", &["exporter"])]
#[case::expiring_too_late("expiring=6", &[])]
#[case::by_another_column("sort=-created-by", &["billing", "ancient", "crawler", "exporter"])]
#[case::absent_values_come_last("sort=expiry", &["exporter", "ancient", "billing", "crawler"])]
#[case::absent_values_come_last_downwards_too("sort=-expiry", &["exporter", "ancient", "billing", "crawler"])]
#[case::nonsense_is_as_if_it_were_not_there("status=x&sort=y&size=7&page=-1&expiring=a&z=1", &["ancient", "billing", "crawler", "exporter"])]
fn a_query_finds(#[case] raw: &str, #[case] expected: &[&str]) {
    let found = holdings().find(&Query::parse(raw), at(NOW), |_| true);
    assert_eq!(names(&found), expected);
}

#[test]
fn what_one_may_not_see_is_not_found() {
    let found = holdings().find(&Query::parse("q=e"), at(NOW), |row| row.created_by == "alice");
    assert_eq!(names(&found), ["exporter"]);
}

#[rstest]
#[case(
    "namespace=shop&q=a+b&status=deleted&mode=external&secret=none&expiring=30&sort=-expiry&size=50&page=3&select=all"
)]
#[case("")]
fn a_query_survives_its_url(#[case] raw: &str) {
    let query = Query::parse(raw);
    assert_eq!(Query::parse(query.to_url().trim_start_matches('?')), query);
    assert_eq!(query.to_url().trim_start_matches('?'), raw);
}

#[rstest]
#[case::first("", (1, 20, 1))]
#[case::middle("page=3", (41, 60, 3))]
#[case::last("page=8", (141, 143, 8))]
#[case::past_the_end_is_the_last("page=99", (141, 143, 8))]
#[case::size("size=100&page=2", (101, 143, 2))]
fn a_page_tells_where_it_is(#[case] raw: &str, #[case] expected: (usize, usize, usize)) {
    let holdings = Holdings::new(1);
    for number in 0..143 {
        holdings.insert(row("shop", &format!("a{number:03}"), |_| ()));
    }
    let query = Query::parse(raw);
    let page = page(holdings.find(&query, at(NOW), |_| true), &query);
    assert_eq!((page.first_row, page.last_row, page.number), expected);
    assert_eq!((page.total, page.rows[0].name.as_str()), (143, &*format!("a{:03}", expected.0 - 1)));
}

#[test]
fn an_empty_page_is_page_one_of_one() {
    let page = page(Vec::new(), &Query::parse("page=4"));
    assert_eq!((page.total, page.number, page.last, page.first_row, page.last_row), (0, 1, 1, 0, 0));
}

#[test]
fn sorting_by_the_same_column_again_turns_it_round() {
    let query = Query::parse("sort=expiry&page=3");
    assert_eq!(query.sorted_by(Column::SecretExpiry).to_url(), "?sort=-expiry");
    assert_eq!(query.sorted_by(Column::SecretExpiry).sorted_by(Column::SecretExpiry).to_url(), "?sort=expiry");
    assert_eq!(query.sorted_by(Column::Created).to_url(), "?sort=created");
}

#[test]
fn the_columns_have_the_manuals_order_and_words() {
    assert_eq!(
        Column::ALL.map(Column::title),
        [
            "Name",
            "Client ID",
            "Description",
            "Authentication mode",
            "Last access time",
            "Account status",
            "Client Secret Status",
            "Email address",
            "Created time",
            "Client Secret Expiry",
            "Created by"
        ]
    );
    for column in Column::ALL {
        assert_eq!(Column::of_key(column.key()), Some(column));
    }
}

#[test]
fn a_row_prefers_what_the_admission_policy_vouches_for() {
    let mut object = account("shop", "a");
    object.status =
        Some(ServiceAccountStatus { created_by: Some("mallory".into()), ..ServiceAccountStatus::default() });
    assert_eq!(Row::of(object.clone()).created_by, "mallory");
    by(&mut object, "alice");
    assert_eq!(Row::of(object.clone()).created_by, "alice");
    object.metadata.annotations = None;
    object.status = None;
    assert_eq!(Row::of(object).created_by, "unknown");
}

#[test]
fn the_export_holds_every_row_and_no_formula() {
    let rows: Vec<_> = ["=1+1", "+1", "-1", "@SUM(A1)", "\tx", "a, \"b\"\nc"]
        .iter()
        .enumerate()
        .map(|(at, text)| {
            Arc::new(row("shop", &format!("a{at}"), |object| object.spec.description = Some((*text).to_owned())))
        })
        .collect();
    let text = String::from_utf8(export::csv(&rows).unwrap()).unwrap();
    assert!(text.starts_with("Name,Client ID,Description,"), "{text}");
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let found: Vec<String> = reader.records().map(|record| record.unwrap()[2].to_owned()).collect();
    assert_eq!(found, ["'=1+1", "'+1", "'-1", "'@SUM(A1)", "'\tx", "a, \"b\"\nc"]);
}
