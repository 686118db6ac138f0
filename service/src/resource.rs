//! The resource: which process the numbers are from.

use tributary_proto::attributes::{self, AttributeValue as Value};
use tributary_proto::otlp::KeyValue;

/// Which process the numbers are from.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resource(Vec<u8>);

impl Resource {
    /// A resource of these attributes; of equal keys the first.
    pub fn new(attributes: Vec<KeyValue>) -> Self {
        Self(attributes::encode(attributes))
    }

    /// Its attributes, canonical but for their number.
    pub fn canonical(&self) -> &[u8] {
        &self.0
    }

    /// The attribute of that key, if it is text.
    pub fn text(&self, key: &str) -> &str {
        let text = |(name, value)| {
            if let (true, Value::Text(text)) = (name == key, value) { Some(text) } else { None }
        };
        attributes::iter(&self.0).find_map(text).unwrap_or_default()
    }
}

/// What Envoy says of itself, attribute by attribute of the resource, with the path to ask for it.
pub const NODE: [(&str, &[u8]); 3] = [
    ("envoy.node.id", b"xds\0node\0id"),
    ("envoy.node.cluster", b"xds\0node\0cluster"),
    ("cloud.availability_zone", b"xds\0node\0locality\0zone"),
];

/// The name of a service that says none (OpenTelemetry resource semantic conventions).
const SERVICE_NAME_DEFAULT: &str = "unknown_service:envoy";

/// The resource of this process: the user's attributes, then what `node` gives for a path, then the defaults; of equal keys
/// the first. `instance_id` must be unlike any other process's: collectors tell streams apart by it.
pub fn resource(
    user: &[(String, String)],
    instance_id: &str,
    node: impl Fn(&[u8]) -> Option<String>,
) -> Resource {
    // Of equal keys the first counts.
    let mut attributes: Vec<KeyValue> =
        user.iter().map(|(key, value)| attributes::text(key, value)).collect();
    let mut add = |key: &str, value: &str| {
        if !value.is_empty() {
            attributes.push(attributes::text(key, value));
        }
    };
    for (key, path) in NODE {
        let value = node(path).unwrap_or_default();
        add(key, &value);
        if key == "envoy.node.cluster" {
            add("service.name", &value);
        }
    }
    add("service.name", SERVICE_NAME_DEFAULT);
    add("service.instance.id", instance_id);
    Resource::new(attributes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(user: &[(&str, &str)], cluster: &str) -> Vec<(String, String)> {
        let user: Vec<_> = user.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let node = |path: &[u8]| (path == b"xds\0node\0cluster").then(|| cluster.to_owned());
        let resource = resource(&user, "id", node);
        let text = |(key, value): (&str, Value<'_>)| match value {
            Value::Text(text) => (key.to_owned(), text.to_owned()),
            other => panic!("text, not {other:?}"),
        };
        attributes::iter(resource.canonical()).map(text).collect()
    }

    #[test]
    fn the_user_wins_over_the_node_and_the_node_over_the_defaults() {
        let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
        assert_eq!(
            written(&[], ""),
            [pair("service.instance.id", "id"), pair("service.name", "unknown_service:envoy")]
        );
        assert_eq!(
            written(&[], "edge"),
            [
                pair("envoy.node.cluster", "edge"),
                pair("service.instance.id", "id"),
                pair("service.name", "edge"),
            ]
        );
        assert_eq!(
            written(&[("service.name", "mine"), ("service.instance.id", "one")], "edge"),
            [
                pair("envoy.node.cluster", "edge"),
                pair("service.instance.id", "one"),
                pair("service.name", "mine"),
            ]
        );
    }
}
