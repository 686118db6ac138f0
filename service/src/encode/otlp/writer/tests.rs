//! The two notations, field by field.

use super::*;

#[test]
fn commas_are_between_things_only() {
    let mut json = Writer::new(Notation::Json);
    json.whole(|json| {
        json.list("a", |json| (1..=2).for_each(|item| json.item(9, |json| json.int32(9, "n", item))));
        json.fixed64s(9, "none", &[]);
        json.uint64s(9, "b", &[1, u64::MAX]);
        json.doubles(9, "c", &[0.5, 1e300, f64::INFINITY, f64::NAN]);
        json.object(9, "d", |_| ());
        json.text(9, "e", "");
        json.text(9, "g", "\"\\\u{1}é{[");
        json.id(9, "h", &[0, 0xab]);
        json.truth(9, "i", false);
        json.sfixed64(9, "j", -1);
        json.fixed64(9, "k", 0);
        json.sint32(9, "l", -7);
    });
    let expected = "{\"a\":[{\"n\":1},{\"n\":2}],\"b\":[\"1\",\"18446744073709551615\"],\
        \"c\":[0.5,1e+300,\"Infinity\",\"NaN\"],\"d\":{},\"g\":\"\\\"\\\\\\u0001é{[\",\
        \"h\":\"00ab\",\"i\":false,\"j\":\"-1\",\"l\":-7}";
    assert_eq!(String::from_utf8(json.finish()).unwrap(), expected);
}

#[test]
fn attributes_that_are_not_canonical_to_the_byte_are_written_anew() {
    let canonical = attributes::encode(vec![attributes::text("a", "x"), attributes::integer("b", 2)]);
    // A field that no AttributeSet has: 9, a varint.
    let strange = [canonical.as_slice(), &[9 << 3, 1]].concat();
    let written = |bytes: &[u8]| {
        let mut protobuf = Writer::new(Notation::Protobuf);
        protobuf.canonical_attributes(1, bytes);
        protobuf.finish()
    };
    assert_eq!(written(&strange), canonical);
    assert_eq!(written(&canonical), canonical);
    assert_eq!(written(b"\x0a\xff"), b"");
}
