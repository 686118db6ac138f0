//! Fields of a workload or service in Istio, in each format in which Envoy stores workloads and services.

use tributary_proto::pairs::Pairs;

use crate::fallback::OWN_WORKLOAD;

/// One field of a workload or service.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkloadField {
    /// The key of the field in the map of peer discovery, or in the metadata of a service.
    pub key: &'static str,
    /// The position of the field in an endpoint's metadata, `WORKLOAD;NAMESPACE;SERVICE;REVISION;CLUSTER`.
    /// `None` if the value is never such metadata.
    pub position: Option<usize>,
    /// The value of the field for the proxy's own workload.
    pub own: String,
}

/// The position of the namespace. A principal also contains the namespace:
/// `spiffe://DOMAIN/ns/NAMESPACE/sa/ACCOUNT`.
pub const NAMESPACE_POSITION: usize = 1;

/// The text before the namespace in a principal.
pub const NAMESPACE_PREFIX: &str = "/ns/";

impl WorkloadField {
    /// Returns the field in a value, or an empty text if the field is absent.
    pub fn read<'a>(&'a self, value: &'a [u8]) -> &'a [u8] {
        if value == OWN_WORKLOAD {
            return self.own.as_bytes();
        }
        // A map contains NUL: in its lengths, and at the end of each key and value. Text contains no NUL.
        if value.contains(&0) {
            return in_map(value, self.key).unwrap_or_default();
        }
        match self.position {
            Some(position) if value.contains(&b';') => {
                value.split(|byte| *byte == b';').nth(position).unwrap_or_default()
            }
            Some(NAMESPACE_POSITION) => namespace(value).unwrap_or(value),
            _ => value,
        }
    }
}

/// Returns the namespace in a principal.
fn namespace(principal: &[u8]) -> Option<&[u8]> {
    let prefix = NAMESPACE_PREFIX.as_bytes();
    let at = principal.windows(prefix.len()).position(|window| window == prefix)?;
    principal.get(at.checked_add(prefix.len())?..)?.split(|byte| *byte == b'/').next()
}

/// Returns the value of a key in a map.
fn in_map<'a>(map: &'a [u8], key: &str) -> Option<&'a [u8]> {
    Pairs::read(map)?.find(|(name, _)| *name == key.as_bytes()).map(|(_, value)| value)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// A map from Envoy 1.40.
    const MAP: &[u8] = b"\x03\0\0\0\x04\0\0\0\x07\0\0\0\x04\0\0\0\x05\0\0\0\x09\0\0\0\x04\0\0\0name\0ratings\0host\0a.b.c\0namespace\0prod\0";

    fn field(key: &'static str, position: Option<usize>) -> WorkloadField {
        WorkloadField { key, position, own: "mine".to_owned() }
    }

    #[test]
    fn each_format_gives_its_field() {
        let principal = b"spiffe://cluster.local/ns/prod/sa/ratings";
        for (key, position, value, expected) in [
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
                field(key, position).read(value),
                expected,
                "{key} of {:?}",
                value.escape_ascii().to_string()
            );
        }
    }

    proptest! {
        #[test]
        fn no_value_panics(value in prop::collection::vec(any::<u8>(), 0..99), position in prop::option::of(0usize..5)) {
            let _ = field("host", position).read(&value);
        }
    }

    #[test]
    fn a_truncated_map_has_no_value() {
        for length in 0..MAP.len() {
            assert_eq!(in_map(&MAP[..length], "namespace"), None, "cut after {length} bytes");
        }
    }
}
