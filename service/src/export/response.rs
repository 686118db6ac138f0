//! The response of a collector, and what it means for the request.

mod retry_after;

use std::time::Duration;

use prost::Message;
use prost::bytes::Bytes;
use tributary_proto::json;
use tributary_proto::otlp::{CONTENT_TYPE_JSON, CONTENT_TYPE_PROTOBUF, ExportMetricsServiceResponse};

use super::encode::Encoding;

/// The maximum number of bytes that are read of a body: the specification recommends a limit of 4 MiB, but a
/// partial success is small.
pub const BODY_BYTES_MAX: usize = 64 * 1024;

/// A response as it arrived: untrusted bytes.
#[derive(Clone, Debug, Default)]
pub struct CollectorResponse {
    /// `:status`; `None` if the response ended before its headers.
    pub status: Option<Vec<u8>>,
    /// `content-type`.
    pub content_type: Option<Vec<u8>>,
    /// `retry-after`.
    pub retry_after: Option<Vec<u8>>,
    /// Whether it is the response of a server, and not one that Envoy made in its place.
    pub is_from_server: bool,
    /// The start of the body.
    pub body: Vec<u8>,
}

/// What a response means for the request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ResponseClass {
    /// The collector accepted it, except for `rejected` points, which must not be sent again.
    Accepted {
        /// Points that the collector rejected.
        rejected: u64,
        /// The collector's reason, or a warning if it rejected nothing.
        message: String,
    },
    /// The request is sent again: a retryable status of its encoding, or no status.
    Retryable {
        /// How long the collector asks to wait.
        after: Option<Duration>,
        /// Whether the collector may have accepted the request all the same.
        receipt: Receipt,
    },
    /// The collector rejected it permanently: any other status.
    Rejected {
        /// The status.
        status: u16,
    },
}

/// Whether a collector has data that it did not confirm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Receipt {
    /// It has not: it declined the request, or never received it.
    Absent,
    /// It may have: the request was sent, and its own response did not arrive.
    Unknown,
}

/// The body with which Envoy responds in place of a server that it lost before its response (1.36.4, 1.40.0).
const RESET: &[u8] = b"upstream connect error or disconnect/reset before headers. reset reason: ";

/// The reasons for which nothing was sent: there was no connection, or a circuit breaker was open.
const UNSENT: [&[u8]; 4] =
    [b"remote connection failure", b"local connection failure", b"connection timeout", b"overflow"];

impl CollectorResponse {
    /// Classifies the response to a request in this encoding. `now_unix_nano` is for a `retry-after` that is
    /// a date.
    ///
    /// Envoy itself responds with 503 or 504 if the collector does not, and without a status if a response
    /// ends early. These are retryable.
    pub fn classify(&self, encoding: Encoding, now_unix_nano: u64) -> ResponseClass {
        let status = self.status.as_deref().and_then(|status| std::str::from_utf8(status).ok()?.parse().ok());
        let receipt = self.receipt(status);
        let Some(status) = status else { return ResponseClass::Retryable { after: None, receipt } };
        match status {
            200..=299 => self.accepted(),
            _ if encoding.is_retryable(status) => {
                let after =
                    self.retry_after.as_deref().and_then(|text| retry_after::parse(text, now_unix_nano));
                ResponseClass::Retryable { after, receipt }
            }
            _ => ResponseClass::Rejected { status },
        }
    }

    /// Returns whether the collector may have accepted the request of a retryable response.
    ///
    /// The response may be of a gateway, which has forwarded the request: always with 502 and 504, and with
    /// 503 if the gateway is an Envoy that reports a reset.
    fn receipt(&self, status: Option<u16>) -> Receipt {
        let is_absent = match self.body.strip_prefix(RESET) {
            Some(reason) => UNSENT.iter().any(|unsent| reason.starts_with(unsent)),
            None => self.is_from_server || self.body.starts_with(b"no healthy upstream"),
        };
        if is_absent && !matches!(status, None | Some(502 | 504)) {
            Receipt::Absent
        } else {
            Receipt::Unknown
        }
    }

    /// Reads a success. An empty or invalid body is a full success: the collector has the data.
    fn accepted(&self) -> ResponseClass {
        let is =
            |kind: &str| self.content_type.as_ref().is_some_and(|given| given.starts_with(kind.as_bytes()));
        let partial = if is(CONTENT_TYPE_PROTOBUF) {
            partial_success_in_protobuf(&self.body)
        } else if is(CONTENT_TYPE_JSON) {
            partial_success_in_json(&self.body)
        } else {
            None
        };
        let (rejected, message) = partial.unwrap_or_default();
        ResponseClass::Accepted { rejected, message }
    }
}

/// Reads the partial success of an ExportMetricsServiceResponse; `None` if it has none, or if the body is
/// invalid.
fn partial_success_in_protobuf(body: &[u8]) -> Option<(u64, String)> {
    let body = Bytes::copy_from_slice(body);
    let partial = ExportMetricsServiceResponse::decode(body).ok()?.partial_success?;
    Some((u64::try_from(partial.rejected_data_points).unwrap_or(0), partial.error_message))
}

/// Reads `{"partialSuccess": {"rejectedDataPoints": "3", "errorMessage": "…"}}`. The JSON mapping of protobuf
/// writes 64-bit integers as strings, and lets readers accept numbers.
fn partial_success_in_json(body: &[u8]) -> Option<(u64, String)> {
    let response = json::read(body).ok()?;
    let partial = response.get("partialSuccess")?;
    let rejected = partial.get("rejectedDataPoints");
    let rejected = rejected.and_then(|number| json::whole(number).or_else(|| number.as_str()?.parse().ok()));
    let message = partial.get("errorMessage").and_then(|message| message.as_str()).unwrap_or_default();
    Some((rejected.unwrap_or(0), message.to_owned()))
}

