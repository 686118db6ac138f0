//! `service.wasm`, which runs on Envoy's main thread: one VM per Envoy.
//!
//! The path of a batch through it:
//!
//! 1. [`root`]: Envoy calls the module. In each callback, [`service`] does the work that is due, within
//!    the callback's [`budget`].
//! 2. [`intake`]: batches come out of the shared queues.
//! 3. [`aggregate`]: the table adds the batches up.
//! 4. [`export`]: rows become points and then requests; a ledger accounts for the results. Only ticks and
//!    responses get [`http_calls`].
//! 5. [`checkpoint`]: a restarted service continues from the state that survived a trap.
//!
//! The service also fetches shared [`values`] for the workers. [`config`] parses the configuration, and
//! [`stats`] are the statistics.
//!
//! Modules import only modules that come later in this order: service → intake, export, values →
//! checkpoint → aggregate. A test in `aggregate` checks this.

pub mod root;

pub mod service;

pub mod aggregate;
pub mod budget;
pub mod checkpoint;
pub mod config;
pub mod export;
pub mod http_calls;
pub mod intake;
pub mod stats;
pub mod values;

#[cfg(target_arch = "wasm32")]
tributary_host::main!(crate::root::ServiceRoot::boxed);
