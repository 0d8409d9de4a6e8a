//! Calls to the API server, each with a time-out and an error that says what was to be done.

use std::future::Future;
use std::time::Duration;

use super::error::{CallError, Error};
use crate::config::CALL_TIMEOUT;

/// Awaits a call for at most [`CALL_TIMEOUT`].
///
/// # Errors
/// The call's own, or that it took too long.
pub async fn call<T>(what: impl FnOnce() -> String, call: impl Future<Output = kube::Result<T>>) -> Result<T, Error> {
    call_within(CALL_TIMEOUT, what, call).await
}

/// Awaits a call for at most `limit`.
///
/// # Errors
/// The call's own, or that it took too long.
pub async fn call_within<T>(
    limit: Duration,
    what: impl FnOnce() -> String,
    call: impl Future<Output = kube::Result<T>>,
) -> Result<T, Error> {
    let cause = match tokio::time::timeout(limit, call).await {
        Ok(Ok(value)) => return Ok(value),
        Ok(Err(error)) => CallError::from(error),
        Err(_) => CallError::TimedOut(limit.as_secs()),
    };
    Err(Error::Call { what: what(), cause })
}

/// Like [`call`] for a read where 404 is an answer.
///
/// # Errors
/// Any but 404.
pub async fn find<T>(
    what: impl FnOnce() -> String,
    get: impl Future<Output = kube::Result<T>>,
) -> Result<Option<T>, Error> {
    found(call(what, get).await)
}

/// Takes a 404 as an answer.
///
/// # Errors
/// Any other.
pub fn found<T>(read: Result<T, Error>) -> Result<Option<T>, Error> {
    match read {
        Ok(value) => Ok(Some(value)),
        Err(Error::Call { cause: CallError::NotFound, .. }) => Ok(None),
        Err(error) => Err(error),
    }
}
