//! Keyrota: machine identities as Kubernetes custom resources.
//!
//! `observe → parse → decide → apply → settle`: what thinks is pure and takes the time and the
//! random source as parameters; what touches the world is thin.
//!
//! Layers, each importing only those to its right (held by the `layering` test):
//! roles (`controller`, `gateway`, `console`, `doctor`, `demo`) → `index`, `mail`, `secrets`, `server`, `telemetry`, `config`,
//! `clock` →
//! `domain` → `api`. `controlplane` provides a real Kubernetes for the demo and the tests.

pub mod api;
pub mod clock;
pub mod config;
pub mod console;
pub mod controller;
pub mod controlplane;
pub mod crds;
pub mod demo;
pub mod doctor;
pub mod domain;
pub mod entropy;
pub mod gateway;
pub mod index;
pub mod mail;
pub mod secrets;
pub mod server;
pub mod telemetry;
pub mod watch;
