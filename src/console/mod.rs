//! The console: the manual's inventory and forms in a browser, rendered here, with no right of its own to any Secret.
//!
//! ```text
//! browser ── cookie ──▶ session ── token ──▶ API server     single objects, every write, every Secret
//!                          │
//!                          └── SubjectAccessReview ──▶ what of the watches' holdings is listed
//! ```
//!
//! Lists come from the console's own watches, filtered by what the signed-in user may list. Everything else goes to the
//! API server with the user's own token, so rights, admission policies and the audit log are Kubernetes'.

mod account;
mod assets;
mod authority;
mod credential;
mod faults;
mod fields;
mod form;
mod frame;
mod guard;
mod health;
pub mod inventory;
mod keeper;
mod manifest;
mod metrics;
pub mod pages;
mod problem;
mod rights;
mod router;
mod run;
mod session;
mod timeline;
mod visit;
mod words;

pub use rights::{Extent, Sight};
pub use run::{ConsoleArgs, TlsMode, run};
