//! The kubectl plugin; empty until the verbs are there.
fn main() {}
