//! Finds what is wrong with Tributary in configurations of Envoy, Istio and Envoy Gateway, before Envoy does.
//!
//! [`command`] reads files; [`yaml`] keeps where each value stands; [`manifest`] and [`envoy`] find the plugins and clusters in
//! them; [`deployment`] puts together what one Envoy will run; [`rules`] judge it; [`finding`] is what they say. [`binary`] asks an Envoy whether it can run the
//! modules.

pub mod binary;
pub mod command;
pub mod deployment;
pub mod envoy;
pub mod finding;
pub mod manifest;
pub mod plugin;
pub mod rules;
pub mod yaml;
