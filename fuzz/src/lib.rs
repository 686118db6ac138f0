//! Fuzz targets for the four untrusted inputs of the modules.
//!
//! Each [`target`] is a function of its input: items of the [`queue`], a [`configuration`] of any module,
//! [`attributes`] as the host returns them, or a [`log_stream`]. A target fails if a module panics, or if
//! an assertion of the target fails. libFuzzer calls the targets through the programs in `bin` (`cargo
//! xtask fuzz`); the tests call the targets with [`seeds`] and with [`mutation`]s of the seeds.

pub mod target;

pub mod attributes;
pub mod configuration;
pub mod log_stream;
pub mod queue;

pub mod frames;
pub mod mutation;
pub mod seeds;
pub mod service_harness;
