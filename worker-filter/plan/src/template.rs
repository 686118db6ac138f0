//! Templates of header values, such as `Bearer {value:jwt}`.

use tributary_proto::{counter, value};

use crate::source::{self, Type};

/// A template of a header value.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HeaderTemplate(pub Vec<Piece>);

/// A piece of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// Literal text.
    Text(String),
    /// A shared value, by its name.
    Value(String),
    /// A counter in shared data, by its key.
    Counter(String),
    /// An attribute of the stream: its path with NUL between segments, and the type of its values.
    Attribute(Vec<u8>, Type),
}

/// The syntax of a template, for a log line.
pub const ALLOWED: &str = "text with {value:NAME}, {counter:KEY} or {attribute:PATH}; {{ and }} are braces";

impl HeaderTemplate {
    /// Parses a template. Returns `None` if a placeholder is invalid, or if the text is not allowed in a
    /// header.
    pub fn parse(text: &str) -> Option<Self> {
        let mut pieces = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            let (before, brace) = rest.split_at_checked(at)?;
            literal.push_str(before);
            if let Some(after) = brace.strip_prefix("{{").or(brace.strip_prefix("}}")) {
                literal.push_str(brace.get(..1)?);
                rest = after;
            } else {
                let (placeholder, after) = brace.strip_prefix('{')?.split_once('}')?;
                if !literal.is_empty() {
                    pieces.push(Piece::Text(std::mem::take(&mut literal)));
                }
                pieces.push(Piece::parse(placeholder)?);
                rest = after;
            }
        }
        literal.push_str(rest);
        if !literal.is_empty() {
            pieces.push(Piece::Text(literal));
        }
        value::is_header_value(text.as_bytes()).then_some(Self(pieces))
    }

    /// Returns the names of the shared values in the template.
    pub fn values(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|piece| match piece {
            Piece::Value(name) => Some(name.as_str()),
            _ => None,
        })
    }
}

impl Piece {
    fn parse(placeholder: &str) -> Option<Self> {
        let (kind, name) = placeholder.split_once(':')?;
        match kind {
            "value" if value::is_name(name) => Some(Self::Value(name.to_owned())),
            "counter" if counter::is_key(name) => Some(Self::Counter(name.to_owned())),
            "attribute" if source::is_path(name) => {
                let path = name.replace('.', "\0").into_bytes();
                Some(Self::Attribute(path, source::type_of(name)))
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn text_and_placeholders_alternate() {
        let text = |text: &str| Piece::Text(text.to_owned());
        for (template, pieces) in [
            ("", vec![]),
            ("tributary", vec![text("tributary")]),
            ("Bearer {value:jwt}", vec![text("Bearer "), Piece::Value("jwt".into())]),
            ("{counter:a}{counter:b}", vec![Piece::Counter("a".into()), Piece::Counter("b".into())]),
            ("{{{value:a}}}", vec![text("{"), Piece::Value("a".into()), text("}")]),
            (
                "{attribute:request.size} B",
                vec![Piece::Attribute(b"request\0size".to_vec(), Type::Integer), text(" B")],
            ),
        ] {
            assert_eq!(HeaderTemplate::parse(template), Some(HeaderTemplate(pieces)), "{template}");
        }
    }

    #[test]
    fn an_invalid_placeholder_is_rejected() {
        for template in
            ["{", "}", "{value:}", "{value:a b}", "{other:a}", "{attribute:nothing}", "a\r\nb: c", "{value:a"]
        {
            assert_eq!(HeaderTemplate::parse(template), None, "{template}");
        }
    }

    proptest! {
        #[test]
        fn no_text_panics(text in "[{}:a-z\\PC]{0,40}") {
            let _ = HeaderTemplate::parse(&text);
        }
    }
}
