//! The module of the workers, one VM each: `worker_filter.wasm`.
//!
//! A stream's way through it, file by file: the SDK calls [`root`] when it ends, and that the [`plugin`]; [`reading`] asks the host for what
//! the plan (of the crate `tributary-plan`) wants to know, in one [`expression`]; the [`observation`] that comes of it goes
//! into the [`fold`]; on a tick the fold becomes batches in the [`outbox`], and the
//! [`counters`] in shared data grow by what was seen. TCP [`connections`] are observed while they are open, too. a [`pipe`] is
//! all of that for one part of the plan, and [`worker`] holds them together. In a [`log_stream`] Envoy's own access logger
//! sends observations, many at a time.
//!
//! In `worker_filter_full.wasm` [`headers`] are written while a request is under way, with shared [`values`] in them, and the
//! [`tap`] writes streams to the log. [`IS_FULL`](tributary_plan::IS_FULL) is true there.

pub mod root;

pub mod plugin;
pub mod worker;

pub mod connections;
pub mod counters;
pub mod credit;
pub mod expression;
mod faults;
pub mod fold;
pub mod guards;
pub mod headers;
pub mod in_flight;
pub mod log_stream;
pub mod observation;
pub mod outbox;
pub mod pipe;
pub mod reading;
mod stats;
pub mod tap;
pub mod trace;
pub mod values;

#[cfg(target_arch = "wasm32")]
tributary_host::main!(crate::root::WorkerRoot::boxed);
