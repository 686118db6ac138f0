//! The headers of the current stream's request and response.

use crate::status::Status;
use crate::{pairs, raw};

/// Whose headers.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Side {
    /// The request's.
    Request,
    /// The response's.
    Response,
}

impl Side {
    /// The ABI's number for the map (`proxy_header_map_type_t`).
    pub fn map(self) -> u32 {
        match self {
            Self::Request => 0,
            Self::Response => 2,
        }
    }
}

/// All of them, at most `headers_max`, as bytes: a value need not be UTF-8.
pub fn all(side: Side, headers_max: usize) -> Vec<(Vec<u8>, Vec<u8>)> {
    raw::headers(side).map(|wire| pairs::decode(&wire, headers_max)).unwrap_or_default()
}

/// Adds one, beside others of the name.
pub fn append(side: Side, name: &str, value: &[u8]) -> Result<(), Status> {
    raw::append_header(side, name, value)
}

/// Makes it the only one of its name.
pub fn set(side: Side, name: &str, value: &[u8]) -> Result<(), Status> {
    raw::set_header(side, name, value)
}

/// Takes all of a name away.
pub fn remove(side: Side, name: &str) -> Result<(), Status> {
    raw::remove_header(side, name)
}

/// Answers the request here, with `details` for Envoy's access log (`%RESPONSE_CODE_DETAILS%`).
pub fn respond(status: u16, headers: &[(&str, &str)], body: &[u8], details: &str) -> Result<(), Status> {
    raw::respond(status, headers, body, details)
}
