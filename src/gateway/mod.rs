//! The token gateway: credentials in, a signed token out.
//!
//! `request → wire, basic → authenticate → grant → token → answer`. What thinks is pure (`basic`, `legacy::wire`,
//! `oauth::wire`, `grant`); `authenticate` is the only one that waits, and only for credentials that it has not seen before.

pub mod assertion;
pub mod authenticate;
pub mod basic;
pub mod certificate;
pub mod endpoint;
pub mod freshen;
pub mod front;
pub mod grant;
mod hashers;
pub mod health;
pub mod identify;
mod identity;
pub mod legacy;
pub mod limit;
pub mod metrics;
pub mod oauth;
pub mod openapi;
pub mod refusal;
mod reply;
pub mod request;
pub mod router;
pub mod run;
pub mod usage;
mod verify;

pub use endpoint::App;
pub use run::{GatewayArgs, run};
