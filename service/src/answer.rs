//! What a collector's answer means for what was sent.

mod retry_after;

pub use retry_after::LONGEST as LONGEST_WAIT;

use std::time::Duration;

use prost::Message;
use prost::bytes::Bytes;
use tributary_proto::json;
use tributary_proto::otlp::{CONTENT_TYPE_JSON, CONTENT_TYPE_PROTOBUF, ExportMetricsServiceResponse};

use crate::encode::Encoding;

/// What is read of an answer's body: the specification recommends a limit of 4 MiB, but a partial success is small.
pub const BODY_BYTES_MAX: usize = 64 * 1024;

/// An answer as it came; all of it bytes, since a stranger sent it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Answer<'a> {
    /// `:status`; none if the answer broke off before its headers, or never came.
    pub status: Option<&'a [u8]>,
    /// `content-type`.
    pub content_type: Option<&'a [u8]>,
    /// `retry-after`.
    pub retry_after: Option<&'a [u8]>,
    /// The beginning of the body.
    pub body: &'a [u8],
}

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
    /// Not now: a status that its encoding has for that, or no answer at all.
    Retry {
        /// How long the collector asks to be left alone.
        after: Option<Duration>,
    },
    /// Never: any other status.
    Refused {
        /// The status.
        status: u16,
    },
}

impl Answer<'_> {
    /// Reads the answer to a request in this encoding. `now_unix_nano` is for a `retry-after` that is a date.
    ///
    /// Envoy answers itself with 503 or 504 where the collector does not, and brings no status at all where an answer broke
    /// off; each is worth another try.
    pub fn judge(&self, encoding: Encoding, now_unix_nano: u64) -> Verdict {
        let Some(status) =
            self.status.and_then(|status| std::str::from_utf8(status).ok()?.parse::<u16>().ok())
        else {
            return Verdict::Retry { after: None };
        };
        match status {
            200..=299 => self.taken(),
            _ if encoding.is_tried_again(status) => {
                let after = self.retry_after.and_then(|text| retry_after::parse(text, now_unix_nano));
                Verdict::Retry { after }
            }
            _ => Verdict::Refused { status },
        }
    }

    /// A success. An empty body is a full one whatever its type; a body that cannot be read does not turn a success into a
    /// failure, for the data was taken.
    fn taken(&self) -> Verdict {
        let is = |kind: &str| self.content_type.is_some_and(|given| given.starts_with(kind.as_bytes()));
        let partial = if is(CONTENT_TYPE_PROTOBUF) {
            partial_success_in_protobuf(self.body)
        } else if is(CONTENT_TYPE_JSON) {
            partial_success_in_json(self.body)
        } else {
            None
        };
        let (rejected, message) = partial.unwrap_or_default();
        Verdict::Taken { rejected, message }
    }
}

/// The partial success of an ExportMetricsServiceResponse. None if there is none, or if the body is invalid.
fn partial_success_in_protobuf(body: &[u8]) -> Option<(u64, String)> {
    let body = Bytes::copy_from_slice(body);
    let partial = ExportMetricsServiceResponse::decode(body).ok()?.partial_success?;
    Some((u64::try_from(partial.rejected_data_points).unwrap_or(0), partial.error_message))
}

/// `{"partialSuccess": {"rejectedDataPoints": "3", "errorMessage": "…"}}`; the integer as a string, as the JSON mapping of
/// protobuf writes 64-bit integers, or as a number, which it lets a reader accept.
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

    #[test]
    fn the_status_decides() {
        let taken = Verdict::Taken { rejected: 0, message: String::new() };
        let retry = Verdict::Retry { after: None };
        let both = [Encoding::OtlpProtobuf, Encoding::RemoteWrite];
        for (status, expected) in [
            (Some("200"), taken.clone()),
            (Some("204"), taken),
            (Some("400"), Verdict::Refused { status: 400 }),
            (Some("404"), Verdict::Refused { status: 404 }),
            (Some("429"), retry.clone()),
            (Some("502"), retry.clone()),
            (Some("503"), retry.clone()),
            (Some("504"), retry.clone()),
            (Some("301"), Verdict::Refused { status: 301 }),
            (Some("\u{fffd}"), retry.clone()),
            (None, retry.clone()),
        ] {
            let answer = Answer { status: status.map(str::as_bytes), ..Answer::default() };
            assert_eq!(
                both.map(|encoding| answer.judge(encoding, 0)),
                [expected.clone(), expected],
                "{status:?}"
            );
        }
        // Of these the two say different things.
        for (text, status) in [("500", 500), ("501", 501), ("599", 599)] {
            let answer = Answer { status: Some(text.as_bytes()), ..Answer::default() };
            let expected = [Verdict::Refused { status }, retry.clone()];
            assert_eq!(both.map(|encoding| answer.judge(encoding, 0)), expected, "{status}");
        }
    }

    #[test]
    fn a_collector_may_ask_to_be_left_alone() {
        let answer = |status: &'static [u8]| Answer {
            status: Some(status),
            retry_after: Some(b"7"),
            ..Answer::default()
        };
        assert_eq!(
            answer(b"503").judge(Encoding::OtlpJson, 0),
            Verdict::Retry { after: Some(Duration::from_secs(7)) }
        );
        assert_eq!(answer(b"400").judge(Encoding::OtlpJson, 0), Verdict::Refused { status: 400 });
    }

    #[test]
    fn a_partial_success_is_read_and_garbage_is_a_success() {
        let partial =
            ExportMetricsPartialSuccess { rejected_data_points: 3, error_message: "too old".into() };
        let body = ExportMetricsServiceResponse { partial_success: Some(partial) }.encode_to_vec();
        let judged = |content_type: &str, body: &[u8]| {
            let (status, content_type) = (Some(&b"200"[..]), Some(content_type.as_bytes()));
            Answer { status, content_type, retry_after: None, body }.judge(Encoding::OtlpJson, 0)
        };
        let full = Verdict::Taken { rejected: 0, message: String::new() };
        let three = Verdict::Taken { rejected: 3, message: "too old".into() };
        let json = |text: &str| judged("application/json; charset=utf-8", text.as_bytes());
        assert_eq!(judged("application/x-protobuf", &body), three);
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
            judged("application/x-protobuf", b"\xff\xff"),
            judged("application/x-protobuf", &body[..body.len() - 1]),
            judged("application/x-protobuf", &negative),
            judged("text/html", &body),
            judged("application/x-protobuf", b""),
            json(r#"{"partialSuccess": null}"#),
            json(r#"{"partialSuccess": {"rejectedDataPoints": -3}}"#),
            json("{"),
        ] {
            assert_eq!(other, full);
        }
    }
}