#[cfg(test)]
mod tests {
    use tributary_proto::otlp::ExportMetricsPartialSuccess;

    use super::*;

    fn from_server() -> CollectorResponse {
        CollectorResponse { is_from_server: true, ..CollectorResponse::default() }
    }

    #[test]
    fn a_response_that_envoy_makes_leaves_the_receipt_unknown_unless_nothing_was_sent() {
        let reset = "upstream connect error or disconnect/reset before headers. reset reason: ";
        for (status, body, expected) in [
            ("503", "no healthy upstream", Receipt::Absent),
            ("503", &format!("{reset}remote connection failure, transport failure"), Receipt::Absent),
            ("503", &format!("{reset}connection timeout"), Receipt::Absent),
            ("503", &format!("{reset}overflow"), Receipt::Absent),
            ("503", &format!("{reset}connection termination"), Receipt::Unknown),
            ("503", &format!("{reset}remote reset"), Receipt::Unknown),
            ("503", "", Receipt::Unknown),
            ("504", "upstream request timeout", Receipt::Unknown),
            ("502", &format!("{reset}protocol error"), Receipt::Unknown),
        ] {
            // A gateway that is an Envoy responds in the same way.
            for is_from_server in [false, !body.is_empty()] {
                let (status, body) = (Some(status.into()), body.into());
                let response =
                    CollectorResponse { status, body, is_from_server, ..CollectorResponse::default() };
                let expected = ResponseClass::Retryable { after: None, receipt: expected };
                assert_eq!(response.classify(Encoding::OtlpProtobuf, 0), expected, "{response:?}");
            }
        }
    }

    #[test]
    fn the_status_decides() {
        let accepted = ResponseClass::Accepted { rejected: 0, message: String::new() };
        let retry = |receipt| ResponseClass::Retryable { after: None, receipt };
        let (declined, unknown) = (retry(Receipt::Absent), retry(Receipt::Unknown));
        let both = [Encoding::OtlpProtobuf, Encoding::RemoteWrite];
        for (status, expected) in [
            (Some("200"), accepted.clone()),
            (Some("204"), accepted),
            (Some("400"), ResponseClass::Rejected { status: 400 }),
            (Some("404"), ResponseClass::Rejected { status: 404 }),
            (Some("429"), declined.clone()),
            (Some("502"), unknown.clone()),
            (Some("503"), declined.clone()),
            (Some("504"), unknown.clone()),
            (Some("301"), ResponseClass::Rejected { status: 301 }),
            (Some("\u{fffd}"), unknown.clone()),
            (None, unknown),
        ] {
            let response = CollectorResponse { status: status.map(Into::into), ..from_server() };
            assert_eq!(
                both.map(|encoding| response.classify(encoding, 0)),
                [expected.clone(), expected],
                "{status:?}"
            );
        }
        // The encodings differ in these.
        for (text, status) in [("500", 500), ("501", 501), ("599", 599)] {
            let response = CollectorResponse { status: Some(text.into()), ..from_server() };
            let expected = [ResponseClass::Rejected { status }, declined.clone()];
            assert_eq!(both.map(|encoding| response.classify(encoding, 0)), expected, "{status}");
        }
    }

    #[test]
    fn retry_after_counts_for_retryable_statuses_only() {
        let response = |status: &[u8]| CollectorResponse {
            status: Some(status.to_vec()),
            retry_after: Some(b"7".to_vec()),
            ..from_server()
        };
        assert_eq!(
            response(b"503").classify(Encoding::OtlpJson, 0),
            ResponseClass::Retryable { after: Some(Duration::from_secs(7)), receipt: Receipt::Absent }
        );
        assert_eq!(response(b"400").classify(Encoding::OtlpJson, 0), ResponseClass::Rejected { status: 400 });
    }

    #[test]
    fn a_partial_success_is_read_and_an_invalid_body_is_a_success() {
        let partial =
            ExportMetricsPartialSuccess { rejected_data_points: 3, error_message: "too old".into() };
        let body = ExportMetricsServiceResponse { partial_success: Some(partial) }.encode_to_vec();
        let classified = |content_type: &str, body: &[u8]| {
            let (status, content_type, body) =
                (Some(b"200".to_vec()), Some(content_type.into()), body.to_vec());
            CollectorResponse { status, content_type, body, ..from_server() }.classify(Encoding::OtlpJson, 0)
        };
        let full = ResponseClass::Accepted { rejected: 0, message: String::new() };
        let three = ResponseClass::Accepted { rejected: 3, message: "too old".into() };
        let json = |text: &str| classified("application/json; charset=utf-8", text.as_bytes());
        assert_eq!(classified("application/x-protobuf", &body), three);
        assert_eq!(
            json(r#"{"partialSuccess": {"rejectedDataPoints": "3", "errorMessage": "too old"}}"#),
            three
        );
        assert_eq!(
            json(r#"{"partialSuccess": {"rejectedDataPoints": 3, "errorMessage": "too old"}}"#),
            three
        );
        let negative = ExportMetricsPartialSuccess { rejected_data_points: -3, error_message: String::new() };
        let negative = ExportMetricsServiceResponse { partial_success: Some(negative) }.encode_to_vec();
        for other in [
            classified("application/x-protobuf", b"\xff\xff"),
            classified("application/x-protobuf", &body[..body.len() - 1]),
            classified("application/x-protobuf", &negative),
            classified("text/html", &body),
            classified("application/x-protobuf", b""),
            json(r#"{"partialSuccess": null}"#),
            json(r#"{"partialSuccess": {"rejectedDataPoints": -3}}"#),
            json("{"),
        ] {
            assert_eq!(other, full);
        }
    }
}
