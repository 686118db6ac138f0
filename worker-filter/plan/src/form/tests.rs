use proptest::prelude::*;

use super::*;

fn written(form: &Form, value: &[u8]) -> Option<String> {
    let mut out = b"before".to_vec();
    let present = form.write(value, 8, &mut out);
    assert_eq!(present, out.len() > 6, "{form:?}");
    present.then(|| match form.attribute("n", &out[6..]).unwrap().value.unwrap().value.unwrap() {
        tributary_proto::otlp::any_value::Value::StringValue(text) => text,
        other => format!("{other:?}"),
    })
}

#[test]
fn values_take_the_form_of_their_dimension() {
    let number = |number: i64| number.to_le_bytes().to_vec();
    let flags = |bits: &[u32]| number(-bits.iter().map(|bit| 1 << bit).sum::<i64>());
    for (form, value, expected) in [
        (Form::Text, b"a".to_vec(), Some("a")),
        (Form::Text, b"".to_vec(), None),
        (Form::Text, b"123456789".to_vec(), Some("12345678")),
        (Form::Text, b"1234567\xc3\xa9".to_vec(), Some("1234567")),
        (Form::Text, b"a\xffb".to_vec(), Some("a\u{fffd}b")),
        (Form::Method, b"GET".to_vec(), Some("GET")),
        (Form::Method, b"get".to_vec(), Some("_OTHER")),
        (Form::Method, b"".to_vec(), None),
        (Form::Integer, number(-5), Some("IntValue(-5)")),
        (Form::Integer, b"text".to_vec(), None),
        (Form::Boolean, b"\x01".to_vec(), Some("BoolValue(true)")),
        (Form::Boolean, b"".to_vec(), None),
        (Form::Decimal, number(0), Some("0")),
        (Form::Status, number(200), Some("IntValue(200)")),
        (Form::Status, flags(&[14]), None),
        (Form::Status, number(0), None),
        (Form::StatusText, flags(&[14]), Some("0")),
        (Form::StatusText, number(404), Some("404")),
        (Form::ErrorType, number(200), None),
        (Form::ErrorType, number(404), None),
        (Form::ErrorType, number(503), Some("503")),
        (Form::ErrorType, flags(&[28]), Some("downstream_remote_reset")),
        (Form::ErrorType, b"".to_vec(), Some("_OTHER")),
        (Form::Flags, number(1 << 5), Some("upstream_connection_failure")),
        (Form::Flags, number(0), None),
        (Form::FlagsShort, number(1 << 5 | 1 << 15), Some("UF,URX")),
        (Form::FlagsShort, number(0), Some("-")),
        (Form::Address, b"1.2.3.4:5".to_vec(), Some("1.2.3.4")),
        (Form::Address, b"[::1]:5".to_vec(), Some("::1")),
        (Form::Address, b"/a:1".to_vec(), Some("/a:1")),
        (Form::RpcMethod, b"/p.S/M".to_vec(), Some("p.S/M")),
        (Form::RpcMethod, b"_OTHER".to_vec(), Some("_OTHER")),
        (Form::RpcStatus, number(5), Some("NOT_FOUND")),
        (Form::RpcStatus, number(99), Some("_OTHER")),
        (Form::RpcStatus, number(-1), Some("UNKNOWN")),
        (Form::RpcStatus, number(-1 - (1 << 28)), Some("CANCELLED")),
        (Form::RpcStatus, number(-1 - (1 << 14)), Some("CANCELLED")),
        (Form::RpcStatus, number(-1 - (1 << 6)), Some("UNKNOWN")),
        (Form::RpcStatus, b"".to_vec(), None),
        (Form::RpcError, number(5), None),
        (Form::RpcError, number(14), Some("UNAVAILABLE")),
        (Form::RpcError, number(-1), Some("UNKNOWN")),
        (Form::RpcError, number(-1 - (1 << 28)), None),
        (Form::RpcError, b"".to_vec(), Some("_OTHER")),
    ] {
        assert_eq!(written(&form, &value).as_deref(), expected, "{form:?} {value:?}");
    }
}

#[test]
fn other_is_text_even_where_values_are_numbers() {
    let attribute = Form::Integer.attribute("n", OTHER).unwrap();
    assert_eq!(attribute, attributes::text("n", "_OTHER"));
}

proptest! {
    #[test]
    fn no_value_does_harm(value in prop::collection::vec(any::<u8>(), 0..40), max_bytes in 0usize..40) {
        for form in [
            Form::Text, Form::Integer, Form::Boolean, Form::Decimal, Form::Method, Form::Status, Form::StatusText,
            Form::ErrorType, Form::Flags, Form::FlagsShort, Form::Address, Form::RpcMethod, Form::RpcStatus,
            Form::RpcError, Form::Path(Paths::default()),
        ] {
            let mut out = Vec::new();
            if form.write(&value, max_bytes, &mut out) {
                prop_assert!(form.attribute("n", &out).is_some());
            }
        }
    }
}
