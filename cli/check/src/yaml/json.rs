//! Converts YAML to the JSON that a module receives. The JSON depends on the program that reads the file.

use saphyr_parser::ScalarStyle;
use serde_json::{Number, Value as Json};

use super::{Node, YamlValue};

/// The rules for converting the scalars of a file, which depend on the program that reads the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// YAML that Envoy reads: only 32-bit integers stay numbers; larger integers and fractions become text
    /// (`ValueUtil::loadFromYaml`).
    Envoy,
    /// JSON that Envoy reads, or a manifest that Kubernetes reads: numbers stay numbers.
    Json,
}

impl Dialect {
    /// Returns the dialect of a file that Envoy itself reads. It depends on the name of the file.
    pub fn of_file(name: &str) -> Self {
        if name.ends_with(".json") { Self::Json } else { Self::Envoy }
    }
}

/// Returns the JSON that a module receives for a value.
pub fn to_json(node: &Node, dialect: Dialect) -> Json {
    match &node.value {
        YamlValue::Scalar(text, ScalarStyle::Plain) => plain_to_json(text, dialect),
        YamlValue::Scalar(text, _) => text.as_str().into(),
        YamlValue::List(items) => items.iter().map(|item| to_json(item, dialect)).collect(),
        YamlValue::Map(entries) => {
            entries.iter().map(|(key, value)| (key.clone(), to_json(value, dialect))).collect()
        }
    }
}

fn plain_to_json(text: &str, dialect: Dialect) -> Json {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Json::Null,
        "true" | "True" | "TRUE" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" => return true.into(),
        "false" | "False" | "FALSE" | "no" | "No" | "NO" | "off" | "Off" | "OFF" => return false.into(),
        "y" | "Y" if dialect == Dialect::Envoy => return true.into(),
        "n" | "N" if dialect == Dialect::Envoy => return false.into(),
        _ => {}
    }
    match (integer(text), dialect) {
        (Some(integer), Dialect::Envoy) if i32::try_from(integer).is_err() => integer.to_string().into(),
        (Some(integer), _) => integer.into(),
        (None, Dialect::Envoy) => text.into(),
        (None, Dialect::Json) => {
            fraction(text).and_then(Number::from_f64).map_or_else(|| text.into(), Json::Number)
        }
    }
}

fn integer(text: &str) -> Option<i64> {
    let radix = |prefix: &str, radix| i64::from_str_radix(text.strip_prefix(prefix)?, radix).ok();
    radix("0x", 16).or_else(|| radix("0o", 8)).or_else(|| text.parse().ok())
}

/// Parses a fraction. Returns `None` for words that Rust parses as numbers, such as `inf`: here they are
/// text.
fn fraction(text: &str) -> Option<f64> {
    text.bytes().any(|byte| byte.is_ascii_digit()).then(|| text.parse().ok())?
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::yaml::documents;

    #[test]
    fn envoy_turns_fractions_and_large_numbers_into_text() {
        let text = "[0.5, 5, -5, 0x10, 4294967296, \"5\", true, off, ~, y, 1s, .inf]";
        let node = &documents(text).unwrap()[0];
        let envoy = r#"["0.5",5,-5,16,"4294967296","5",true,false,null,true,"1s",".inf"]"#;
        assert_eq!(to_json(node, Dialect::Envoy).to_string(), envoy);
        let json = r#"[0.5,5,-5,16,4294967296,"5",true,false,null,"y","1s",".inf"]"#;
        assert_eq!(to_json(node, Dialect::Json).to_string(), json);
    }
}
