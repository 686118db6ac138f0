use proptest::prelude::*;

use super::*;

fn written(transform: &Transform, value: &[u8]) -> Option<String> {
    let mut out = b"before".to_vec();
    let present = transform.write(value, 8, &mut out);
    assert_eq!(present, out.len() > 6, "{transform:?}");
    present.then(|| match transform.attribute("n", &out[6..]).unwrap().value.unwrap().value.unwrap() {
        tributary_proto::otlp::any_value::Value::StringValue(text) => text,
        other => format!("{other:?}"),
    })
}

#[test]
fn values_are_transformed_to_attributes() {
    let number = |number: i64| number.to_le_bytes().to_vec();
    let flags = |bits: &[u32]| number(-bits.iter().map(|bit| 1 << bit).sum::<i64>());
    for (transform, value, expected) in [
        (Transform::Text, b"a".to_vec(), Some("a")),
        (Transform::Text, b"".to_vec(), None),
        (Transform::Text, b"123456789".to_vec(), Some("12345678")),
        (Transform::Text, b"1234567\xc3\xa9".to_vec(), Some("1234567")),
        (Transform::Text, b"a\xffb".to_vec(), Some("a\u{fffd}b")),
        (Transform::Method, b"GET".to_vec(), Some("GET")),
        (Transform::Method, b"get".to_vec(), Some("_OTHER")),
        (Transform::Method, b"".to_vec(), None),
        (Transform::Scheme, b"https".to_vec(), Some("https")),
        (Transform::Scheme, b"gopher".to_vec(), Some("_OTHER")),
        (Transform::Scheme, b"".to_vec(), None),
        (Transform::Integer, number(-5), Some("IntValue(-5)")),
        (Transform::Integer, b"text".to_vec(), None),
        (Transform::Boolean, b"\x01".to_vec(), Some("BoolValue(true)")),
        (Transform::Boolean, b"".to_vec(), None),
        (Transform::Decimal, number(0), Some("0")),
        (Transform::Status, number(200), Some("IntValue(200)")),
        (Transform::Status, flags(&[14]), None),
        (Transform::Status, number(0), None),
        (Transform::StatusText, flags(&[14]), Some("0")),
        (Transform::StatusText, number(404), Some("404")),
        (Transform::ErrorType, number(200), None),
        (Transform::ErrorType, number(404), None),
        (Transform::ErrorType, number(503), Some("503")),
        (Transform::ErrorType, flags(&[28]), Some("downstream_remote_reset")),
        (Transform::ErrorType, b"".to_vec(), Some("_OTHER")),
        (Transform::Flags, number(1 << 5), Some("upstream_connection_failure")),
        (Transform::Flags, number(0), None),
        (Transform::FlagsShort, number(1 << 5 | 1 << 15), Some("UF,URX")),
        (Transform::FlagsShort, number(0), Some("-")),
        (Transform::Address, b"1.2.3.4:5".to_vec(), Some("1.2.3.4")),
        (Transform::Address, b"[::1]:5".to_vec(), Some("::1")),
        (Transform::Address, b"/a:1".to_vec(), Some("/a:1")),
        (Transform::RpcMethod, b"/p.S/M".to_vec(), Some("p.S/M")),
        (Transform::RpcMethod, b"_OTHER".to_vec(), Some("_OTHER")),
        (Transform::RpcStatus, number(5), Some("NOT_FOUND")),
        (Transform::RpcStatus, number(99), Some("_OTHER")),
        (Transform::RpcStatus, number(-1), Some("UNKNOWN")),
        (Transform::RpcStatus, number(-1 - (1 << 28)), Some("CANCELLED")),
        (Transform::RpcStatus, number(-1 - (1 << 14)), Some("CANCELLED")),
        (Transform::RpcStatus, number(-1 - (1 << 6)), Some("UNKNOWN")),
        (Transform::RpcStatus, b"".to_vec(), None),
        (Transform::RpcError, number(5), None),
        (Transform::RpcError, number(14), Some("UNAVAILABLE")),
        (Transform::RpcError, number(-1), Some("UNKNOWN")),
        (Transform::RpcError, number(-1 - (1 << 28)), None),
        (Transform::RpcError, b"".to_vec(), Some("_OTHER")),
    ] {
        assert_eq!(written(&transform, &value).as_deref(), expected, "{transform:?} {value:?}");
    }
}

#[test]
fn other_is_text_even_for_numbers() {
    let attribute = Transform::Integer.attribute("n", OTHER).unwrap();
    assert_eq!(attribute, attributes::text("n", "_OTHER"));
}

proptest! {
    #[test]
    fn no_value_panics(value in prop::collection::vec(any::<u8>(), 0..40), max_bytes in 0usize..40) {
        for transform in [
            Transform::Text, Transform::Integer, Transform::Boolean, Transform::Decimal, Transform::Method, Transform::Status, Transform::StatusText,
            Transform::ErrorType, Transform::Flags, Transform::FlagsShort, Transform::Address, Transform::RpcMethod, Transform::RpcStatus,
            Transform::RpcError, Transform::Path(Paths::default()),
        ] {
            let mut out = Vec::new();
            if transform.write(&value, max_bytes, &mut out) {
                prop_assert!(transform.attribute("n", &out).is_some());
            }
        }
    }
}
