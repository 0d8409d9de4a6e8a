//! The controller: from the cluster to the rules and back to the cluster.

mod apply;
mod backlog;
mod calls;
mod certificates;
mod context;
mod deadlines;
mod error;
mod groups;
mod health;
mod identity;
mod issuers;
mod lease;
mod metrics;
mod notify;
mod observe;
mod reconcile;
mod report;
mod restart;
mod run;
mod sweep;
mod term;
mod triggers;
mod usage;
mod watches;

pub use backlog::{Backlog, Size};
pub use run::{ControllerArgs, run, run_with};
