//! The rules: pure, with `now` and the random source as parameters. No async, no client, no clock, no environment.

pub mod account;
pub mod claims;
pub mod credential;
pub mod duration;
pub mod issuer;
pub mod mint;
pub mod names;
pub mod record;
pub mod token;
pub mod verifier;
