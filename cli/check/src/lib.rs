//! Finds mistakes in configurations of Envoy, Istio and Envoy Gateway that use Tributary, before Envoy runs
//! them.
//!
//! [`command`] reads files. [`yaml`] parses them and keeps the position of each value. [`manifest`] and
//! [`envoy`] find the plugins and clusters. [`deployment`] groups the plugins and clusters of one Envoy,
//! [`rules`] judges each group, and [`finding`] describes a problem. [`binary`] checks whether a given
//! Envoy can run the modules.

pub mod binary;
pub mod command;
pub mod deployment;
pub mod envoy;
pub mod finding;
pub mod manifest;
pub mod plugin;
pub mod rules;
pub mod yaml;
