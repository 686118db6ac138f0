//! The module of the workers, one VM each: `worker_filter.wasm`.
//!
//! A request's way through it, file by file: [`root`] is called when a stream ends; [`reading`] asks the host for what
//! the [`plan`] (from the [`config`] and its [`preset`]) wants to know, in one [`expression`]; the [`observation`] that
//! comes of it goes into the [`fold`]; on a tick of [`root`] the fold becomes batches in the [`outbox`], and the
//! [`counters`] in shared data grow by what was seen. [`worker`] holds these together.

pub mod root;

pub mod worker;

pub mod config;
pub mod counters;
pub mod expression;
pub mod fold;
pub mod observation;
pub mod outbox;
pub mod plan;
pub mod preset;
pub mod reading;

#[cfg(target_arch = "wasm32")]
tributary_host::export_plugin!(crate::root::WorkerPlugin);
