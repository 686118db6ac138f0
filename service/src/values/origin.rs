//! Where in an answer a value is, and whether it may be one.

use serde_json::Value;
use tributary_proto::json;
use tributary_proto::value::is_header_value;

/// Where in an answer the value is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// The whole body, without blanks at its ends.
    Body,
    /// A header, by its name in lower case.
    Header(String),
    /// A text or a number in a body of JSON, by its pointer (RFC 6901), in segments.
    Json(Vec<String>),
}

/// Why an answer has no value that could be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unusable {
    /// There is no such header, or nothing in the JSON where the pointer points.
    Absent,
    /// The body is no JSON.
    NotJson,
    /// Nothing but blanks.
    Empty,
    /// Longer than it may be.
    TooLong,
    /// With a line break or a control character: it would end the header that it stands in, and begin another.
    ControlCharacter,
    /// It has expired already.
    Expired,
}

impl Origin {
    /// `body`, `header:NAME` or `json:/POINTER`.
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

    /// The value in an answer with this body; `header` is the one that the origin names, if the answer has it.
    pub fn find(&self, body: &[u8], header: Option<&[u8]>, max_bytes: usize) -> Result<Vec<u8>, Unusable> {
        let found = match self {
            Self::Body => body.to_vec(),
            Self::Header(_) => header.ok_or(Unusable::Absent)?.to_vec(),
            Self::Json(pointer) => {
                let json = json::read(body).map_err(|_| Unusable::NotJson)?;
                pointed(&json, pointer).ok_or(Unusable::Absent)?
            }
        };
        let value = found.trim_ascii();
        match value {
            [] => Err(Unusable::Empty),
            long if long.len() > max_bytes => Err(Unusable::TooLong),
            bad if !is_header_value(bad) => Err(Unusable::ControlCharacter),
            value => Ok(value.to_vec()),
        }
    }
}

/// The value that `pointer` leads to, as text.
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

/// A segment of a JSON pointer, in which `~0` stands for `~` and `~1` for `/` (RFC 6901 section 4). By hand: searching for text in
/// text, as [`Value::pointer`] does, is 10 KiB in the module.
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
    fn an_origin_is_the_body_a_header_or_a_place_in_json() {
        for (text, expected) in [
            ("body", Some(Origin::Body)),
            ("header:x-token", Some(Origin::Header("x-token".into()))),
            ("json:/access_token", Some(Origin::Json(vec!["access_token".into()]))),
            ("json:/a/0/b~1c~01", Some(Origin::Json(vec!["a".into(), "0".into(), "b/c~1".into()]))),
            ("header:", None),
            ("header:X-Token", None),
            ("json:a", None),
            ("text", None),
        ] {
            assert_eq!(Origin::parse(text), expected, "{text}");
        }
    }

    #[test]
    fn a_value_is_found_or_it_is_said_why_not() {
        let json: &[u8] = br#"{"a": {"b": ["x", 7, true]}, "c": "line\nbreak", "d": {}, "b/c~1": "y"}"#;
        type Case<'a> = (&'a str, &'a [u8], Result<&'a [u8], Unusable>);
        let cases: [Case<'_>; 13] = [
            ("body", b" token\n", Ok(b"token")),
            ("body", b" \n", Err(Unusable::Empty)),
            ("body", b"12345678901", Err(Unusable::TooLong)),
            ("body", b"a\r\nb: c", Err(Unusable::ControlCharacter)),
            ("json:/a/b/0", json, Ok(b"x")),
            ("json:/a/b/1", json, Ok(b"7")),
            ("json:/a/b/2", json, Ok(b"true")),
            ("json:/b~1c~01", json, Ok(b"y")),
            ("json:/a/b/9", json, Err(Unusable::Absent)),
            ("json:/c", json, Err(Unusable::ControlCharacter)),
            ("json:/d", json, Err(Unusable::Absent)),
            ("json:/a", b"not json", Err(Unusable::NotJson)),
            ("header:x-token", b"body", Err(Unusable::Absent)),
        ];
        for (origin, body, expected) in cases {
            let found = Origin::parse(origin).unwrap().find(body, None, 10);
            assert_eq!(found.as_deref(), expected.as_deref(), "{origin}");
        }
        assert_eq!(Origin::Header("x".into()).find(b"", Some(b"t"), 10).as_deref(), Ok(&b"t"[..]));
    }
}
