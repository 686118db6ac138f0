//! The key of a series within a worker: its values in the order of the dimensions. A key is cheap to build
//! for every stream. The attributes are encoded only when a series is new.
//!
//! Each value is encoded as its length (`u16` little-endian; 0xffff if the value is absent), followed by its
//! bytes. Constants are left out.

use tributary_proto::attributes;
use tributary_proto::limits::ATTRIBUTE_VALUE_BYTES_MAX;
use tributary_proto::otlp::KeyValue;

use crate::observation::Observation;
use tributary_plan::plan::{Dimension, DimensionValue};
use tributary_plan::transform::OTHER;

const ABSENT: u16 = u16::MAX;

const _: () = assert!(ATTRIBUTE_VALUE_BYTES_MAX < ABSENT as usize);

/// Replaces `key` by the key of an observation. Returns the number of values whose type differs from the type
/// of their dimension.
pub(super) fn build(key: &mut Vec<u8>, dimensions: &[Dimension], observation: &Observation<'_>) -> u64 {
    key.clear();
    let mut mistyped: u64 = 0;
    for dimension in dimensions {
        let DimensionValue::Source(source) = dimension.value else { continue };
        let value = observation.bytes(source);
        let start = key.len();
        key.extend_from_slice(&ABSENT.to_le_bytes());
        let mut present = dimension.transform.write(value, dimension.max_bytes, key);
        if !present {
            mistyped = mistyped.saturating_add(u64::from(dimension.transform.is_mistyped(value)));
            if let Some(default) = &dimension.default {
                key.extend_from_slice(default);
                present = true;
            }
        } else if !dimension.allow.is_empty() {
            let value_start = start.saturating_add(2);
            let allowed = key
                .get(value_start..)
                .is_some_and(|value| dimension.allow.iter().any(|allowed| **allowed == *value));
            if !allowed {
                key.truncate(value_start);
                key.extend_from_slice(OTHER);
            }
        }
        if present {
            write_length(key, start);
        }
    }
    mistyped
}

/// Writes the length of the last value into the two bytes reserved for it at `start`.
fn write_length(key: &mut [u8], start: usize) {
    // The values are cut to a limit that is less than 0xffff.
    let length = u16::try_from(key.len().saturating_sub(start).saturating_sub(2)).unwrap_or(ABSENT);
    if let Some(place) = key.get_mut(start..).and_then(|rest| rest.first_chunk_mut()) {
        *place = length.to_le_bytes();
    }
}

/// Compares two keys, a word at a time: in Wasm, `==` for slices compares byte by byte.
#[inline]
pub(super) fn equal(one: &[u8], other: &[u8]) -> bool {
    let (words, bytes) = one.as_chunks::<8>();
    let (other_words, other_bytes) = other.as_chunks::<8>();
    let word = |bytes: &[u8; 8]| u64::from_le_bytes(*bytes);
    words.iter().map(word).eq(other_words.iter().map(word)) && bytes.iter().eq(other_bytes)
}

/// Returns the values of a key, in the order of the dimensions that are not constant.
pub(super) fn values(mut key: &[u8]) -> impl Iterator<Item = Option<&[u8]>> {
    std::iter::from_fn(move || {
        let (length, rest) = key.split_first_chunk()?;
        let length = u16::from_le_bytes(*length);
        if length == ABSENT {
            key = rest;
            return Some(None);
        }
        let (value, rest) = rest.split_at_checked(usize::from(length))?;
        key = rest;
        Some(Some(value))
    })
}

/// Builds a key from values.
pub(super) fn of_values<'a>(values: impl Iterator<Item = Option<&'a [u8]>>) -> Vec<u8> {
    let mut key = Vec::new();
    for value in values {
        let start = key.len();
        key.extend_from_slice(&ABSENT.to_le_bytes());
        if let Some(value) = value {
            key.extend_from_slice(value);
            write_length(&mut key, start);
        }
    }
    key
}

