//! The four doors of the modules through which bytes of strangers come, and what must hold whatever they are.
//!
//! Each [`door`] is a function of its input: [`queue`] bytes for the service, [`configuration`] bytes for both modules,
//! [`attributes`] as the host answers for them, a [`log_stream`] as the host hands it over. It fails by a panic, of the product or of its own assertions. libFuzzer calls it
//! (`cargo xtask fuzz`, the programs in `bin`), and so do the tests, with [`seeds`] and their [`mutation`]s.

pub mod target;

pub mod attributes;
pub mod configuration;
pub mod log_stream;
pub mod queue;

pub mod frames;
pub mod mutation;
pub mod seeds;
pub mod service_harness;
