//! What Istio says of a workload or of a service, in each of the shapes in which Envoy has it.

use tributary_proto::pairs::Pairs;

use crate::choice::ITSELF;

/// Which part is taken of what is said of a workload or of a service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Facet {
    /// Its key in the map that peer discovery leaves, or in the metadata of a service.
    pub key: &'static str,
    /// Its place in an endpoint's metadata, `WORKLOAD;NAMESPACE;SERVICE;REVISION;CLUSTER`; none if that is not where it is
    /// looked for.
    pub place: Option<usize>,
    /// What it is of the workload itself.
    pub own: String,
}

/// The place of the namespace, which can also be told from a principal: `spiffe://DOMAIN/ns/NAMESPACE/sa/ACCOUNT`.
pub const NAMESPACE_PLACE: usize = 1;

/// What comes before a namespace in a principal.
pub const NAMESPACE_PREFIX: &str = "/ns/";

impl Facet {
    /// What the value says of it; empty for nothing.
    pub fn of<'a>(&'a self, value: &'a [u8]) -> &'a [u8] {
        if value == ITSELF {
            return self.own.as_bytes();
        }
        // A map has lengths in it, and what is behind them ends with NUL, which no text has.
        if value.contains(&0) {
            return in_map(value, self.key).unwrap_or_default();
        }
        match self.place {
            Some(place) if value.contains(&b';') => {
                value.split(|byte| *byte == b';').nth(place).unwrap_or_default()
            }
            Some(NAMESPACE_PLACE) => namespace(value).unwrap_or(value),
            _ => value,
        }
    }
}

/// The namespace in a principal.
fn namespace(principal: &[u8]) -> Option<&[u8]> {
    let prefix = NAMESPACE_PREFIX.as_bytes();
    let at = principal.windows(prefix.len()).position(|window| window == prefix)?;
    principal.get(at.checked_add(prefix.len())?..)?.split(|byte| *byte == b'/').next()
}

/// The value of a key in a map.
fn in_map<'a>(map: &'a [u8], wanted: &str) -> Option<&'a [u8]> {
    Pairs::read(map)?.find(|(key, _)| *key == wanted.as_bytes()).map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A map as Envoy 1.40 gave it.
    const MAP: &[u8] = b"\x03\0\0\0\x04\0\0\0\x07\0\0\0\x04\0\0\0\x05\0\0\0\x09\0\0\0\x04\0\0\0name\0ratings\0host\0a.b.c\0namespace\0prod\0";

    fn facet(key: &'static str, place: Option<usize>) -> Facet {
        Facet { key, place, own: "mine".to_owned() }
    }

    #[test]
    fn each_shape_says_what_is_asked() {
        let principal = b"spiffe://cluster.local/ns/prod/sa/ratings";
        for (key, place, value, expected) in [
            ("workload", Some(0), &b"\x01"[..], &b"mine"[..]),
            ("workload", Some(0), b"", b""),
            ("name", None, MAP, b"ratings"),
            ("host", None, MAP, b"a.b.c"),
            ("namespace", Some(1), MAP, b"prod"),
            ("version", None, MAP, b""),
            ("workload", Some(0), b"w;n;s;r;c", b"w"),
            ("cluster", Some(4), b"w;n;s;r;c", b"c"),
            ("cluster", Some(4), b"w;n", b""),
            ("app", None, b"w;n;s;r;c", b"w;n;s;r;c"),
            ("namespace", Some(1), principal, b"prod"),
            ("namespace", Some(1), b"spiffe://a/ns/b", b"b"),
            ("identity", None, principal, principal),
            ("host", None, b"shop:80", b"shop:80"),
        ] {
            assert_eq!(
                facet(key, place).of(value),
                expected,
                "{key} of {:?}",
                value.escape_ascii().to_string()
            );
        }
    }

    proptest! {
        #[test]
        fn no_value_does_harm(value in prop::collection::vec(any::<u8>(), 0..99), place in prop::option::of(0usize..5)) {
            let _ = facet("host", place).of(&value);
        }
    }

    #[test]
    fn a_map_that_is_cut_short_says_nothing_wrong() {
        for length in 0..MAP.len() {
            let seen = in_map(&MAP[..length], "namespace");
            assert_eq!(seen, None, "cut after {length} bytes");
        }
    }
}
