//! The module of the main thread, one VM per Envoy: `service.wasm`.
//!
//! A batch's way through it, file by file: [`root`] is told that a queue has something; [`intake`] takes it out and has
//! [`producers`] check its sequence; the [`table`] adds it up. When [`delivery`] says that a destination is due, its
//! [`exporter`] makes [`points`] of a part of the table, [`encode`]s and [`compress`]es them under the [`resource`] into a
//! [`request`], a little in each callback as the [`budget`] allows, sends that, and has [`answer`] read what came of it.
//! The destination's [`ledger`] says where everything is, [`self_metrics`] how all of it goes. [`service`] holds these together;
//! the [`config`] says where to, the [`instance`] which process it is, and what was [`told`] is kept for a service that is made anew.
//! Beside all that it exports the [`counters`] of the workers, fetches shared [`values`] for them, and writes a [`snapshot`] when the
//! console asks for one.

pub mod root;

pub mod service;

pub mod answer;
pub mod attempt;
pub mod backoff;
pub mod budget;
pub mod compress;
pub mod config;
pub mod counters;
pub mod delivery;
pub mod encode;
pub mod exporter;
pub mod farewell;
pub mod instance;
pub mod intake;
pub mod ledger;
pub mod points;
pub mod producers;
pub mod request;
pub mod resource;
pub mod self_metrics;
pub mod snapshot;
pub mod stats;
pub mod table;
pub mod told;
pub mod values;

#[cfg(target_arch = "wasm32")]
tributary_host::main!(crate::root::ServiceRoot::boxed);
