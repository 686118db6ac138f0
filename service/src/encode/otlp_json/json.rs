//! Writing JSON straight into a buffer. Text and doubles are written by `serde_json`; the rest is brackets and commas.

use std::io::Write;

/// A JSON text as far as it is written.
#[derive(Debug, Default)]
pub(super) struct Json {
    out: Vec<u8>,
}

impl Json {
    /// The text.
    pub(super) fn finish(self) -> Vec<u8> {
        self.out
    }

    /// An object as an item of an array, or as the whole.
    pub(super) fn object(&mut self, members: impl FnOnce(&mut Self)) {
        self.separate();
        self.out.push(b'{');
        members(self);
        self.out.push(b'}');
    }

    /// A member that is an object.
    pub(super) fn member(&mut self, key: &str, members: impl FnOnce(&mut Self)) {
        self.key(key);
        self.out.push(b'{');
        members(self);
        self.out.push(b'}');
    }

    /// A member that is an array of objects; left out if it is empty.
    pub(super) fn array<T>(&mut self, key: &str, items: &[T], members: impl Fn(&mut Self, &T)) {
        self.items(key, items, |json, item| json.object(|json| members(json, item)));
    }

    /// A member that is text; left out if it is empty.
    pub(super) fn text(&mut self, key: &str, text: &str) {
        if !text.is_empty() {
            self.always_text(key, text);
        }
    }

    /// A member that is text, even if it is empty.
    pub(super) fn always_text(&mut self, key: &str, text: &str) {
        self.key(key);
        // Writing to memory does not fail.
        let _ = serde_json::to_writer(&mut self.out, text);
    }

    /// A member that is an unsigned integer of 64 bits; left out if it is 0.
    pub(super) fn whole(&mut self, key: &str, value: u64) {
        if value != 0 {
            self.key(key);
            self.quoted(value);
        }
    }

    /// A member that is a signed integer of 64 bits, even if it is 0.
    pub(super) fn integer(&mut self, key: &str, value: i64) {
        self.key(key);
        let _ = write!(self.out, "\"{value}\"");
    }

    /// A member that is an integer of 32 bits or an enum; left out if it is 0.
    pub(super) fn small(&mut self, key: &str, value: impl Into<i64>) {
        let value = value.into();
        if value != 0 {
            self.key(key);
            let _ = write!(self.out, "{value}");
        }
    }

    /// A member that is a double, even if it is 0.
    pub(super) fn double(&mut self, key: &str, value: f64) {
        self.key(key);
        self.bare_double(value);
    }

    /// A member that is true or false.
    pub(super) fn truth(&mut self, key: &str, value: bool) {
        self.key(key);
        self.out.extend_from_slice(if value { b"true" } else { b"false" });
    }

    /// A member that is bytes in hexadecimal; left out if there are none.
    pub(super) fn hex(&mut self, key: &str, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        self.key(key);
        self.out.push(b'"');
        for byte in bytes {
            let _ = write!(self.out, "{byte:02x}");
        }
        self.out.push(b'"');
    }

    /// A member that is an array of unsigned integers of 64 bits; left out if it is empty.
    pub(super) fn wholes(&mut self, key: &str, values: &[u64]) {
        self.items(key, values, |json, value| {
            json.separate();
            json.quoted(*value);
        });
    }

    /// A member that is an array of doubles; left out if it is empty.
    pub(super) fn doubles(&mut self, key: &str, values: &[f64]) {
        self.items(key, values, |json, value| {
            json.separate();
            json.bare_double(*value);
        });
    }

    fn items<T>(&mut self, key: &str, items: &[T], each: impl Fn(&mut Self, &T)) {
        if items.is_empty() {
            return;
        }
        self.key(key);
        self.out.push(b'[');
        items.iter().for_each(|item| each(self, item));
        self.out.push(b']');
    }

    /// Keys are names of fields, in which there is nothing to escape.
    fn key(&mut self, key: &str) {
        self.separate();
        self.out.push(b'"');
        self.out.extend_from_slice(key.as_bytes());
        self.out.extend_from_slice(b"\":");
    }

    fn quoted(&mut self, value: u64) {
        let _ = write!(self.out, "\"{value}\"");
    }

    /// JSON has no infinities; the JSON mapping of protobuf writes them as text.
    fn bare_double(&mut self, value: f64) {
        let text = match value {
            _ if value.is_nan() => "\"NaN\"",
            f64::INFINITY => "\"Infinity\"",
            f64::NEG_INFINITY => "\"-Infinity\"",
            _ => {
                let _ = serde_json::to_writer(&mut self.out, &value);
                return;
            }
        };
        self.out.extend_from_slice(text.as_bytes());
    }

    /// A comma, unless this is the first thing inside a bracket. Text ends with its quote, so a bracket is one.
    fn separate(&mut self) {
        if !matches!(self.out.last(), None | Some(b'{' | b'[' | b':')) {
            self.out.push(b',');
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commas_are_between_things_only() {
        let mut json = Json::default();
        json.object(|json| {
            json.array("a", &[1, 2], |json, item| json.small("n", *item));
            json.array("none", &[0; 0], |_, _: &i32| ());
            json.wholes("b", &[1, u64::MAX]);
            json.doubles("c", &[0.5, 1e300, f64::INFINITY, f64::NAN]);
            json.member("d", |_| ());
            json.text("e", "");
            json.always_text("f", "");
            json.text("g", "\"\\\u{1}é{[");
            json.hex("h", &[0, 0xab]);
            json.truth("i", false);
            json.integer("j", -1);
            json.whole("k", 0);
        });
        let expected = "{\"a\":[{\"n\":1},{\"n\":2}],\"b\":[\"1\",\"18446744073709551615\"],\
            \"c\":[0.5,1e+300,\"Infinity\",\"NaN\"],\"d\":{},\"f\":\"\",\"g\":\"\\\"\\\\\\u0001é{[\",\
            \"h\":\"00ab\",\"i\":false,\"j\":\"-1\"}";
        assert_eq!(String::from_utf8(json.finish()).unwrap(), expected);
    }
}
