//! The console of `worker_filter_full.wasm`: what a person, a scraper and a hook before the end ask of it.
//!
//! [`console`] reads a [`request`] and answers it: from a [`snapshot`] of the service, as [`json`] or for [`prometheus`], with
//! the [`ledger`] in Envoy's statistics; with its [`health`]; or when a [`flush`] has come through.
//!
//! It is a crate of its own since it must be small and not fast: a person waits for it, and no request that is measured does.

pub mod console;

pub mod flush;
pub mod health;
pub mod json;
pub mod ledger;
pub mod prometheus;
pub mod request;
pub mod snapshot;

#[cfg(test)]
mod texts;
