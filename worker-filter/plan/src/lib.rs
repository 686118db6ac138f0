//! What a worker measures: the [`config`] and its [`preset`], worked out to a [`plan`] of the [`source`]s to read and the
//! [`form`]s in which their values become attributes, a URL's [`path`] among them; the [`choice`]s and the facets of a
//! [`workload`] that Istio's labels are made of; and the [`template`]s of which headers are made. What a log must say
//! for all that is in `wanted`.
//!
//! It knows no host, so that a configuration can be checked anywhere; and it is read once, so that it may be slow but must
//! be small.

pub mod choice;
pub mod config;
pub mod form;
pub mod path;
pub mod plan;
pub mod preset;
pub mod source;
pub mod template;
pub mod wanted;
pub mod workload;

/// Whether this is compiled for `worker_filter_full.wasm`, which also takes callbacks during a request.
///
/// Code for that module is behind this constant, so that both modules are type-checked together and the
/// compiler removes from `worker_filter.wasm` what it does not need.
pub const IS_FULL: bool = cfg!(feature = "full");
