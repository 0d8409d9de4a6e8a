//! Rows that chain.

use crate::api::service_account::Contact;
use crate::api::{CREATED_BY, ServiceAccount, ServiceAccountSpec, Timestamp};

use super::row::Row;

pub(crate) fn at(text: &str) -> Timestamp {
    Timestamp::parse(text).unwrap()
}

pub(crate) fn account(namespace: &str, name: &str) -> ServiceAccount {
    let mut object = ServiceAccount::new(name, ServiceAccountSpec::default());
    object.metadata.namespace = Some(namespace.to_owned());
    object.metadata.uid = Some(format!("uid-of-{namespace}-{name}"));
    object
}

pub(crate) fn row(namespace: &str, name: &str, change: impl FnOnce(&mut ServiceAccount)) -> Row {
    let mut object = account(namespace, name);
    change(&mut object);
    Row::of(object)
}

pub(crate) fn mail(address: &str) -> Option<Contact> {
    Some(Contact { email: Some(address.to_owned()) })
}

pub(crate) fn by(object: &mut ServiceAccount, creator: &str) {
    object.metadata.annotations.get_or_insert_default().insert(CREATED_BY.to_owned(), creator.to_owned());
}
