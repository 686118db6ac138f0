//! The ways in which a sink misbehaves on request.

use std::time::Duration;

use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use hyper::{Response, StatusCode};

use crate::http_server::ResponseBody;

/// Invalid protobuf: a field that is longer than the message.
pub(super) const GARBAGE: &[u8] = b"\x0a\xff\xff\xff\x7f garbage";

/// A misbehaviour of a sink towards one request.
#[derive(Debug, Clone)]
pub enum Fault {
    /// Responds with this status and these headers, and stores nothing.
    Status {
        /// The status.
        status: StatusCode,
        /// Headers such as `retry-after`.
        headers: HeaderMap,
    },
    /// Never responds, and stores nothing.
    Hang,
    /// Closes the connection without a response, and stores nothing.
    Close,
    /// Responds with 200, closes the connection in the middle of the body, and stores nothing.
    Truncate,
    /// Responds with 200 and a body of this size, and stores nothing.
    Flood {
        /// The size of the body, in bytes.
        bytes: usize,
    },
    /// Stores everything, and responds after a delay.
    Slow {
        /// The delay.
        delay: Duration,
    },
    /// Stores everything, and responds with 200 and a body that is declared as protobuf, but is invalid.
    Garbage,
    /// Stores everything, responds with 200 and reports a partial success.
    PartialSuccess {
        /// The number of points reported as rejected.
        rejected: i64,
        /// The reported reason.
        message: String,
    },
}

impl Fault {
    /// Creates a fault that responds with this status and no headers. If the status is invalid, it is 500.
    pub fn status(status: u16) -> Self {
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Self::Status { status, headers: HeaderMap::new() }
    }

    /// Adds a header to [`Fault::Status`]. Does not change any other fault, and ignores an invalid value.
    #[must_use]
    pub fn header(mut self, name: &'static str, value: impl AsRef<[u8]>) -> Self {
        if let (Self::Status { headers, .. }, Ok(value)) =
            (&mut self, HeaderValue::from_bytes(value.as_ref()))
        {
            headers.insert(HeaderName::from_static(name), value);
        }
        self
    }
}

/// Makes a response with a status, headers and a text.
pub(super) fn rejection(status: StatusCode, headers: HeaderMap, text: &str) -> Response<ResponseBody> {
    let mut response = Response::new(ResponseBody::whole(text.to_owned()));
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}
