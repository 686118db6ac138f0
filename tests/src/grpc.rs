//! gRPC over HTTP/2 as specified in gRPC's `doc/PROTOCOL-HTTP2.md`: a server whose methods decide how a
//! call ends, and a client that reports how a call ended.

use std::time::Duration;

use anyhow::Result;

mod client;
mod message;
mod server;

pub use client::{GrpcCall, GrpcClient, GrpcResponse};
pub use server::{GrpcServer, ServedCalls, method};

/// The metadata key with the status of the call.
const STATUS: &str = "grpc-status";

/// The content type of requests and responses.
const CONTENT_TYPE: &str = "application/grpc";

/// A message of typical size. It must have 256 bytes or more: h2 0.4.20 treats a stream of smaller messages
/// as an attack.
pub const MESSAGE: [u8; 300] = [b'.'; 300];

/// How long one step of a call may take.
const LIMIT: Duration = Duration::from_secs(20);

async fn in_time<T>(what: &str, awaited: impl Future<Output = T>) -> Result<T> {
    crate::poll::within(LIMIT, what, awaited).await
}
