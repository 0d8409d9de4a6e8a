//! The manual's endpoint: `POST /avxapi/acctmgmt-get-service-token`.

pub mod answer;
pub mod wire;

/// Its path; any query string is fine (the manual's is `gwsource=external`), and none of it is read.
pub const PATH: &str = crate::domain::paths::LEGACY_TOKEN;
