//! The building blocks of the end-to-end tests and of the demo.
//!
//! [`tools`] finds the real programs. A [`scene`] edits a file of [`config`] and starts an [`mod@envoy`]
//! with it between an [`upstream`] and a collector: a [`sink`] in this process, or a real [`prometheus`],
//! [`victoria_metrics`] or [`rotel`]. The scene sends a [`load`], whose requests are counted exactly. Tests
//! then [`poll`] until [`metrics`], [`admin`] statistics and the [`ledger`] are as expected.
//!
//! The errors of functions that start, read or wait name the object and the attempted operation. The error
//! for a server program also shows the end of its log.

pub mod admin;
pub mod cargo;
pub mod client_hello;
pub mod clock;
pub mod config;
pub mod echo;
pub mod envoy;
pub mod event_loop;
pub mod front_proxy;
pub mod grpc;
pub mod http2;
mod http_server;
pub mod ledger;
pub mod load;
pub mod markdown;
pub mod metrics;
pub mod non_http_server;
pub mod otlp;
pub mod poll;
pub mod ports;
pub mod process;
pub mod prometheus;
pub mod promql;
pub mod remote_write;
pub mod repository;
pub mod rotel;
pub mod scene;
pub mod server;
pub mod servers;
pub mod sink;
mod tcp_server;
pub mod token_server;
pub mod tools;
pub mod trap;
pub mod untrusted_plugin;
pub mod upstream;
pub mod victoria_metrics;
