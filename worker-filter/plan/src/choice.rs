//! A value that may be at one of several places, which depend on the listener's direction: as one expression, and read
//! property by property where expressions have no value.
//!
//! What is said of a place is constant text: a module that had to put it together would be larger by the code for it.

/// Where a value may be, in this order: the first place that has it counts.
#[derive(Debug, PartialEq, Eq)]
pub struct Choice {
    /// For listeners that take what comes to the workload.
    pub inbound: &'static [&'static Place],
    /// For all others.
    pub outbound: &'static [&'static Place],
}

/// A place where a value may be.
#[derive(Debug, PartialEq, Eq)]
pub struct Place {
    /// What tells as an expression whether it is there; empty if it always is.
    pub guard: &'static str,
    /// The value as an expression.
    pub value: &'static str,
    /// The property that has it: a path with NUL between its segments; empty for what is always there.
    pub path: &'static str,
    /// Which values of the property count.
    pub test: Test,
    /// What stands for the value of the property.
    pub gives: Option<&'static [u8]>,
}

/// Which values of a property count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Test {
    /// Those that are not empty.
    Any,
    /// Those with this text in them.
    Containing(&'static str),
    /// These.
    OneOf(&'static [&'static str]),
}

/// What a place gives that stands for the workload itself: the bytes of the CEL value `true`, which no text has.
pub const ITSELF: &[u8] = &[1];

impl Choice {
    /// The value as one expression, an empty text if no place has it.
    pub fn expression(&self) -> String {
        let mut text = "xds.listener_direction == 1 ? (".to_owned();
        chain(self.inbound, &mut text);
        text.push_str(") : (");
        chain(self.outbound, &mut text);
        text.push(')');
        text
    }

    /// The value, read by `property`, which is given paths with NUL between their segments.
    pub fn read(&self, property: &dyn Fn(&str) -> Option<Vec<u8>>) -> Option<Vec<u8>> {
        // By the number of Envoy's `TrafficDirection`.
        let is_inbound = property("xds\0listener_direction").as_deref() == Some(&1_i64.to_le_bytes());
        let places = if is_inbound { self.inbound } else { self.outbound };
        places.iter().find_map(|place| {
            let value = match place.path {
                "" => Vec::new(),
                path => property(path).filter(|value| place.test.passes(value))?,
            };
            Some(place.gives.map(<[u8]>::to_vec).unwrap_or(value))
        })
    }
}

/// The first place that has the value, as an expression.
fn chain(places: &[&Place], text: &mut String) {
    for Place { guard, value, .. } in places {
        if guard.is_empty() {
            text.push_str(value);
            return;
        }
        for part in [*guard, " ? ", *value, " : "] {
            text.push_str(part);
        }
    }
    text.push_str("''");
}

impl Test {
    fn passes(self, value: &[u8]) -> bool {
        match self {
            Self::Any => !value.is_empty(),
            Self::Containing(part) => value.windows(part.len()).any(|window| window == part.as_bytes()),
            Self::OneOf(texts) => texts.iter().any(|text| text.as_bytes() == value),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AT: Place = Place { guard: "", value: "", path: "", test: Test::Any, gives: None };
    const CHOICE: Choice = Choice {
        inbound: &[
            &Place {
                guard: "has(a.b) && a.b.contains('/ns/')",
                value: "a.b",
                path: "a\0b",
                test: Test::Containing("/ns/"),
                ..AT
            },
            &Place {
                guard: "c.d in ['x', 'y']",
                value: "'z'",
                path: "c\0d",
                test: Test::OneOf(&["x", "y"]),
                gives: Some(b"z"),
            },
        ],
        outbound: &[
            &Place { guard: "has(e.f)", value: "e.f", path: "e\0f", ..AT },
            &Place { value: "true", gives: Some(ITSELF), ..AT },
        ],
    };

    #[test]
    fn a_choice_is_one_expression() {
        assert_eq!(
            CHOICE.expression(),
            "xds.listener_direction == 1 ? (has(a.b) && a.b.contains('/ns/') ? a.b : c.d in ['x', 'y'] ? 'z' : '') \
             : (has(e.f) ? e.f : true)"
        );
    }

    #[test]
    fn the_first_place_that_has_a_value_counts() {
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
            let read = CHOICE.read(&property);
            assert_eq!(read.as_deref(), expected.map(str::as_bytes), "{direction} {properties:?}");
        }
    }
}