/// Encodes the canonical attributes of a key.
pub(super) fn attributes(key: &[u8], dimensions: &[Dimension]) -> Vec<u8> {
    let mut values = values(key);
    let attribute = |dimension: &Dimension| -> Option<KeyValue> {
        match &dimension.value {
            DimensionValue::Constant(value) => Some(attributes::text(&dimension.name, value)),
            DimensionValue::Source(_) => dimension.transform.attribute(&dimension.name, values.next()??),
        }
    };
    attributes::encode(dimensions.iter().filter_map(attribute).collect())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use tributary_plan::transform::Transform;

    fn dimension(name: &str, value: DimensionValue, transform: Transform) -> Dimension {
        let (default, allow, max_values, max_bytes) = (None, vec![], None, 16);
        Dimension { name: name.into(), value, transform, default, allow, max_values, max_bytes }
    }

    fn built(dimensions: &[Dimension], values: &[&[u8]]) -> (Vec<Option<Vec<u8>>>, u64) {
        let mut observation = Observation::default();
        for (place, value) in observation.values_mut().iter_mut().zip(values) {
            *place = Some(value);
        }
        let mut key = b"old".to_vec();
        let mistyped = build(&mut key, dimensions, &observation);
        (super::values(&key).map(|value| value.map(<[u8]>::to_vec)).collect(), mistyped)
    }

    #[test]
    fn a_default_replaces_values_that_are_absent_or_mistyped() {
        let mut number = dimension("n", DimensionValue::Source(0), Transform::Integer);
        number.default = Some(5_i64.to_le_bytes().into());
        let plain = dimension("m", DimensionValue::Source(0), Transform::Integer);
        let five = Some(5_i64.to_le_bytes().to_vec());
        assert_eq!(built(&[number.clone()], &[b""]), (vec![five.clone()], 0));
        assert_eq!(built(&[number], &[b"text"]), (vec![five], 1));
        assert_eq!(built(&[plain], &[b"text"]), (vec![None], 1));
    }

    #[test]
    fn values_that_are_not_allowed_become_other() {
        let mut tenant = dimension("t", DimensionValue::Source(0), Transform::Text);
        tenant.allow = vec![b"a".as_slice().into()];
        for (value, expected) in [(&b"a"[..], Some(&b"a"[..])), (b"b", Some(OTHER)), (b"", None)] {
            assert_eq!(built(&[tenant.clone()], &[value]).0, [expected.map(<[u8]>::to_vec)]);
        }
    }

    #[test]
    fn constants_are_attributes_but_not_part_of_the_key() {
        let dimensions = [
            dimension("zone", DimensionValue::Constant("a".into()), Transform::Text),
            dimension("method", DimensionValue::Source(0), Transform::Method),
        ];
        let mut key = Vec::new();
        let mut observation = Observation::default();
        observation.values_mut()[0] = Some(b"GET");
        build(&mut key, &dimensions, &observation);
        assert_eq!(key, b"\x03\0GET");
        let expected = vec![attributes::text("method", "GET"), attributes::text("zone", "a")];
        assert_eq!(attributes(&key, &dimensions), attributes::encode(expected));
    }

    proptest! {
        #[test]
        fn keys_are_equal_if_their_bytes_are(
            one in prop::collection::vec(any::<u8>(), 0..40),
            at in any::<prop::sample::Index>(),
            other in prop::collection::vec(any::<u8>(), 0..40),
        ) {
            prop_assert!(equal(&one, &one.clone()));
            prop_assert_eq!(equal(&one, &other), one == other);
            prop_assert!(!equal(&one, &[&one[..], &[0]].concat()));
            let mut changed = one.clone();
            if !changed.is_empty() {
                let at = at.index(changed.len());
                changed[at] ^= 1;
                prop_assert!(!equal(&one, &changed));
            }
        }

        #[test]
        fn a_key_has_exactly_its_values(values in prop::collection::vec(prop::option::of(prop::collection::vec(any::<u8>(), 0..20)), 0..9)) {
            let key = of_values(values.iter().map(Option::as_deref));
            let read: Vec<_> = super::values(&key).map(|value| value.map(<[u8]>::to_vec)).collect();
            prop_assert_eq!(read, values);
        }
    }
}
