//! The end-to-end tests, on a real Envoy with real collectors.
//!
//! The tests are one program: shared code is linked once, and while some tests wait for Envoy, others run.
//! The name of a test begins with the name of its file: `cargo xtask test --e2e traps` runs the tests of
//! `traps.rs`.

mod ambiguous_responses;
mod attach_points;
mod attachments;
mod capabilities;
mod cardinality;
mod changes;
mod check;
mod collector_faults;
mod console;
mod dashboards;
mod deployments;
mod dimensions;
mod documentation;
mod engines;
mod exactness;
mod examples;
mod export;
mod faults;
mod fleet;
mod flush;
mod grpc;
mod image;
mod internal_redirect;
mod istio;
mod ledger;
mod log_stream;
mod manifests;
mod many_series;
mod mtls;
mod odd_responses;
mod plain_envoy;
mod prometheus;
mod rotel;
mod shared_counters;
mod shared_values;
mod shutdown;
mod tap;
mod tcp;
mod traps;
mod unfinished;
mod untrusted_input;
mod victoria_metrics;
