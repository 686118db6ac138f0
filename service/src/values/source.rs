//! The location of a value in a response, and the checks of the value.

use std::fmt;

use serde_json::Value;
use tributary_proto::json;
use tributary_proto::value::is_header_value;

use crate::http_calls::CallError;

/// The location of a value in a response.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ValueSource {
    /// The whole body, trimmed.
    Body,
    /// A header, by its name in lower case.
    Header(String),
    /// A string, number or boolean in a JSON body, by the segments of its JSON pointer (RFC 6901).
    Json(Vec<String>),
}

/// Why a fetch gave no valid value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ValueError {
    /// Envoy rejected the call.
    Call(CallError),
    /// The response ended early.
    Incomplete,
    /// The status of the response is not a success.
    Status(String),
    /// The response does not have the header, or the JSON pointer leads to no string, number or boolean.
    Absent,
    /// The body is not JSON.
    NotJson,
    /// The value is empty or blank.
    Empty,
    /// The value exceeds `max_bytes`.
    TooLong,
    /// The value has a control character, such as a line break, which would end its header and start another.
    ControlCharacter,
    /// The value has expired.
    Expired,
}

impl std::error::Error for ValueError {}

impl fmt::Display for ValueError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        out.write_str(match self {
            Self::Call(error) => return fmt::Display::fmt(error, out),
            Self::Status(status) => return write!(out, "HTTP {status}"),
            Self::Incomplete => "the response ended early",
            Self::Absent => "the response has no value where `from` points",
            Self::NotJson => "the response is not JSON",
            Self::Empty => "the value is empty",
            Self::TooLong => "the value exceeds max_bytes",
            Self::ControlCharacter => "the value has a control character",
            Self::Expired => "the value has expired",
        })
    }
}

impl ValueSource {
    /// Parses `body`, `header:NAME` or `json:/POINTER`.
    pub fn parse(text: &str) -> Option<Self> {
        if text == "body" {
            return Some(Self::Body);
        }
        if let Some(name) = text.strip_prefix("header:") {
            let is_name =
                |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-' || byte == b'_';
            return (!name.is_empty() && name.bytes().all(is_name)).then(|| Self::Header(name.to_owned()));
        }
        let pointer = text.strip_prefix("json:/")?;
        Some(Self::Json(pointer.split('/').map(segment).collect()))
    }

    /// Returns the value in a response with this body; `header` is the value of the header that the
    /// source names, if the response has it.
    pub fn find(&self, body: &[u8], header: Option<&[u8]>, max_bytes: usize) -> Result<Vec<u8>, ValueError> {
        let found = match self {
            Self::Body => body.to_vec(),
            Self::Header(_) => header.ok_or(ValueError::Absent)?.to_vec(),
            Self::Json(pointer) => {
                let json = json::read(body).map_err(|_| ValueError::NotJson)?;
                pointed(&json, pointer).ok_or(ValueError::Absent)?
            }
        };
        let value = found.trim_ascii();
        match value {
            [] => Err(ValueError::Empty),
            long if long.len() > max_bytes => Err(ValueError::TooLong),
            bad if !is_header_value(bad) => Err(ValueError::ControlCharacter),
            value => Ok(value.to_vec()),
        }
    }
}

/// Returns the value to which `pointer` leads, as text.
fn pointed(mut json: &Value, pointer: &[String]) -> Option<Vec<u8>> {
    for segment in pointer {
        json = match json {
            Value::Object(members) => members.get(segment)?,
            Value::Array(items) => items.get(segment.parse::<usize>().ok()?)?,
            _ => return None,
        };
    }
    let text = match json {
        Value::String(text) => text.clone(),
        Value::Number(_) => json::whole(json)?.to_string(),
        Value::Bool(truth) => truth.to_string(),
        _ => return None,
    };
    Some(text.into_bytes())
}

/// Decodes a segment of a JSON pointer, in which `~0` is `~` and `~1` is `/` (RFC 6901 section 4).
/// [`Value::pointer`] is not used: it would link a substring search, which adds 10 KiB to the module.
fn segment(text: &str) -> String {
    let mut parts = text.split('~');
    let mut segment = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (sign, rest) = match part.as_bytes().first() {
            Some(b'0') => ('~', part.get(1..)),
            Some(b'1') => ('/', part.get(1..)),
            _ => ('~', None),
        };
        segment.push(sign);
        segment.push_str(rest.unwrap_or(part));
    }
    segment
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_the_body_a_header_or_a_pointer() {
        for (text, expected) in [
            ("body", Some(ValueSource::Body)),
            ("header:x-token", Some(ValueSource::Header("x-token".into()))),
            ("json:/access_token", Some(ValueSource::Json(vec!["access_token".into()]))),
            ("json:/a/0/b~1c~01", Some(ValueSource::Json(vec!["a".into(), "0".into(), "b/c~1".into()]))),
            ("header:", None),
            ("header:X-Token", None),
            ("json:a", None),
            ("text", None),
        ] {
            assert_eq!(ValueSource::parse(text), expected, "{text}");
        }
    }

    #[test]
    fn a_response_has_a_value_or_a_reason_why_not() {
        let json: &[u8] = br#"{"a": {"b": ["x", 7, true]}, "c": "line\nbreak", "d": {}, "b/c~1": "y"}"#;
        type Case<'a> = (&'a str, &'a [u8], Result<&'a [u8], ValueError>);
        let cases: [Case<'_>; 13] = [
            ("body", b" token\n", Ok(b"token")),
            ("body", b" \n", Err(ValueError::Empty)),
            ("body", b"12345678901", Err(ValueError::TooLong)),
            ("body", b"a\r\nb: c", Err(ValueError::ControlCharacter)),
            ("json:/a/b/0", json, Ok(b"x")),
            ("json:/a/b/1", json, Ok(b"7")),
            ("json:/a/b/2", json, Ok(b"true")),
            ("json:/b~1c~01", json, Ok(b"y")),
            ("json:/a/b/9", json, Err(ValueError::Absent)),
            ("json:/c", json, Err(ValueError::ControlCharacter)),
            ("json:/d", json, Err(ValueError::Absent)),
            ("json:/a", b"not json", Err(ValueError::NotJson)),
            ("header:x-token", b"body", Err(ValueError::Absent)),
        ];
        for (source, body, expected) in cases {
            let found = ValueSource::parse(source).unwrap().find(body, None, 10);
            assert_eq!(found.as_deref(), expected.as_deref(), "{source}");
        }
        assert_eq!(ValueSource::Header("x".into()).find(b"", Some(b"t"), 10).as_deref(), Ok(&b"t"[..]));
    }
}
