//! GitOps, with the tools' own code: what they make of our objects, and that a re-sync changes nothing.

mod actions;
mod health;
mod kustomize;
mod ordering;
mod resync;
mod tools;
