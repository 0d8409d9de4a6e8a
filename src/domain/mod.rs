//! The rules: pure, with `now` and the random source as parameters. No async, no client, no clock, no environment.

pub mod account;
pub mod assertion;
pub mod audience;
pub mod base64;
pub mod claims;
pub mod credential;
pub mod decide;
pub mod duration;
pub mod group;
pub mod introspection;
pub mod issuer;
pub mod json;
pub mod keys;
pub mod leadership;
pub mod mac;
pub mod mint;
pub mod names;
pub mod notice;
pub mod observed;
pub mod paths;
pub mod plan;
pub mod publication;
pub mod record;
pub mod renewal;
pub mod restart;
pub mod schedule;
pub mod scope;
pub mod settle;
pub mod signing;
pub mod token;
pub mod transition;
pub mod trigger;
pub mod usage;
pub mod verifier;
pub mod words;

#[cfg(test)]
mod publish_model;
#[cfg(test)]
mod rotation_properties;
#[cfg(test)]
mod simulation;
