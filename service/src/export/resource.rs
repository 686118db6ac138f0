//! The OpenTelemetry resource: the process that exports.

use tributary_proto::attributes::{self, AttributeValue as Value};
use tributary_proto::otlp::KeyValue;

/// The attributes that come from Envoy's node, with the path of each property.
const NODE: [(&str, &[u8]); 3] = [
    ("envoy.node.id", b"xds\0node\0id"),
    ("envoy.node.cluster", b"xds\0node\0cluster"),
    ("cloud.availability_zone", b"xds\0node\0locality\0zone"),
];

/// The default of `service.name` (OpenTelemetry resource semantic conventions).
const SERVICE_NAME_DEFAULT: &str = "unknown_service:envoy";

/// The attributes of the process that exports.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Resource(Vec<u8>);

impl Resource {
    /// Creates a resource with these attributes. For equal keys, the first value is used.
    pub fn new(attributes: Vec<KeyValue>) -> Self {
        Self(attributes::encode(attributes))
    }

    /// Returns the resource of this process: the user's attributes, then what `node` returns for a path,
    /// then the defaults. For equal keys, the first value is used. `instance_id` must be unique:
    /// collectors distinguish processes by it.
    pub fn of_process(
        user: &[(String, String)],
        instance_id: &str,
        node: impl Fn(&[u8]) -> Option<String>,
    ) -> Self {
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
        Self::new(attributes)
    }

    /// Returns the attributes in canonical bytes. A resource may have more attributes than a series.
    pub fn canonical(&self) -> &[u8] {
        &self.0
    }

    /// Returns the text of an attribute; empty if the resource lacks the attribute, or if it is not text.
    pub fn text(&self, key: &str) -> &str {
        let text = |(name, value)| {
            if let (true, Value::Text(text)) = (name == key, value) { Some(text) } else { None }
        };
        attributes::iter(&self.0).find_map(text).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(user: &[(&str, &str)], cluster: &str) -> Vec<(String, String)> {
        let user: Vec<_> = user.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
        let node = |path: &[u8]| (path == b"xds\0node\0cluster").then(|| cluster.to_owned());
        let resource = Resource::of_process(&user, "id", node);
        let text = |(key, value): (&str, Value<'_>)| match value {
            Value::Text(text) => (key.to_owned(), text.to_owned()),
            other => panic!("not a text: {other:?}"),
        };
        attributes::iter(resource.canonical()).map(text).collect()
    }

    #[test]
    fn the_users_attributes_win_over_the_node_and_the_node_over_the_defaults() {
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
