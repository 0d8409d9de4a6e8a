//! The standard endpoints: RFC 6749's token endpoint, introspection (RFC 7662), metadata (RFC 8414) and key sets.

pub mod answer;
mod introspect;
#[cfg(test)]
mod introspect_tests;
mod metadata;
#[cfg(test)]
mod metadata_tests;
mod token;
#[cfg(test)]
mod token_tests;
pub mod wire;

pub use metadata::{Document, Metadata, described};
