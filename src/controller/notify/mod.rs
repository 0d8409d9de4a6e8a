//! Expiry notices on their way out (SPEC section 6).
//!
//! A pass records what is due ([`note`]) and offers it to the outbox; the outbox works apart from all passes, so that a
//! dead mail server delays nothing but its own mail. What the outbox has not settled stands in the record: after a
//! restart the first pass over the account offers it again.

mod event;
mod lane;
mod metrics;
pub mod note;
mod outbox;
mod settings;
mod webhook;

pub use metrics::Metrics;
pub use outbox::{Outbox, keep_delivering};
pub use settings::{NoticeArgs, Ways};
