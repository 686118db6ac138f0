//! JSON, held to what `serde_json` reads and writes.

use proptest::prelude::*;

use super::*;

/// As `serde_json` has it.
fn serde(value: &Value) -> serde_json::Value {
    match value {
        Value::Null => serde_json::Value::Null,
        Value::Bool(truth) => (*truth).into(),
        Value::Number(number) => (*number).into(),
        Value::String(text) => text.as_str().into(),
        Value::Array(items) => items.iter().map(serde).collect(),
        Value::Object(entries) => {
            entries.iter().map(|(name, value)| (name.to_owned(), serde(value))).collect()
        }
    }
}

/// Integers as doubles, as we have them.
fn all_doubles(value: serde_json::Value) -> serde_json::Value {
    match value {
        serde_json::Value::Number(number) => number.as_f64().unwrap().into(),
        serde_json::Value::Array(items) => items.into_iter().map(all_doubles).collect(),
        serde_json::Value::Object(entries) => {
            entries.into_iter().map(|(name, value)| (name, all_doubles(value))).collect()
        }
        other => other,
    }
}

fn read_by_both(text: &str) -> (Option<serde_json::Value>, Option<serde_json::Value>) {
    let theirs = serde_json::from_str(text).ok().map(all_doubles);
    (read(text.as_bytes()).ok().map(|value| serde(&value)), theirs)
}

fn any_value() -> impl Strategy<Value = serde_json::Value> {
    let leaf = prop_oneof![
        Just(serde_json::Value::Null),
        any::<bool>().prop_map(serde_json::Value::from),
        any::<i32>().prop_map(serde_json::Value::from),
        (-999_999_999i64..999_999_999, 0u32..12).prop_map(|(digits, power)| {
            serde_json::Value::from(digits as f64 / 10_f64.powi(power.cast_signed()))
        }),
        "\\PC{0,9}".prop_map(serde_json::Value::from),
        "[\\x00-\\x7f]{0,9}".prop_map(serde_json::Value::from),
    ];
    leaf.prop_recursive(4, 40, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..6).prop_map(serde_json::Value::from),
            prop::collection::btree_map("\\PC{0,9}", inner, 0..6)
                .prop_map(|entries| entries.into_iter().collect()),
        ]
    })
}

proptest! {
    #[test]
    fn reads_what_another_writes(value in any_value()) {
        for text in [value.to_string(), serde_json::to_string_pretty(&value).unwrap()] {
            let (ours, theirs) = read_by_both(&text);
            prop_assert!(ours.is_some() && ours == theirs, "{}", text);
        }
    }

    #[test]
    fn takes_and_refuses_what_another_does(text in "[\\[\\]{}:,\"\\\\tfnrue0-9.+\\-E \n]{0,12}") {
        let (ours, theirs) = read_by_both(&text);
        prop_assert_eq!(ours, theirs, "{}", text);
    }

    #[test]
    fn text_is_read_back(text in "[\\x00-\\x7fé\u{1f600}]{0,40}") {
        let mut out = Vec::new();
        write_text(&mut out, &text);
        prop_assert_eq!(serde_json::from_slice::<String>(&out).unwrap(), text.as_str());
        prop_assert_eq!(read(&out), Ok(Value::String(text)));
    }

    #[test]
    fn numbers_of_fifteen_digits_are_as_near_as_can_be(digits in 0u64..1_000_000_000_000_000, power in -22i32..=22) {
        let text = format!("{digits}e{power}");
        prop_assert_eq!(read(text.as_bytes()), Ok(Value::Number(text.parse().unwrap())));
    }

    #[test]
    fn no_bytes_do_harm(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        let _ = read(&bytes);
    }
}

#[test]
fn strange_texts_are_read_as_by_another() {
    for text in [
        "",
        " ",
        "nul",
        "truee",
        "01",
        "-",
        "-0",
        "1.",
        ".5",
        "+1",
        "1e",
        "1e+",
        "0.1e-2",
        "1E5",
        "1e999",
        "-1e999",
        "123456789012345678",
        "[1,]",
        "[,1]",
        "[1 2]",
        "{\"a\":1,}",
        "{\"a\" : 1 }",
        "{a:1}",
        "{\"a\":1}x",
        "\"\\x\"",
        "\"\t\"",
        "\"\\ud83d\\ude00\"",
        "\"\\ud83d\"",
        "\"\\ude00\"",
        "\"\\ud83d\\u0041\"",
        "\"\\u00e9\"",
        "\"\\u+123\"",
        "\"a",
        "{\"a\":1,\"a\":2}",
        "\u{feff}1",
        "[[[]]]",
        "\"\u{7f}\"",
        "1e-999",
        "0e5",
    ] {
        let (ours, theirs) = read_by_both(text);
        assert_eq!(ours, theirs, "{text:?}");
    }
    assert!(read(b"\"\xff\"").is_err());
}

#[test]
fn nesting_is_bounded() {
    let nested = |depth: usize| [vec![b'['; depth], vec![b']'; depth]].concat();
    assert!(read(&nested(32)).is_ok());
    assert!(read(&nested(33)).is_err());
    assert!(read(&nested(100_000)).is_err());
    assert!(read(&[&b"["[..], &b"[],".repeat(100), b"[]]"].concat()).is_ok(), "side by side is not nested");
}

#[test]
fn names_are_bounded() {
    let named = |names: usize| {
        let entries: Vec<_> = (0..names).rev().map(|name| format!("\"{name}\":0")).collect();
        read(format!("[{{{0}}},{{{0}}}]", entries.join(",")).as_bytes())
    };
    assert!(named(1_024).is_ok(), "each object has its own");
    assert!(named(1_025).is_err());
}

#[test]
fn an_error_says_where() {
    for (text, expected) in [
        ("", "no JSON at line 1 column 1"),
        ("{\n  \"a\": 1,\n  b: 2\n}", "no JSON at line 3 column 3"),
        ("{} x", "no JSON at line 1 column 4"),
    ] {
        assert_eq!(read(text.as_bytes()), Err(expected.to_owned()), "{text:?}");
    }
}
