//! The index, fed by hand.

use std::collections::HashSet;

use chrono::TimeDelta;
use rstest::rstest;

use super::*;
use crate::index::testing::{account, feed, filled_index, holder, issuer, list, now};

const ID: &str = "97074e41-8af9-456d-9a64-f0c4bb908048";

#[test]
fn an_account_is_found_once_its_resource_and_its_record_are_there() {
    let (index, fixture) = (filled_index(), account("a").current(ID, "s"));
    let [resource, record] = fixture.items();
    index.apply(record);
    assert_eq!(holder(&index, ID), None);
    index.apply(resource);
    assert_eq!(holder(&index, ID), Some("a".into()));
}

#[test]
fn a_record_of_another_uid_is_not_served() {
    let (index, mut fixture) = (filled_index(), account("a").current(ID, "s"));
    fixture.record.account.uid = "an-earlier-one".into();
    feed(&index, &fixture);
    assert_eq!(holder(&index, ID), None);
}

#[rstest]
#[case(Kind::Accounts)]
#[case(Kind::Records)]
fn an_account_is_gone_when_either_is_deleted(#[case] kind: Kind) {
    let (index, fixture) = (filled_index(), account("a").current(ID, "s"));
    feed(&index, &fixture);
    index.delete(kind, &fixture.uid(), 2.into());
    assert_eq!(holder(&index, ID), None);
}

#[test]
fn every_client_id_of_an_account_finds_it_and_a_dropped_one_no_longer_does() {
    let (index, fixture) = (filled_index(), account("a").current("old", "s").current("new", "s"));
    feed(&index, &fixture);
    assert_eq!((holder(&index, "old"), holder(&index, "new")), (Some("a".into()), Some("a".into())));
    let mut later = fixture.revision(2);
    later.record.versions.remove(0);
    feed(&index, &later);
    assert_eq!((holder(&index, "old"), holder(&index, "new")), (None, Some("a".into())));
}

#[test]
fn of_two_accounts_of_the_same_second_the_one_with_the_lesser_uid_holds_it_whichever_came_first() {
    for names in [["a", "b"], ["b", "a"]] {
        let index = filled_index();
        for name in names {
            feed(&index, &account(name).external("sys:x").born(1));
        }
        let lesser = names.into_iter().min_by_key(|name| account(name).uid()).unwrap();
        assert_eq!(holder(&index, "sys:x").as_deref(), Some(lesser));
    }
}

#[test]
fn a_client_id_belongs_to_the_oldest_account_that_holds_it() {
    let index = filled_index();
    feed(&index, &account("younger").external("sys:x").born(1));
    feed(&index, &account("older").external("sys:x").born(9));
    assert_eq!(holder(&index, "sys:x"), Some("older".into()));
    index.delete(Kind::Accounts, &account("older").uid(), 2.into());
    assert_eq!(holder(&index, "sys:x"), Some("younger".into()));
}

#[test]
fn accounts_of_one_age_are_ordered_by_uid_whatever_the_order_of_events() {
    for order in [["a", "b"], ["b", "a"]] {
        let index = filled_index();
        order.iter().for_each(|name| feed(&index, &account(name).external("sys:x")));
        assert_eq!(holder(&index, "sys:x"), Some("a".into()));
    }
}

#[test]
fn an_account_is_seen_only_under_its_own_issuer_also_after_its_namespace_moved() {
    let index = filled_index();
    feed(&index, &account("a").current(ID, "s"));
    let found = |name: &str| index.find(&index.world(), name, ID).is_some();
    assert_eq!((found("default"), found("acme")), (true, false));
    index.apply(Item::Issuer(Box::new(issuer("acme", 1, &["shop"], &[]))));
    assert_eq!((found("default"), found("acme")), (false, true));
    index.delete(Kind::Issuers, "acme", 2.into());
    assert_eq!((found("default"), found("acme")), (true, false));
}

#[test]
fn it_is_ready_when_every_feed_has_been_listed_once() {
    let feeds = Feed::all(&["shop".into(), "bank".into(), "shop".into()]);
    assert_eq!(feeds.len(), 6);
    let index = Index::new(feeds.clone());
    for feed in &feeds {
        assert!(!index.ready() && !index.is_fresh(now(), TimeDelta::MAX));
        list(&index, feed, vec![], 1);
    }
    assert!(index.ready() && index.is_fresh(now(), TimeDelta::zero()));
}

#[test]
fn it_is_as_fresh_as_its_stalest_feed() {
    let (index, hour) = (filled_index(), TimeDelta::hours(1));
    let later = now() + hour + TimeDelta::seconds(1);
    assert!(index.is_fresh(now() + hour, hour) && !index.is_fresh(later, hour));
    for feed in Feed::all(&[]) {
        assert!(!index.is_fresh(later, hour));
        index.advance(&feed, later);
    }
    assert!(index.is_fresh(later, TimeDelta::zero()));
}

#[test]
fn a_clock_that_is_set_back_makes_nothing_stale() {
    assert!(filled_index().is_fresh(now() - TimeDelta::days(3650), TimeDelta::zero()));
}

