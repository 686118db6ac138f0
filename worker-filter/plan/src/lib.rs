//! The configuration of a worker, and the plan to which the configuration is compiled.
//!
//! The [`config`] starts from a [`preset`] and is compiled to a [`plan`]: the [`source`]s to read from each
//! stream, and the [`transform`]s that make attributes of their values, such as URL [`path`] patterns. For
//! Istio, sources have [`fallback`]s and contain fields of a [`workload`]. A [`template`] defines the value
//! of a header. A [`log_schema`] lists the values that a log stream must contain.
//!
//! The crate makes no host calls, so that a configuration can be checked anywhere. The crate runs once per
//! configuration, so it is written for small code, not for speed.

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

/// Whether the crate is compiled for `worker_filter_full.wasm`, which also handles callbacks during a
/// request.
///
/// Code for the full module depends on this constant, so that both modules are type-checked together. The
/// compiler removes the code from `worker_filter.wasm`.
pub const IS_FULL: bool = cfg!(feature = "full");
