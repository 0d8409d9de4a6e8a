//! Calls to the API server, each with a time-out and an error that says what was to be done.

use std::future::Future;

use super::error::{CallError, Error};
use crate::config::CALL_TIMEOUT;

/// Awaits a call for at most [`CALL_TIMEOUT`].
///
/// # Errors
/// The call's own, or that it took too long.
pub async fn call<T>(what: impl FnOnce() -> String, call: impl Future<Output = kube::Result<T>>) -> Result<T, Error> {
    let cause = match tokio::time::timeout(CALL_TIMEOUT, call).await {
        Ok(Ok(value)) => return Ok(value),
        Ok(Err(error)) => CallError::from(error),
        Err(_) => CallError::TimedOut(CALL_TIMEOUT.as_secs()),
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
    match call(what, get).await {
        Ok(value) => Ok(Some(value)),
        Err(Error::Call { cause: CallError::NotFound, .. }) => Ok(None),
        Err(error) => Err(error),
    }
}
