//! The body of a response, complete or truncated.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};

use super::CloseConnection;

/// A body that declares its length, but can end earlier.
#[derive(Debug)]
pub(crate) struct ResponseBody {
    declared: u64,
    remaining: Option<Bytes>,
    end: End,
}

/// What follows the last byte of an [`ResponseBody`].
#[derive(Debug)]
enum End {
    Complete,
    /// A pause in which the connection writes its buffer, then [`End::Cut`].
    Flush,
    Cut,
}

impl ResponseBody {
    /// Makes a complete body.
    pub(crate) fn whole(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        Self::new(bytes.len(), bytes, End::Complete)
    }

    /// Makes a body that declares the length of `bytes`, but sends only the first half, after which the
    /// connection is closed.
    pub(crate) fn truncated(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        let half = bytes.slice(..bytes.len() / 2);
        Self::new(bytes.len(), half, End::Flush)
    }

    fn new(declared: usize, bytes: Bytes, end: End) -> Self {
        let declared = u64::try_from(declared).unwrap_or(u64::MAX);
        Self { declared, remaining: (!bytes.is_empty()).then_some(bytes), end }
    }
}

impl Body for ResponseBody {
    type Data = Bytes;
    type Error = CloseConnection;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, CloseConnection>>> {
        if let Some(data) = self.remaining.take() {
            return Poll::Ready(Some(Ok(Frame::data(data))));
        }
        match self.end {
            End::Complete => Poll::Ready(None),
            End::Flush => {
                self.end = End::Cut;
                context.waker().wake_by_ref();
                Poll::Pending
            }
            End::Cut => Poll::Ready(Some(Err(CloseConnection))),
        }
    }

    fn is_end_stream(&self) -> bool {
        self.remaining.is_none() && matches!(self.end, End::Complete)
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.declared)
    }
}
