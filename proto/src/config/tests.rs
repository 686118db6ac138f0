//! Valid and invalid configurations.

use super::*;

fn problems(json: &str, read_section: impl FnOnce(&mut Section<'_>)) -> Vec<String> {
    match read(json.as_bytes(), read_section) {
        Ok(()) => Vec::new(),
        Err(problems) => problems.iter().map(ToString::to_string).collect(),
    }
}

#[test]
fn every_problem_is_reported_at_once_with_its_path() {
    let json =
        r#"{"flush": {"interval": 5, "speed": 1}, "list": [{"n": -1}, 7], "word": "c", "map": {"a": 1}}"#;
    let found = problems(json, |section| {
        section
            .section("flush", |flush| flush.duration("interval", Duration::ZERO..=Duration::from_secs(60)));
        section.sections("list", 0..=2, |item| item.number("n", 0..=9));
        section.word("word", &["a", "b"]);
        section.texts("map", 1, 9);
        section.required().number("must", 1..=2);
    });
    assert_eq!(
        found,
        [
            r#"flush.interval: found 5, allowed: a duration from 0s to 1m, such as "1s" or "250ms""#,
            "flush.speed: found an unknown key, allowed: one of interval",
            "list[0].n: found -1, allowed: a whole number from 0 to 9",
            "list[1]: found 7, allowed: an object",
            r#"word: found "c", allowed: one of a, b"#,
            "map: found an object of 1, allowed: an object of at most 1 texts of at most 9 bytes",
            "must: found nothing, allowed: a whole number from 1 to 2",
        ]
    );
}

#[test]
fn a_configuration_that_is_not_an_object_is_one_problem() {
    for json in ["[]", "{", "\"text\"", "\u{0}"] {
        assert_eq!(problems(json, |_| ()).len(), 1, "{json}");
    }
    assert_eq!(
        problems("", |_| ()),
        Vec::<String>::new(),
        "a plugin without a configuration has the defaults"
    );
}

#[test]
fn a_struct_is_read_like_json() {
    // Envoy 1.40 gives this for {"interval": "5s", "n": 1}.
    let bytes = b"\n\x10\n\x08interval\x12\x04\x1a\x025s\n\x0e\n\x01n\x12\x09\x11\0\0\0\0\0\0\xf0?";
    let read = read(bytes, |section| {
        let interval = section.duration("interval", Duration::ZERO..=Duration::MAX);
        (interval, section.number("n", 0..=9))
    });
    assert_eq!(read, Ok((Some(Duration::from_secs(5)), Some(1))));
}

#[test]
fn a_configuration_of_two_mebibytes_is_rejected_unread() {
    let found = problems(&" ".repeat(2 * 1024 * 1024), |_| ());
    let expected = "the whole configuration: found 2097152 bytes or more, allowed: a Struct, or text of a JSON object, of at most 1048576 bytes";
    assert_eq!(found, [expected]);
}

#[test]
fn whole_numbers_can_be_doubles_or_text() {
    for (json, expected) in [
        ("5", Ok(5)),
        ("5.0", Ok(5)),
        ("\"5\"", Ok(5)),
        ("\"5.0\"", Ok(5)),
        ("5.5", Err("5.5")),
        ("-1", Err("-1")),
        ("1e300", Err("1e+300")),
        ("\"5.5\"", Err("\"5.5\"")),
        ("\"five\"", Err("\"five\"")),
        ("[5]", Err("a list of 1")),
    ] {
        let read =
            read(format!(r#"{{"n": {json}}}"#).as_bytes(), |section| section.number("n", 0..=9).unwrap_or(0));
        let read = read.map_err(|problems| problems.iter().next().unwrap().found.clone());
        assert_eq!(read, expected.map_err(str::to_owned), "{json}");
    }
}

#[test]
fn a_syntax_error_is_one_problem_with_its_position() {
    for (json, expected) in [
        ("{", "EOF while parsing an object at line 1 column 1"),
        (" interval: 5s", "expected value at line 1 column 2"),
        ("\n{,}", "key must be a string at line 2 column 2"),
        ("\n", "a Struct that is malformed or nested too deeply"),
        (&"[".repeat(200), "recursion limit exceeded at line 1 column 128"),
        ("[1]", "a list of 1"),
    ] {
        let found = read(json.as_bytes(), |_| ()).unwrap_err().iter().next().unwrap().found.clone();
        assert_eq!(found, expected, "{json:?}");
    }
}

#[test]
fn a_number_out_of_range_and_deep_nesting_are_problems_with_their_limits_and_paths() {
    let allowed = "allowed: JSON with numbers between -1.8e308 and 1.8e308, and at most 127 levels of lists and objects";
    let deep = format!(r#"{{"a": {{"b": {}"#, "[".repeat(200));
    for (json, path, found) in [
        (
            r#"{"flush": {"max_requests": 1e309}}"#,
            "flush.max_requests",
            "number out of range at line 1 column 32",
        ),
        (r#"{"list": [1, {"n": -1e999}]}"#, "list[1].n", "number out of range at line 1 column 25"),
        (&deep, "a.b[0][0]", "recursion limit exceeded at line 1 column 138"),
    ] {
        let problems = problems(json, |_| ());
        let [problem] = &*problems else { panic!("{problems:?}") };
        assert!(
            problem.starts_with(path) && problem.ends_with(&format!(": found {found}, {allowed}")),
            "{problem}"
        );
    }
}

#[test]
fn an_object_of_too_many_keys_is_a_problem_with_its_limit_and_path() {
    let keys: Vec<_> = (0..1_100).map(|number| format!(r#""k{number}": "v""#)).collect();
    let found = problems(&format!(r#"{{"a": {{"map": {{{}}}}}}}"#, keys.join(",")), |section| {
        section.section("a", |section| section.texts("map", 9, 9));
    });
    assert_eq!(
        found,
        ["a.map: found an object of 1100, allowed: an object of at most 9 texts of at most 9 bytes"]
    );

    let found = problems(&format!("{{{}}}", keys.join(",")), |section| {
        section.flag("on");
    });
    assert_eq!(found.len(), PROBLEMS_MAX);
    assert!(found[0].ends_with(": found an unknown key, allowed: one of on"), "{}", found[0]);
    let expected = "the whole configuration: found further problems, allowed: a configuration without the problems above";
    assert_eq!(found[PROBLEMS_MAX - 1], expected);
}

#[test]
fn a_repeated_key_is_a_problem_with_its_path() {
    let json = r#"{"n": 1, "a": {"n": 1, "n": 2}, "list": [{}, {"n": 3, "n": 3}], "n": 2}"#;
    let found = problems(json, |section| {
        section.number("n", 0..=9);
        section.section("a", |section| section.number("n", 0..=9));
        section.sections("list", 0..=2, |section| section.number("n", 0..=9));
    });
    let expected =
        ["a.n", "list[1].n", "n"].map(|path| format!("{path}: found a repeated key, allowed: each key once"));
    assert_eq!(found, expected);
}

#[test]
fn what_a_problem_quotes_is_printable() {
    let json = r#"{"word": "\u001b[2J\u202e\u0085\"x", "a\nb\u2066": 1}"#;
    let found = problems(json, |section| {
        section.word("word", &["a"]);
    });
    assert_eq!(
        found,
        [
            r#"word: found "\u001b[2J\u202e\u0085\u0022x", allowed: one of a"#,
            r"a\u000ab\u2066: found an unknown key, allowed: one of word",
        ]
    );
}

#[test]
fn a_long_value_is_cut_in_a_problem() {
    let json = format!(r#"{{"word": "{}"}}"#, "x".repeat(10_000));
    let found = problems(&json, |section| {
        section.word("word", &["a"]);
    });
    assert!(found[0].len() < 200, "{}", found[0]);
}

#[test]
fn lists_are_read_as_a_whole_or_rejected() {
    let json = r#"{"names": ["a", "b"], "bounds": [0.5, 1, 2], "on": true, "mixed": ["a", 1], "falling": [2, 1], "off": 0}"#;
    let found = problems(json, |section| {
        assert_eq!(section.list("names", 2, 1..=9), Some(vec!["a".to_owned(), "b".to_owned()]));
        assert_eq!(section.ascending("bounds", 1..=3), Some(vec![0.5, 1.0, 2.0]));
        assert_eq!(section.flag("on"), Some(true));
        assert_eq!(section.list("mixed", 2, 1..=9), None);
        assert_eq!(section.ascending("falling", 1..=3), None);
        assert_eq!(section.flag("off"), None);
    });
    assert_eq!(
        found,
        [
            "mixed: found a list of 2, allowed: a list of at most 2 texts of 1 to 9 bytes",
            "falling: found a list of 2, allowed: a list of 1 to 3 numbers, ascending",
            "off: found 0, allowed: true or false",
        ]
    );
}

#[test]
fn null_is_absent() {
    let read = read(br#"{"n": null}"#, |section| (section.has("n"), section.number("n", 0..=9)));
    assert_eq!(read, Ok((false, None)));
}
