//! The body of an answer, whole or breaking off half way.

use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use hyper::body::{Body, Frame, SizeHint};

use super::CloseConnection;

/// A body that declares its length and may break off before it.
#[derive(Debug)]
pub(crate) struct AnswerBody {
    declared: u64,
    remaining: Option<Bytes>,
    end: End,
}

/// What comes after the last byte of an [`AnswerBody`].
#[derive(Debug)]
enum End {
    Complete,
    /// First a pause in which the connection writes out what it has, then the error that cuts it off.
    Flush,
    Cut,
}

impl AnswerBody {
    /// All of these bytes.
    pub(crate) fn whole(bytes: impl Into<Bytes>) -> Self {
        let bytes = bytes.into();
        Self::new(bytes.len(), bytes, End::Complete)
    }

    /// The first half of these bytes, after headers that promise all; then the connection is cut off.
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

impl Body for AnswerBody {
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
