//! The ways in which a sink misbehaves when a test asks it to.

use std::time::Duration;

use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use hyper::{Response, StatusCode};

use crate::http_server::AnswerBody;

/// No protobuf: a field whose length goes past the end.
pub(super) const GARBAGE: &[u8] = b"\x0a\xff\xff\xff\x7f garbage";

/// One misbehaviour of a sink towards one request.
#[derive(Debug, Clone)]
pub enum Fault {
    /// Answers with this status and these headers, and takes nothing.
    Status {
        /// The status.
        status: StatusCode,
        /// Headers such as `retry-after`.
        headers: HeaderMap,
    },
    /// Never answers, and takes nothing.
    Hang,
    /// Closes the connection without an answer, and takes nothing.
    Close,
    /// Answers 200, cuts the connection off in the middle of the body, and takes nothing.
    Truncate,
    /// Answers 200 with a body of so many bytes, and takes nothing.
    Flood {
        /// The size of the body.
        bytes: usize,
    },
    /// Takes everything, and answers only after a while.
    Slow {
        /// The while.
        delay: Duration,
    },
    /// Takes everything, and answers 200 with a body that says it is protobuf and is not.
    Garbage,
    /// Takes everything, answers 200 and says that it has rejected some of it.
    PartialSuccess {
        /// How many points it says it has rejected.
        rejected: i64,
        /// Why.
        message: String,
    },
}

impl Fault {
    /// An answer with this status and no further headers; a number that is no status gives 500.
    pub fn status(status: u16) -> Self {
        let status = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        Self::Status { status, headers: HeaderMap::new() }
    }

    /// Adds a header to an answer with a status; others stay as they are, and so it does if no header can have this value.
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

/// An answer with a status and headers, and a body that says why.
pub(super) fn refusal(status: StatusCode, headers: HeaderMap, text: &str) -> Response<AnswerBody> {
    let mut response = Response::new(AnswerBody::whole(text.to_owned()));
    *response.status_mut() = status;
    *response.headers_mut() = headers;
    response
}
