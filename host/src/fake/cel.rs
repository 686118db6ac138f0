//! The part of CEL that plans use: lists, attributes by their path, and `CONDITION ? THEN : ELSE` with the
//! condition `has(PATH)` or `'KEY' in PATH`. Any other expression is looked up as an attribute whose name is
//! the text of the expression, so that a test can set its value.

use std::collections::BTreeMap;

type Attributes = BTreeMap<String, Vec<u8>>;

/// Evaluates an expression. Returns `None` if an attribute in it is absent.
pub(super) fn evaluate(text: &str, attributes: &Attributes) -> Option<Vec<u8>> {
    match text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(items) => list(items, attributes),
        None => item(text, attributes),
    }
}

/// Encodes a list as pairs whose names are the items and whose values are empty: the number of pairs, then
/// the lengths of each name and value, then each name and value followed by NUL.
fn list(items: &str, attributes: &Attributes) -> Option<Vec<u8>> {
    let items = split(items).into_iter().map(|text| item(text, attributes)).collect::<Option<Vec<_>>>()?;
    let number = |length: usize| u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes();
    let mut wire = number(items.len()).to_vec();
    items.iter().for_each(|item| wire.extend([number(item.len()), number(0)].concat()));
    items.iter().for_each(|item| wire.extend([item.as_slice(), b"\0\0"].concat()));
    Some(wire)
}

/// Splits the items of a list. Ignores commas within brackets.
fn split(items: &str) -> Vec<&str> {
    let mut depth = 0_u32;
    let separates = |letter: char| {
        match letter {
            '(' | '[' => depth = depth.saturating_add(1),
            ')' | ']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        letter == ',' && depth == 0
    };
    items.split(separates).map(str::trim).filter(|item| !item.is_empty()).collect()
}

fn item(text: &str, attributes: &Attributes) -> Option<Vec<u8>> {
    if let Some(value) = attributes.get(text) {
        return Some(value.clone());
    }
    if let Some((condition, rest)) = text.split_once(" ? ")
        && let Some((then, otherwise)) = rest.split_once(" : ")
        && let Some(holds) = holds(condition, attributes)
    {
        return item(if holds { then } else { otherwise }, attributes);
    }
    if let Some(inner) = text.strip_prefix('(').and_then(|rest| rest.strip_suffix(')')) {
        return item(inner.trim_end(), attributes);
    }
    if let Some(inner) = text.strip_prefix('-') {
        let number = i64::from_le_bytes(item(inner, attributes)?.try_into().ok()?);
        return Some(number.saturating_neg().to_le_bytes().to_vec());
    }
    if text == "false" {
        return Some(vec![0]);
    }
    if let Some(literal) = text.strip_prefix('\'').and_then(|rest| rest.strip_suffix('\'')) {
        return Some(literal.as_bytes().to_vec());
    }
    let (map, key) = text.strip_suffix("']")?.split_once("['")?;
    attributes.get(&format!("{map}.{key}")).cloned()
}

fn holds(condition: &str, attributes: &Attributes) -> Option<bool> {
    if let Some(path) = condition.strip_prefix("has(").and_then(|rest| rest.strip_suffix(')')) {
        return Some(attributes.contains_key(path));
    }
    let (key, map) = condition.strip_prefix('\'')?.split_once("' in ")?;
    Some(attributes.contains_key(&format!("{map}.{key}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn guards_replace_absent_values() {
        let attributes: Attributes = [
            ("request.method".to_owned(), b"GET".to_vec()),
            ("request.headers.x-a".to_owned(), b"1".to_vec()),
            ("response.flags".to_owned(), 5_i64.to_le_bytes().to_vec()),
            ("1 + 1".to_owned(), b"two".to_vec()),
        ]
        .into();
        let flags = (-5_i64).to_le_bytes();
        for (text, expected) in [
            ("request.method", Some(&b"GET"[..])),
            ("request.path", None),
            ("has(request.path) ? request.path : ''", Some(b"")),
            ("has(request.path) ? request.path : false", Some(b"\0")),
            ("has(request.method) ? request.method : ''", Some(b"GET")),
            ("'x-a' in request.headers ? request.headers['x-a'] : ''", Some(b"1")),
            ("'x-b' in request.headers ? request.headers['x-b'] : ''", Some(b"")),
            ("has(response.code) ? response.code : -response.flags", Some(&flags)),
            ("(1 + 1)", Some(b"two")),
            ("(1 + 2)", None),
        ] {
            assert_eq!(evaluate(text, &attributes).as_deref(), expected, "{text}");
        }
        assert_eq!(split("a, f(b, c), d[1, 2]"), ["a", "f(b, c)", "d[1, 2]"]);
    }
}
