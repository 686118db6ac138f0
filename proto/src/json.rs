//! JSON: values, reading them, and writing text.
//!
//! By hand, and held to `serde_json` by tests: that is 30 KiB in each module, for a configuration that is read once.

mod reader;

pub(crate) use reader::DEPTH_MAX;
pub use reader::read;

/// A value. Numbers are doubles, as in JavaScript and in Envoy's Struct.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// Any number.
    Number(f64),
    /// Text.
    String(String),
    /// A list.
    Array(Vec<Value>),
    /// Values by their names.
    Object(Object),
}

/// Values by their names, in ascending order of these, each name once.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Object(Vec<(String, Value)>);

impl Value {
    /// Whether it is `null`.
    pub fn is_null(&self) -> bool {
        *self == Self::Null
    }

    /// The text, if it is one.
    pub fn as_str(&self) -> Option<&str> {
        if let Self::String(text) = self { Some(text) } else { None }
    }

    /// The truth, if it is one.
    pub fn as_bool(&self) -> Option<bool> {
        if let Self::Bool(truth) = self { Some(*truth) } else { None }
    }

    /// The number, if it is one.
    pub fn as_f64(&self) -> Option<f64> {
        if let Self::Number(number) = self { Some(*number) } else { None }
    }

    /// The number, if it is a whole one that a double holds without loss, and not below 0. `5.0` is one too.
    pub fn as_whole(&self) -> Option<u64> {
        // 2^53: doubles count by ones up to there.
        const EXACT: f64 = 9_007_199_254_740_992.0;
        let double =
            self.as_f64().filter(|double| (0.0..=EXACT).contains(double) && double.trunc() == *double)?;
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "checked to be whole and in range"
        )]
        Some(double as u64)
    }

    /// The list, if it is one.
    pub fn as_array(&self) -> Option<&[Value]> {
        if let Self::Array(items) = self { Some(items) } else { None }
    }

    /// The object, if it is one.
    pub fn as_object(&self) -> Option<&Object> {
        if let Self::Object(entries) = self { Some(entries) } else { None }
    }

    /// The value of that name, if it is an object that has one.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.as_object()?.get(name)
    }
}

impl Object {
    /// An object without values.
    pub const fn new() -> Self {
        Self(Vec::new())
    }

    /// The value of that name.
    pub fn get(&self, name: &str) -> Option<&Value> {
        self.0.get(self.place(name)).filter(|(present, _)| present == name).map(|(_, value)| value)
    }

    /// Puts a value there, in place of one that has the same name.
    pub fn insert(&mut self, name: String, value: Value) {
        let place = self.place(&name);
        match self.0.get_mut(place) {
            Some((present, before)) if *present == name => *before = value,
            _ => self.0.insert(place, (name, value)),
        }
    }

    /// How many values there are.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Each value with its name.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &Value)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value))
    }

    fn place(&self, name: &str) -> usize {
        self.0.partition_point(|(present, _)| present.as_str() < name)
    }
}

/// Appends text as a value, in quotes. Only what must be is escaped.
pub fn write_text(out: &mut Vec<u8>, text: &str) {
    out.push(b'"');
    for byte in text.bytes() {
        match byte {
            b'"' | b'\\' => out.extend_from_slice(&[b'\\', byte]),
            ..b' ' => {
                out.extend_from_slice(b"\\u00");
                out.extend_from_slice(&crate::hex::of(byte));
            }
            _ => out.push(byte),
        }
    }
    out.push(b'"');
}

#[cfg(test)]
#[expect(clippy::cast_precision_loss, reason = "nine digits are a double without loss")]
mod tests;
