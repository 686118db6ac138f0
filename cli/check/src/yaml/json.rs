//! What a value becomes on its way to a module: it depends on who reads the file.

use serde_json::{Map, Number, Value as Json};

use super::{Node, Scalar, Style, Value};

/// Who reads the file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Dialect {
    /// Envoy reads YAML: only whole numbers that fit 32 bits stay numbers, all others and every fraction become text
    /// (`ValueUtil::loadFromYaml`).
    Envoy,
    /// Envoy reads a `.json` file, or Kubernetes reads a manifest: numbers stay numbers.
    Json,
}

/// What a module is given for this value.
pub fn to_json(node: &Node, dialect: Dialect) -> Json {
    match &node.value {
        Value::Scalar(scalar) => scalar_to_json(scalar, dialect),
        Value::List(items) => items.iter().map(|item| to_json(item, dialect)).collect(),
        Value::Map(entries) => {
            let entries = entries.iter().map(|entry| (entry.key.clone(), to_json(&entry.node, dialect)));
            Json::Object(entries.collect::<Map<_, _>>())
        }
    }
}

fn scalar_to_json(scalar: &Scalar, dialect: Dialect) -> Json {
    let text = scalar.text.as_str();
    if scalar.style != Style::Plain {
        return text.into();
    }
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Json::Null,
        "true" | "True" | "TRUE" | "yes" | "Yes" | "YES" | "on" | "On" | "ON" => return true.into(),
        "false" | "False" | "FALSE" | "no" | "No" | "NO" | "off" | "Off" | "OFF" => return false.into(),
        "y" | "Y" if dialect == Dialect::Envoy => return true.into(),
        "n" | "N" if dialect == Dialect::Envoy => return false.into(),
        _ => {}
    }
    match (integer(text), dialect) {
        (Some(integer), Dialect::Envoy) if i32::try_from(integer).is_ok() => integer.into(),
        (Some(integer), Dialect::Envoy) => integer.to_string().into(),
        (Some(integer), Dialect::Json) => integer.into(),
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

/// A fraction; Rust also reads words such as `inf`, which are text here.
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
