//! The module of the workers, `worker_filter.wasm`. Each worker thread of Envoy runs it in its own VM.
//!
//! The path of a stream through this module: when the stream ends, Envoy calls [`root`], which calls the
//! [`plugin`] and its [`worker`]. [`reading`] evaluates one CEL expression for all values that the plan
//! (crate `tributary-plan`) needs. These values form an [`observation`], which is added to the [`fold`]. On
//! a tick, the [`pipeline`] flushes the fold as batches through the [`outbox`] if [`backpressure`] allows
//! it, and [`counters`] adds its pending counts to shared data. TCP [`connections`] are also observed while
//! they are open. With a [`log_stream`], Envoy's own access logger sends the values of many requests at a
//! time.
//!
//! `worker_filter_full.wasm`, where [`IS_FULL`](tributary_plan::IS_FULL) is true, also writes [`headers`]
//! with shared [`values`], and logs streams with the [`tap`].

pub mod root;

pub mod plugin;
pub mod worker;

pub mod backpressure;
pub mod connections;
pub mod counters;
mod faults;
pub mod fold;
pub mod guards;
pub mod headers;
pub mod in_flight;
pub mod log_stream;
pub mod observation;
pub mod outbox;
pub mod pipeline;
pub mod reading;
mod stats;
pub mod tap;
pub mod trace;
pub mod values;

#[cfg(target_arch = "wasm32")]
tributary_host::main!(crate::root::WorkerRoot::boxed);
