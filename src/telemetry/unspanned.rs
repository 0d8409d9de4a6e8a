//! What [`super::span`] is in a program that cannot send spans: nothing.

use std::convert::Infallible;
use std::fmt::Display;

use axum::Router;

/// The span that a line of the log is in.
pub(super) struct Ids {
    pub(super) trace: Infallible,
    pub(super) span: Infallible,
}

/// Never.
#[must_use]
pub fn are_sent() -> bool {
    false
}

/// The same router.
pub fn around<P: Into<String>>(router: Router, _paths: impl Iterator<Item = P>, _scheme: &'static str) -> Router {
    router
}

/// The work alone.
pub async fn within<T, const N: usize>(
    _name: &'static str,
    _about: impl FnOnce() -> [(&'static str, Option<String>); N],
    work: impl Future<Output = T>,
) -> T {
    work.await
}

/// Nothing.
pub fn note<const N: usize>(_about: impl FnOnce() -> [(&'static str, Option<String>); N]) {}

/// Nothing.
pub fn failed(_kind: &'static str, _why: impl Display) {}

/// In none.
pub(super) fn ids() -> Option<Ids> {
    None
}
