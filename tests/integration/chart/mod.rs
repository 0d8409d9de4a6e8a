//! The Helm chart: rendered by the real Helm, and checked by its users' tools and a real API server.

pub(crate) mod tools;
