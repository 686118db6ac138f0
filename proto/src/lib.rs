//! The formats and limits that workers, service, console and collectors share. This crate makes no host
//! calls.
//!
//! In the order of data: [`config`] reads the configuration of a plugin. A worker adds values to
//! [`histogram`]s or [`exponential`] histograms of a [`metric`], by [`attributes`], with [`exemplar`]s. A
//! [`batch`] within [`limits`] carries the values to the service, which sends [`otlp`] or [`remote_write`]
//! messages to collectors. [`counter`]s, [`value`]s, the [`heartbeat`], the state of [`exports`] and
//! snapshots for the [`console`] are in shared data. At shutdown, unexported data is written to a
//! [`shutdown_log`].

pub mod limits;

pub mod attributes;
pub mod batch;
pub mod config;
pub mod console;
pub mod counter;
pub mod decimal;
pub mod duration;
pub mod exemplar;
pub mod exponential;
pub mod exports;
pub mod heartbeat;
pub mod hex;
pub mod histogram;
pub mod json;
pub mod metric;
pub mod otlp;
pub mod pairs;
pub mod printable;
pub mod prometheus;
pub mod remote_write;
pub mod shutdown_log;
pub mod value;

#[cfg(test)]
mod proptests;

/// Types generated from `schema/`; `tests/generated.rs` checks that they match.
#[allow(missing_docs, unreachable_pub, clippy::all, clippy::pedantic)]
pub mod generated {
    /// Defines the module of each `schema/NAME.proto`, also at the path that other schemas use.
    macro_rules! schemas {
        ($($name:ident),*) => {$(
            pub mod $name {
                pub use v1::*;
                pub mod v1 {
                    include!(concat!("generated/tributary.", stringify!($name), ".v1.rs"));
                }
            }
        )*};
    }

    schemas!(batch, console, exports, otlp, remote_write);
}
