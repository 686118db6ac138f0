//! The notations, field by field.

use super::*;

#[test]
fn commas_are_only_between_items() {
    let mut json = Writer::new(Notation::Json);
    json.item(9, |json| {
        json.list("a", |json| (1..=2).for_each(|item| json.item(9, |json| json.int32(9, "n", item))));
        json.fixed64s(9, "none", &[]);
        json.uint64s(9, "b", &[1, u64::MAX]);
        json.doubles(9, "c", &[0.5, 1e30, -2.0]);
        json.object(9, "d", |_| ());
        json.text(9, "e", "");
        json.text(9, "g", "\"\\\u{1}é{[");
        json.id(9, "h", &[0, 0xab]);
        json.boolean(9, "i", false);
        json.sfixed64(9, "j", -1);
        json.fixed64(9, "k", 0);
        json.sint32(9, "l", -7);
    });
    let expected = "{\"a\":[{\"n\":1},{\"n\":2}],\"b\":[\"1\",\"18446744073709551615\"],\
        \"c\":[0.5,1e+30,-2],\"d\":{},\"g\":\"\\\"\\\\\\u0001é{[\",\
        \"h\":\"00ab\",\"i\":false,\"j\":\"-1\",\"l\":-7}";
    assert_eq!(String::from_utf8(json.out).unwrap(), expected);
}
