//! The module of the console, `console.wasm`. It responds to the requests of people, scrapers and preStop
//! hooks to one Envoy.
//!
//! Envoy calls [`root`] for each request of the console's listener. [`console`] reads the [`request`] and
//! sends one of these responses: a [`snapshot`] of the service's table as [`json`] or for [`prometheus`],
//! with the [`ledger`] from Envoy's statistics; the [`health`] of service and exports; or the result of a
//! [`flush`]. [`config`] is the configuration of the console.
//!
//! The console is compiled for size: no measured request waits for it.

pub mod root;

pub mod config;
pub mod console;

pub mod flush;
pub mod health;
pub mod json;
pub mod ledger;
pub mod prometheus;
pub mod request;
pub mod snapshot;

#[cfg(test)]
mod tests;

#[cfg(target_arch = "wasm32")]
tributary_host::main!(crate::root::ConsoleRoot::boxed);
