use tributary_plan::config::WorkerConfig;

use super::*;

fn schema(config: &str) -> LogSchema {
    LogSchema::new(&WorkerConfig::parse(config.as_bytes()).unwrap().plan)
}

/// The schema of a plan with these dimensions.
fn dimensions(attributes: &[&str]) -> LogSchema {
    let dimensions: Vec<_> = attributes
        .iter()
        .map(|attribute| format!(r#"{{"name": "{attribute}", "attribute": "{attribute}"}}"#))
        .collect();
    let dimensions = dimensions.join(",");
    schema(&format!(
        r#"{{"log_stream": true, "preset": "none", "counters": [], "dimensions": [{dimensions}]}}"#
    ))
}

fn text(out: &mut Vec<u8>, text: &str) {
    out.push(0xda);
    out.extend(u16::try_from(text.len()).unwrap().to_be_bytes());
    out.extend(text.as_bytes());
}

/// Reads a record of texts and returns its values by source.
fn read(schema: &LogSchema, tag: &str, record: &[(&str, &str)]) -> (Vec<Vec<u8>>, bool) {
    let mut bytes = Vec::new();
    for (key, value) in record {
        text(&mut bytes, key);
        text(&mut bytes, value);
    }
    let (mut reader, mut values) = (RecordReader::new(&bytes), Values::default());
    let layout = RecordLayout::new(schema, tag.as_bytes());
    let is_complete = layout.read(record.len(), &mut reader, &mut values).unwrap();
    assert_eq!(reader.rest(), b"");
    let observation = values.observation();
    ((0..schema.sources).map(|source| observation.bytes(source).to_vec()).collect(), is_complete)
}

fn number(number: i64) -> Vec<u8> {
    number.to_le_bytes().to_vec()
}

#[test]
fn values_are_decoded_by_the_type_of_their_source() {
    for (attribute, value, expected) in [
        ("request.method", "GET", b"GET".to_vec()),
        ("request.method", "-", vec![]),
        ("request.method", "", vec![]),
        ("response.code", "503", number(503)),
        ("response.code", "0", vec![]),
        ("response.code", "2x", vec![]),
        ("response.flags", "UF,URX", number(1 << 5 | 1 << 15)),
        ("response.flags", "NEW", number(0)),
        ("request.size", "12345678901", number(12_345_678_901)),
        ("request.size", "1234567890123456789", vec![]),
        ("request.size", "-1", vec![]),
        ("request.duration", "1500", number(1_500)),
        ("connection.mtls", "true", vec![1]),
        ("connection.mtls", "false", vec![0]),
    ] {
        let schema = dimensions(&[attribute]);
        let tag = format!("other {attribute} another");
        let record = format!("1 {value} 2");
        let expected = (vec![expected], true);
        assert_eq!(read(&schema, &tag, &[("values", &record)]), expected, "{attribute} {value}");
    }
}

#[test]
fn durations_have_units_and_the_last_one_present_is_used() {
    let schema = dimensions(&["request.duration"]);
    let tag = "request.duration:ms request.duration:us request.duration";
    for (record, nanoseconds) in
        [("7 - -", 7_000_000), ("7 6999 -", 6_999_000), ("7 6999 6998765", 6_998_765)]
    {
        assert_eq!(read(&schema, tag, &[("v", record)]), (vec![number(nanoseconds)], true), "{record}");
    }
}

#[test]
fn a_missing_status_is_derived_from_the_response_flags() {
    let schema = schema(r#"{"log_stream": true, "counters": [], "metrics": []}"#);
    let tag = "request.method response.flags response.code xds.route_name request.scheme request.duration:ms \
               request.size response.size";
    let status = |record| read(&schema, tag, &[("v", record)]).0[1].clone();
    assert_eq!(status("GET - 200 r http 1 0 0"), number(200));
    assert_eq!(status("GET UF 503 r http 1 0 0"), number(503));
    assert_eq!(status("GET DC 0 r http 1 0 0"), number(-(1 << 14)));
    assert_eq!(status("GET - 0 r http 1 0 0"), number(0));
    assert_eq!(schema.missing(tag.as_bytes(), &[]), Vec::<&str>::new());
    let missing =
        schema.missing(b"request.method request.duration response.flags", &[b"xds.route_name", b"v"]);
    assert_eq!(missing, ["request.scheme", "request.size", "response.size"]);
}

#[test]
fn a_text_with_a_wrong_number_of_values_is_ignored_and_named_values_are_kept() {
    let schema = schema(
        r#"{"log_stream": true, "preset": "none", "counters": [], "dimensions": [
            {"name": "m", "attribute": "request.method"}, {"name": "t", "request_header": "x-t"}]}"#,
    );
    let named = ("request.headers['x-t']", "a b c");
    let values = |text| read(&schema, "request.method response.code", &[named, ("values", text)]);
    assert_eq!(values("GET 200"), (vec![b"GET".to_vec(), b"a b c".to_vec()], true));
    for text in ["GET 200 x", "GET", "", "GET  200"] {
        assert_eq!(values(text), (vec![vec![], b"a b c".to_vec()], false), "{text:?}");
    }
}

#[test]
fn an_attribute_of_unknown_type_has_the_type_that_the_configuration_expects() {
    let schema = schema(
        r#"{"log_stream": true, "preset": "none", "counters": [],
            "metrics": [{"name": "c", "kind": "counter", "value": "filter_state.tokens"}],
            "dimensions": [{"name": "n", "attribute": "filter_state.shard", "type": "integer"},
                {"name": "b", "attribute": "filter_state.cached", "type": "boolean"},
                {"name": "t", "attribute": "filter_state.tenant"}]}"#,
    );
    let tag = "filter_state.shard filter_state.cached filter_state.tenant filter_state.tokens";
    let (values, is_complete) = read(&schema, tag, &[("v", "3 true 7 512")]);
    assert_eq!((values, is_complete), (vec![number(3), vec![1], b"7".to_vec(), number(512)], true));
}

#[test]
fn values_of_expressions_have_the_type_that_the_configuration_expects() {
    let schema = schema(
        r#"{"log_stream": true, "preset": "none", "counters": [{"key": "k", "condition": "is_odd"}],
            "dimensions": [{"name": "n", "cel": "number", "type": "integer"}, {"name": "b", "cel": "truth", "type": "boolean"}],
            "metrics": [{"name": "c", "kind": "counter", "value": "much"}]}"#,
    );
    let mut bytes = Vec::new();
    for (key, value) in
        [("much", &b"\x05"[..]), ("number", b"\xd0\xff"), ("truth", b"\xc3"), ("is_odd", b"\xc2")]
    {
        text(&mut bytes, key);
        bytes.extend(value);
    }
    let mut values = Values::default();
    let schema = RecordLayout::new(&schema, b"");
    assert_eq!(schema.read(4, &mut RecordReader::new(&bytes), &mut values), Ok(true));
    let observation = values.observation();
    let mut found: Vec<_> = (0..4).map(|source| observation.bytes(source).to_vec()).collect();
    found.sort();
    assert_eq!(found, [vec![0], vec![1], number(5), number(-1)]);
}
