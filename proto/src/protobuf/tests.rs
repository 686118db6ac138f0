//! Fields, held to what `prost` reads and writes.

use proptest::prelude::*;
use prost::Message;

use super::*;
use crate::generated::otlp::{self, exponential_histogram_data_point::Buckets};

/// All fields of a message.
fn read(mut message: &[u8]) -> Option<Vec<(u64, Field<'_>)>> {
    let mut fields = Vec::new();
    while !message.is_empty() {
        fields.push(field(&mut message)?);
    }
    Some(fields)
}

fn any_number() -> impl Strategy<Value = u64> {
    (any::<u64>(), 0u32..64).prop_map(|(number, shift)| number >> shift)
}

proptest! {
    #[test]
    fn writes_what_the_generated_types_write(
        (small, wide, signed, text) in (any::<u32>(), any_number(), any::<i32>(), "\\PC{0,200}"),
        packed in prop::collection::vec(any_number(), 0..60),
    ) {
        let point = otlp::ExponentialHistogramDataPoint {
            count: wide,
            scale: signed,
            zero_count: wide,
            positive: Some(Buckets { offset: signed, bucket_counts: packed.clone() }),
            flags: small,
            ..otlp::ExponentialHistogramDataPoint::default()
        };
        let mut out = Vec::new();
        write::fixed64(&mut out, 4, wide.to_le_bytes());
        write::sint(&mut out, 6, signed.into());
        write::fixed64(&mut out, 7, wide.to_le_bytes());
        write::message(&mut out, 8, |out| {
            write::sint(out, 1, signed.into());
            write::uints(out, 2, packed.iter().copied());
        });
        write::uint(&mut out, 10, small.into());
        prop_assert_eq!(otlp::ExponentialHistogramDataPoint::decode(out.as_slice()), Ok(point));

        let metric = otlp::Metric { name: text.clone(), ..otlp::Metric::default() };
        let mut out = Vec::new();
        write::text(&mut out, 1, &text);
        prop_assert_eq!(out, metric.encode_to_vec());

        let mut out = Vec::new();
        write::fixed64s(&mut out, 6, packed.iter().map(|number| number.to_le_bytes()));
        let point = otlp::HistogramDataPoint { bucket_counts: packed, ..otlp::HistogramDataPoint::default() };
        prop_assert_eq!(out, point.encode_to_vec());
    }

    #[test]
    fn a_field_is_read_as_it_was_written(number in 1u32..10_000, value in any_number(), signed: i64, bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let mut out = Vec::new();
        write::one_of_uints(&mut out, number, value);
        write::fixed64(&mut out, number, value.to_le_bytes());
        write::bytes(&mut out, number, &bytes);
        write::one_of_uints(&mut out, number, zigzag::encode(signed));
        let fields = [Field::Varint(value), Field::Fixed64(value), Field::Bytes(&bytes), Field::Varint(zigzag::encode(signed))];
        prop_assert_eq!(read(&out), Some(fields.map(|field| (number.into(), field)).into()));
        prop_assert_eq!(zigzag::decode(zigzag::encode(signed)), signed);
        prop_assert_eq!(write::varint_length(value), varint_bytes(value));
    }

    #[test]
    fn packed_numbers_are_read_back(numbers in prop::collection::vec(any_number(), 0..60)) {
        let mut out = Vec::new();
        numbers.iter().for_each(|number| write::varint(&mut out, *number));
        prop_assert_eq!(varints(&out), Some(numbers));
    }

    #[test]
    fn no_bytes_do_harm(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = (read(&bytes), varints(&bytes));
    }
}

fn varint_bytes(number: u64) -> usize {
    let mut out = Vec::new();
    write::varint(&mut out, number);
    out.len()
}

#[test]
fn a_message_of_any_length_has_its_length_before_it() {
    for bytes in [0, 1, 127, 128, 16_383, 16_384, 100_000] {
        let mut out = vec![7];
        write::message(&mut out, 3, |out| out.resize(out.len() + bytes, 1));
        let mut rest = &out[1..];
        assert_eq!(field(&mut rest), Some((3, Field::Bytes(&vec![1; bytes]))), "{bytes}");
        assert!(rest.is_empty());
    }
}

#[test]
fn what_breaks_off_or_is_too_long_is_none() {
    for bytes in [
        &b"\x08"[..],
        b"\x09\0\0",
        b"\x0a\x05abcd",
        b"\x0b",
        b"\x0d\0\0\0\0",
        b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01",
    ] {
        assert_eq!(read(bytes), None, "{bytes:?}");
    }
    assert_eq!(varints(b"\x01\x80"), None);
}
