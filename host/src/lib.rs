//! The only door to Envoy, in both directions.
//!
//! Envoy's callbacks come in through `export_plugin!` and [`vm`] to the [`plugin`]. Every call out returns a [`Status`] where the host gives one and never panics: in
//! a module a panic is an outage, and the SDK's own calls panic on any status that they do not expect.
//!
//! In a module the calls go to Envoy (`abi`, the one file with `unsafe`); in a native build they go to [`fake`], which
//! keeps to Envoy's semantics, so that everything above this crate runs in native tests unchanged.

pub mod attributes;
pub mod clock;
pub mod counter;
pub mod headers;
pub mod http_call;
pub mod logging;
pub mod memory;
pub mod pairs;
pub mod plugin;
pub mod queue;
pub mod random;
pub mod shared_data;
pub mod stats;
pub mod status;
pub mod stream;
pub mod vm;

#[cfg(target_arch = "wasm32")]
mod abi;
#[cfg(target_arch = "wasm32")]
use abi as raw;

#[cfg(not(target_arch = "wasm32"))]
pub mod fake;
#[cfg(not(target_arch = "wasm32"))]
use fake::calls as raw;

pub use status::Status;
