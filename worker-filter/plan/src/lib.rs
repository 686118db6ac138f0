//! What a worker measures: its configuration, and the plan that it is compiled to.
//!
//! The [`config`] starts from a [`preset`] and is compiled to a [`plan`]: the [`source`]s to read from each
//! stream, and the [`transform`]s that make attributes of them, such as URL [`path`] patterns. For Istio,
//! sources have [`fallback`]s and contain fields of a [`workload`]. A [`template`] is the value of a header;
//! [`log_schema`] lists what a log stream must contain.
//!
//! The crate makes no host calls, so that a configuration can be checked anywhere. It runs once per
//! configuration, so its code is small rather than fast.

pub mod config;
pub mod fallback;
pub mod log_schema;
pub mod path;
pub mod plan;
pub mod preset;
pub mod source;
pub mod template;
pub mod transform;
pub mod workload;

/// Whether this is compiled for `worker_filter_full.wasm`, which also takes callbacks during a request.
///
/// Code for that module is behind this constant, so that both modules are type-checked together and the
/// compiler removes from `worker_filter.wasm` what it does not need.
pub const IS_FULL: bool = cfg!(feature = "full");
