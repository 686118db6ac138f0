//! What a collector's answer means for what was sent.

use prost::Message;
use tributary_proto::otlp::{CONTENT_TYPE_PROTOBUF, ExportMetricsServiceResponse};

/// What is read of an answer's body: the specification recommends a limit of 4 MiB, but a partial success is small.
pub const BODY_BYTES_MAX: usize = 64 * 1024;

/// What an answer means.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Taken, but for `rejected` points, which must not be sent again. A `message` may come without any, as a warning.
    Taken {
        /// Points that the collector refused.
        rejected: u64,
        /// Why, in the collector's words.
        message: String,
    },
    /// Not now: 429, 502, 503, 504, or no answer at all.
    Retry,
    /// Never: any other status.
    Refused {
        /// The status.
        status: u16,
    },
}

/// Reads an answer (opentelemetry-proto, `docs/specification.md`, "OTLP/HTTP Response").
///
/// Envoy answers itself with 503 or 504 where the collector does not, and brings no status at all where an answer broke
/// off; each is worth another try.
pub fn judge(status: Option<&[u8]>, content_type: Option<&[u8]>, body: &[u8]) -> Verdict {
    let Some(status) = status.and_then(|status| std::str::from_utf8(status).ok()?.parse::<u16>().ok()) else {
        return Verdict::Retry;
    };
    match status {
        200..=299 => taken(content_type, body),
        429 | 502 | 503 | 504 => Verdict::Retry,
        _ => Verdict::Refused { status },
    }
}

/// A success. An empty body is a full one whatever its type; a body that cannot be read does not turn a success into a
/// failure, for the data was taken.
fn taken(content_type: Option<&[u8]>, body: &[u8]) -> Verdict {
    let is_protobuf = content_type.is_some_and(|given| given.starts_with(CONTENT_TYPE_PROTOBUF.as_bytes()));
    let read = if is_protobuf { ExportMetricsServiceResponse::decode(body).ok() } else { None };
    let partial = read.and_then(|response| response.partial_success).unwrap_or_default();
    Verdict::Taken {
        rejected: u64::try_from(partial.rejected_data_points).unwrap_or(0),
        message: partial.error_message,
    }
}

#[cfg(test)]
mod tests {
    use tributary_proto::otlp::ExportMetricsPartialSuccess;

    use super::*;

    #[test]
    fn the_status_decides() {
        let taken = Verdict::Taken { rejected: 0, message: String::new() };
        for (status, expected) in [
            (Some("200"), taken.clone()),
            (Some("204"), taken),
            (Some("400"), Verdict::Refused { status: 400 }),
            (Some("404"), Verdict::Refused { status: 404 }),
            (Some("429"), Verdict::Retry),
            (Some("500"), Verdict::Refused { status: 500 }),
            (Some("502"), Verdict::Retry),
            (Some("503"), Verdict::Retry),
            (Some("504"), Verdict::Retry),
            (Some("301"), Verdict::Refused { status: 301 }),
            (Some("\u{fffd}"), Verdict::Retry),
            (None, Verdict::Retry),
        ] {
            assert_eq!(judge(status.map(str::as_bytes), None, b""), expected, "{status:?}");
        }
    }

    #[test]
    fn a_partial_success_is_read_and_garbage_is_a_success() {
        let partial =
            ExportMetricsPartialSuccess { rejected_data_points: 3, error_message: "too old".into() };
        let body = ExportMetricsServiceResponse { partial_success: Some(partial) }.encode_to_vec();
        let judged =
            |content_type: &str, body: &[u8]| judge(Some(b"200"), Some(content_type.as_bytes()), body);
        let full = Verdict::Taken { rejected: 0, message: String::new() };
        assert_eq!(
            judged("application/x-protobuf", &body),
            Verdict::Taken { rejected: 3, message: "too old".into() }
        );
        assert_eq!(judged("application/x-protobuf", b"\xff\xff"), full);
        assert_eq!(judged("text/html", &body), full);
        assert_eq!(judged("application/x-protobuf", b""), full);
    }
}
