//! One test binary for everything that needs more than the library: one module per promise.

// `cfg(test)` is always true here; it tells clippy that helpers outside a test function are tests too.
#[cfg(test)]
mod admission;
#[cfg(test)]
mod chart;
#[cfg(test)]
mod checked_by_others;
#[cfg(test)]
mod cluster;
#[cfg(test)]
mod common;
#[cfg(test)]
mod console;
#[cfg(test)]
mod controlplane;
#[cfg(test)]
mod crash_points;
#[cfg(test)]
mod deployment_forms;
#[cfg(test)]
mod external_accounts;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod fixtures;
#[cfg(test)]
mod foreign_clients;
#[cfg(test)]
mod foreign_keys;
#[cfg(test)]
mod freshness;
#[cfg(test)]
mod generated;
#[cfg(test)]
mod gitops;
#[cfg(test)]
mod groups;
#[cfg(test)]
mod health;
#[cfg(test)]
mod keycloak;
#[cfg(test)]
mod layering;
#[cfg(test)]
mod leadership;
#[cfg(test)]
mod legacy_gateway;
#[cfg(test)]
mod lifecycle;
#[cfg(test)]
mod limits;
#[cfg(test)]
mod main_job;
#[cfg(test)]
mod notices;
#[cfg(test)]
mod oauth_gateway;
#[cfg(test)]
mod policies;
#[cfg(test)]
mod privilege;
#[cfg(test)]
mod regenerations;
#[cfg(test)]
mod restarts;
#[cfg(test)]
mod signing_keys;
#[cfg(test)]
mod spans;
#[cfg(test)]
mod take_over;
#[cfg(test)]
mod tenants;
#[cfg(test)]
mod timing;
#[cfg(test)]
mod upkeep;
#[cfg(test)]
mod usage;
#[cfg(test)]
mod year;
