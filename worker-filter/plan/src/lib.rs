//! What a worker measures: its configuration, and the plan that it is compiled to.
//!
//! The [`config`] starts from a [`preset`] and is compiled to a [`plan`]: the [`source`]s to read from each
//! stream, and the [`transform`]s that make attributes of them, such as URL [`path`] patterns. For Istio,
//! sources have [`fallback`]s and contain fields of a [`workload`]. A [`template`] is the value of a header;
//! `log_schema` lists what a log stream must contain.
//!
//! The crate makes no host calls, so that a configuration can be checked anywhere. It runs once per
//! configuration, so its code is small rather than fast.

pub mod config;
pub mod fallback;
#[cfg(feature = "full")]
pub mod log_schema;
pub mod path;
pub mod plan;
pub mod preset;
pub mod source;
pub mod template;
pub mod transform;
pub mod workload;
