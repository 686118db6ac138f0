//! gRPC over HTTP/2 as its specification has it (gRPC, `doc/PROTOCOL-HTTP2.md`): a server whose method decides what becomes
//! of a call, and a client that sees to the frame what it was.

use std::time::Duration;

use anyhow::{Context, Result};

mod client;
mod message;
mod server;

pub use client::{Answer, Call, GrpcClient};
pub use server::{GrpcServer, Served, method};

/// Metadata of a response: the status of the call.
const STATUS: &str = "grpc-status";

/// The content-type of requests and answers.
const CONTENT_TYPE: &str = "application/grpc";

/// A message like any other. A peer may take a stream of very short ones for an attack: h2 0.4.20 does below 256 bytes.
pub const MESSAGE: [u8; 300] = [b'.'; 300];

/// How long anything may take.
const LIMIT: Duration = Duration::from_secs(20);

async fn in_time<T>(what: &str, awaited: impl Future<Output = T>) -> Result<T> {
    tokio::time::timeout(LIMIT, awaited).await.with_context(|| format!("waited {LIMIT:?} for {what}"))
}
