//! Fuzz targets for the four untrusted inputs of the modules.
//!
//! Each [`target`] is a function of its input: items of the [`queue`], a [`configuration`] of any module,
//! [`attributes`] as the host returns them, or a [`log_stream`]. It fails by a panic, of the product or of
//! its own assertions. libFuzzer calls it through the programs in `bin` (`cargo xtask fuzz`), the tests with
//! [`seeds`] and their [`mutation`]s.

pub mod target;

pub mod attributes;
pub mod configuration;
pub mod log_stream;
pub mod queue;

pub mod frames;
pub mod mutation;
pub mod seeds;
pub mod service_harness;
