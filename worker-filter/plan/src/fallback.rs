//! Values that have several sources. A value is read from the first source that has it, and the sources
//! depend on the listener's direction. The value is read with one expression, or property by property where
//! Envoy evaluates no expressions.
//!
//! The texts of the sources are constant, because code that composes them would make the module larger.

/// The sources of one value, in order of preference.
#[derive(Debug, PartialEq, Eq)]
pub struct FallbackChain {
    /// For listeners with direction INBOUND.
    pub inbound: &'static [&'static SourceSpec],
    /// For all other listeners.
    pub outbound: &'static [&'static SourceSpec],
}

/// One source of a value.
#[derive(Debug, PartialEq, Eq)]
pub struct SourceSpec {
    /// The expression that is true if the source has a value. It is empty if the source always has a value.
    pub guard: &'static str,
    /// The value as an expression.
    pub value: &'static str,
    /// The property with the value: a path with NUL between its segments. It is empty if the source always
    /// has a value.
    pub path: &'static str,
    /// The values of the property that are accepted.
    pub accepts: Predicate,
    /// The text that replaces the value of the property, if any.
    pub replacement: Option<&'static [u8]>,
}

/// A condition on the value of a property.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Predicate {
    /// The value is not empty.
    NotEmpty,
    /// The value contains this text.
    Contains(&'static str),
    /// The value is one of these texts.
    OneOf(&'static [&'static str]),
}

/// The value that stands for the proxy's own workload: the bytes of the CEL value `true`, which no text
/// contains.
pub const OWN_WORKLOAD: &[u8] = &[1];

impl FallbackChain {
    /// Returns one expression for the value. Its result is an empty text if no source has a value.
    pub fn expression(&self) -> String {
        let (inbound, outbound) = (conditional(self.inbound), conditional(self.outbound));
        format!("xds.listener_direction == 1 ? ({inbound}) : ({outbound})")
    }

    /// Reads the value with the function `property`, which takes a path with NUL between its segments.
    pub fn read(&self, property: &dyn Fn(&str) -> Option<Vec<u8>>) -> Option<Vec<u8>> {
        // The value of `INBOUND` in Envoy's `TrafficDirection`.
        let is_inbound = property("xds\0listener_direction").as_deref() == Some(&1_i64.to_le_bytes());
        let sources = if is_inbound { self.inbound } else { self.outbound };
        sources.iter().find_map(|source| {
            let value = match source.path {
                "" => Vec::new(),
                path => property(path).filter(|value| source.accepts.matches(value))?,
            };
            Some(source.replacement.map(<[u8]>::to_vec).unwrap_or(value))
        })
    }
}

/// Returns an expression that gives the value of the first source that has a value.
fn conditional(sources: &[&SourceSpec]) -> String {
    let mut text = String::new();
    for SourceSpec { guard, value, .. } in sources {
        if guard.is_empty() {
            return text + value;
        }
        text.extend([*guard, " ? ", *value, " : "]);
    }
    text + "''"
}

impl Predicate {
    fn matches(self, value: &[u8]) -> bool {
        match self {
            Self::NotEmpty => !value.is_empty(),
            Self::Contains(part) => value.windows(part.len()).any(|window| window == part.as_bytes()),
            Self::OneOf(texts) => texts.iter().any(|text| text.as_bytes() == value),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ANY: SourceSpec =
        SourceSpec { guard: "", value: "", path: "", accepts: Predicate::NotEmpty, replacement: None };
    const CHAIN: FallbackChain = FallbackChain {
        inbound: &[
            &SourceSpec {
                guard: "has(a.b) && a.b.contains('/ns/')",
                value: "a.b",
                path: "a\0b",
                accepts: Predicate::Contains("/ns/"),
                ..ANY
            },
            &SourceSpec {
                guard: "c.d in ['x', 'y']",
                value: "'z'",
                path: "c\0d",
                accepts: Predicate::OneOf(&["x", "y"]),
                replacement: Some(b"z"),
            },
        ],
        outbound: &[
            &SourceSpec { guard: "has(e.f)", value: "e.f", path: "e\0f", ..ANY },
            &SourceSpec { value: "true", replacement: Some(OWN_WORKLOAD), ..ANY },
        ],
    };

    #[test]
    fn a_chain_is_one_expression() {
        assert_eq!(
            CHAIN.expression(),
            "xds.listener_direction == 1 ? (has(a.b) && a.b.contains('/ns/') ? a.b : c.d in ['x', 'y'] ? 'z' : '') \
             : (has(e.f) ? e.f : true)"
        );
    }

    #[test]
    fn the_first_source_that_has_a_value_is_read() {
        for (direction, properties, expected) in [
            (1_i64, &[("a\0b", "/ns/q"), ("c\0d", "x")][..], Some("/ns/q")),
            (1, &[("a\0b", "q"), ("c\0d", "y")], Some("z")),
            (1, &[("a\0b", "q"), ("c\0d", "w"), ("e\0f", "g")], None),
            (2, &[("a\0b", "/ns/q"), ("e\0f", "g")], Some("g")),
            (2, &[("e\0f", "")], Some("\u{1}")),
            (0, &[("e\0f", "g")], Some("g")),
        ] {
            let property = |path: &str| match path {
                "xds\0listener_direction" => Some(direction.to_le_bytes().to_vec()),
                _ => {
                    let found = properties.iter().find(|(known, _)| *known == path)?;
                    Some(found.1.as_bytes().to_vec())
                }
            };
            let read = CHAIN.read(&property);
            assert_eq!(read.as_deref(), expected.map(str::as_bytes), "{direction} {properties:?}");
        }
    }
}
