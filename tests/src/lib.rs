//! The parts that end-to-end tests and the demo are made of: a real Envoy, real and scripted collectors, an
//! application server, a load generator that counts exactly, and the one place that waits.

pub mod admin;
pub mod babble;
pub mod cargo;
pub mod clock;
pub mod config;
pub mod echo;
pub mod envoy;
pub mod foreign;
pub mod front;
pub mod grpc;
mod http_server;
pub mod ledger;
pub mod load;
pub mod main_thread;
pub mod markdown;
pub mod metrics;
pub mod poll;
pub mod ports;
pub mod process;
pub mod prometheus;
pub mod promql;
pub mod remote_write;
pub mod replay;
pub mod repository;
pub mod rotel;
pub mod scene;
pub mod server;
pub mod servers;
pub mod sink;
pub mod token_server;
pub mod tools;
pub mod trap;
pub mod upstream;
pub mod victoria_metrics;
