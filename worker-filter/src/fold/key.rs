//! The key of a series within a worker: its values in the order of the plan's dimensions, cheap to build for every stream.
//! The attributes that it stands for are made only when a series is new.
//!
//! A value is its length (`u16` little-endian; 0xffff for none) and its bytes.

use tributary_proto::attributes;
use tributary_proto::limits::ATTRIBUTE_VALUE_BYTES_MAX;
use tributary_proto::otlp::KeyValue;

use crate::observation::Observation;
use crate::plan::{Dimension, Form};

const ABSENT: [u8; 2] = u16::MAX.to_le_bytes();

const _: () = assert!(ATTRIBUTE_VALUE_BYTES_MAX < u16::MAX as usize);

/// What stands for a method that is none of the known ones.
const OTHER: &[u8] = b"_OTHER";

/// The methods that the conventions know: RFC 9110 section 9 and RFC 5789.
const METHODS: [&[u8]; 9] =
    [b"GET", b"POST", b"PUT", b"DELETE", b"HEAD", b"OPTIONS", b"PATCH", b"CONNECT", b"TRACE"];

/// Builds the key of an observation in `key`, whatever was there before.
pub(super) fn build(key: &mut Vec<u8>, dimensions: &[Dimension], observation: &Observation<'_>) {
    key.clear();
    for dimension in dimensions {
        match formed(dimension.form, observation.text(dimension.source)) {
            Some(value) => {
                // Values were cut to their limit, which is less than u16 holds.
                key.extend_from_slice(&u16::try_from(value.len()).unwrap_or(u16::MAX).to_le_bytes());
                key.extend_from_slice(value);
            }
            None => key.extend_from_slice(&ABSENT),
        }
    }
}

/// The canonical attributes that a key stands for.
pub(super) fn attributes(key: &[u8], dimensions: &[Dimension]) -> Vec<u8> {
    let mut rest = key;
    let read = |dimension: &Dimension| -> Option<KeyValue> {
        let (length, behind) = rest.split_first_chunk()?;
        rest = behind;
        if *length == ABSENT {
            return None;
        }
        let (value, behind) = rest.split_at_checked(usize::from(u16::from_le_bytes(*length)))?;
        rest = behind;
        Some(match dimension.form {
            Form::Text | Form::Method => attributes::text(dimension.name, &readable(value)),
            Form::Integer => attributes::integer(dimension.name, i64::from_le_bytes(value.try_into().ok()?)),
        })
    };
    attributes::encode(dimensions.iter().filter_map(read).collect())
}

fn formed(form: Form, value: Option<&[u8]>) -> Option<&[u8]> {
    let value = value?;
    match form {
        Form::Text => value.get(..value.len().min(ATTRIBUTE_VALUE_BYTES_MAX)).filter(|text| !text.is_empty()),
        Form::Method if value.is_empty() => None,
        Form::Method => Some(METHODS.into_iter().find(|method| *method == value).unwrap_or(OTHER)),
        Form::Integer => (value.len() == 8 && value.iter().any(|byte| *byte != 0)).then_some(value),
    }
}

/// Bytes as UTF-8: what is not becomes U+FFFD, and a character that was cut at the end is left out.
fn readable(bytes: &[u8]) -> String {
    let whole = match std::str::from_utf8(bytes) {
        Err(error) if error.error_len().is_none() => bytes.get(..error.valid_up_to()).unwrap_or(bytes),
        _ => bytes,
    };
    String::from_utf8_lossy(whole).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_character_cut_at_the_end_is_left_out_and_other_bytes_are_replaced() {
        assert_eq!(readable("aé".as_bytes()), "aé");
        assert_eq!(readable(b"a\xc3"), "a");
        assert_eq!(readable(b"a\xffb"), "a\u{fffd}b");
        assert_eq!(
            readable(b"\xffa\xc3"),
            "\u{fffd}a\u{fffd}",
            "an end after other faults is one more fault"
        );
    }

    #[test]
    fn values_take_the_form_of_their_dimension() {
        let code = 200_i64.to_le_bytes();
        let long = [b'x'; ATTRIBUTE_VALUE_BYTES_MAX + 1];
        for (form, value, expected) in [
            (Form::Text, Some(&b"a"[..]), Some(&b"a"[..])),
            (Form::Text, Some(b""), None),
            (Form::Text, None, None),
            (Form::Text, Some(&long), Some(&long[1..])),
            (Form::Method, Some(b"GET"), Some(b"GET")),
            (Form::Method, Some(b"get"), Some(b"_OTHER")),
            (Form::Method, Some(b"BREW\xff"), Some(b"_OTHER")),
            (Form::Integer, Some(&code), Some(&code)),
            (Form::Integer, Some(&[0; 8]), None),
            (Form::Integer, Some(b"short"), None),
        ] {
            assert_eq!(formed(form, value), expected, "{form:?} {value:?}");
        }
    }
}
