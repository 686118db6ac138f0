//! The contract between the VMs and with collectors, free of any host: what a batch is, what a series is, how histograms
//! are counted, merged and bounded, and how a configuration is read.
//!
//! In the order of a request's way: a worker folds into [`histogram`]s and [`exponential`] ones under [`attributes`], with an
//! [`exemplar`] here and there, a [`metric`] says what the numbers mean, a [`batch`] carries them within [`limits`], and
//! [`otlp`] or [`remote_write`] is what a collector gets.

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
pub mod prometheus;
pub mod remote_write;
pub mod value;

#[cfg(test)]
mod proptests;

/// Types generated from `schema/`; `tests/generated.rs` holds them to it.
#[allow(missing_docs, unreachable_pub, clippy::all, clippy::pedantic)]
pub mod generated {
    /// `schema/batch.proto`.
    pub mod batch {
        pub use v1::*;
        /// By the name by which other schemas refer to it.
        pub mod v1 {
            include!("generated/tributary.batch.v1.rs");
        }
    }
    /// `schema/console.proto`.
    pub mod console {
        pub use v1::*;
        /// By the name that the paths in it start from.
        pub mod v1 {
            include!("generated/tributary.console.v1.rs");
        }
    }
    /// `schema/exports.proto`.
    pub mod exports {
        include!("generated/tributary.exports.v1.rs");
    }
    /// `schema/otlp.proto`.
    pub mod otlp {
        include!("generated/tributary.otlp.v1.rs");
    }
    /// `schema/remote_write.proto`.
    pub mod remote_write {
        include!("generated/tributary.remote_write.v1.rs");
    }
}