#[test]
fn a_list_replaces_what_was_there_but_only_in_its_own_namespace() {
    let index = Index::new(Feed::all(&["shop".into(), "bank".into()]));
    feed(&index, &account("a").current("a", "s"));
    feed(&index, &account("b").current("b", "s").of_namespace("bank"));
    let shop = Feed { kind: Kind::Accounts, namespace: Some("shop".into()) };
    list(&index, &shop, vec![], 5);
    assert_eq!((holder(&index, "a"), holder(&index, "b")), (None, Some("b".into())));
}

#[test]
fn what_was_known_of_an_object_stays_when_it_can_no_longer_be_read() {
    let (index, fixture) = (filled_index(), account("a").current(ID, "s"));
    feed(&index, &fixture);
    let (begun, time) = (index.begin_list(), now());
    let unreadable = HashSet::from([fixture.uid()]);
    let listing = Listing { items: vec![], unreadable, revision: 9.into(), begun, time };
    index.reset(&Feed::of(Kind::Records), listing);
    assert_eq!(holder(&index, ID), Some("a".into()));
}

/// What a live read may do, and not.
mod live_reads {
    use super::*;

    fn offer(index: &Index, fixture: &crate::index::testing::Fixture) {
        fixture.items().into_iter().for_each(|item| index.offer(item));
    }

    fn enabled(index: &Index) -> bool {
        index.find(&index.world(), "default", ID).unwrap().account.enabled
    }

    #[test]
    fn what_is_newer_than_the_watch_is_taken() {
        let (index, fixture) = (filled_index(), account("a").current(ID, "s"));
        offer(&index, &fixture);
        assert!(enabled(&index));
        offer(&index, &fixture.disabled().revision(2));
        assert!(!enabled(&index));
    }

    #[test]
    fn what_is_older_or_the_same_is_not() {
        let (index, fixture) = (filled_index(), account("a").current(ID, "s"));
        feed(&index, &fixture.clone().revision(10));
        // As text, "9" would be later.
        offer(&index, &fixture.clone().disabled().revision(9));
        offer(&index, &fixture.disabled().revision(10));
        assert!(enabled(&index));
    }

    #[test]
    fn a_watch_that_lags_behind_a_live_read_does_not_undo_it() {
        let (index, fixture) = (filled_index(), account("a").current(ID, "s"));
        offer(&index, &fixture.clone().revision(7));
        feed(&index, &fixture.clone().disabled().revision(6));
        index.delete(Kind::Accounts, &fixture.uid(), 5.into());
        assert!(enabled(&index));
        feed(&index, &fixture.disabled().revision(8));
        assert!(!enabled(&index));
    }

    #[test]
    fn the_watch_alone_is_always_believed_also_when_a_restored_backup_counts_lower() {
        let (index, fixture) = (filled_index(), account("a").current(ID, "s"));
        feed(&index, &fixture.clone().revision(100));
        feed(&index, &fixture.disabled().revision(3));
        assert!(!enabled(&index));
    }

    #[test]
    fn a_deleted_account_is_never_brought_back() {
        let (index, fixture) = (filled_index(), account("a").current(ID, "s").revision(5));
        feed(&index, &fixture);
        index.delete(Kind::Accounts, &fixture.uid(), 8.into());
        offer(&index, &fixture);
        offer(&index, &fixture.clone().revision(7));
        assert_eq!(holder(&index, ID), None);
    }

    #[test]
    fn a_record_that_was_made_again_after_its_deletion_is_taken() {
        let (index, fixture) = (filled_index(), account("a").current(ID, "s").revision(5));
        feed(&index, &fixture);
        index.delete(Kind::Records, &fixture.uid(), 8.into());
        assert_eq!(holder(&index, ID), None);
        offer(&index, &fixture.revision(9));
        assert_eq!(holder(&index, ID), Some("a".into()));
    }

    #[test]
    fn what_a_list_no_longer_has_is_not_brought_back_either() {
        let (index, fixture) = (filled_index(), account("a").current(ID, "s").revision(5));
        feed(&index, &fixture);
        list(&index, &Feed::of(Kind::Accounts), vec![], 8);
        offer(&index, &fixture);
        assert_eq!(holder(&index, ID), None);
    }

    #[test]
    fn a_list_that_began_before_a_live_read_does_not_undo_it() {
        let (index, fixture) = (filled_index(), account("a").current(ID, "s").revision(9));
        let begun = [index.begin_list(), index.begin_list()];
        offer(&index, &fixture);
        for (kind, begun) in [Kind::Accounts, Kind::Records].into_iter().zip(begun) {
            let listing = Listing { items: vec![], unreadable: HashSet::new(), revision: 8.into(), begun, time: now() };
            index.reset(&Feed::of(kind), listing);
        }
        assert_eq!(holder(&index, ID), Some("a".into()));
    }

    #[test]
    fn a_list_that_began_after_it_does() {
        let (index, fixture) = (filled_index(), account("a").current(ID, "s").revision(9));
        offer(&index, &fixture);
        list(&index, &Feed::of(Kind::Accounts), vec![], 3);
        assert_eq!(holder(&index, ID), None);
    }
}
