//! Text with holes, of which a header's value is made: `Bearer {value:jwt}`.

use tributary_proto::{counter, value};

use crate::source::{self, Type};

/// Text with holes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Template(pub Vec<Piece>);

/// A piece of a template.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Piece {
    /// As it is.
    Text(String),
    /// A shared value, by its name.
    Value(String),
    /// A counter in shared data, by its key.
    Counter(String),
    /// An attribute of the stream: a path with NUL between its segments, and what its values are.
    Attribute(Vec<u8>, Type),
}

/// What a template may look like, for a person.
pub const ALLOWED: &str =
    "text with {value:NAME}, {counter:KEY} or {attribute:PATH}; {{ and }} stand for braces";

impl Template {
    /// Reads a template; none if a brace does not belong to a hole, or a hole has no such name. Its text can stand in a header.
    pub fn parse(text: &str) -> Option<Self> {
        let mut pieces = Vec::new();
        let mut literal = String::new();
        let mut rest = text;
        while let Some(at) = rest.find(['{', '}']) {
            let (before, brace) = rest.split_at_checked(at)?;
            literal.push_str(before);
            if let Some(behind) = brace.strip_prefix("{{") {
                literal.push('{');
                rest = behind;
            } else if let Some(behind) = brace.strip_prefix("}}") {
                literal.push('}');
                rest = behind;
            } else {
                let (hole, behind) = brace.strip_prefix('{')?.split_once('}')?;
                if !literal.is_empty() {
                    pieces.push(Piece::Text(std::mem::take(&mut literal)));
                }
                pieces.push(Piece::parse(hole)?);
                rest = behind;
            }
        }
        literal.push_str(rest);
        if !literal.is_empty() {
            pieces.push(Piece::Text(literal));
        }
        value::is_header_value(text.as_bytes()).then_some(Self(pieces))
    }

    /// The shared values that it needs.
    pub fn values(&self) -> impl Iterator<Item = &str> {
        self.0.iter().filter_map(|piece| match piece {
            Piece::Value(name) => Some(name.as_str()),
            _ => None,
        })
    }
}

impl Piece {
    fn parse(hole: &str) -> Option<Self> {
        let (kind, name) = hole.split_once(':')?;
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
    fn text_and_holes_alternate() {
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
            assert_eq!(Template::parse(template), Some(Template(pieces)), "{template}");
        }
    }

    #[test]
    fn what_is_no_hole_is_refused() {
        for template in
            ["{", "}", "{value:}", "{value:a b}", "{other:a}", "{attribute:nothing}", "a\r\nb: c", "{value:a"]
        {
            assert_eq!(Template::parse(template), None, "{template}");
        }
    }

    proptest! {
        #[test]
        fn no_text_does_harm(text in "[{}:a-z\\PC]{0,40}") {
            let _ = Template::parse(&text);
        }
    }
}
