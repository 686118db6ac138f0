//! Labels: attributes with names that are valid in Prometheus, sorted, unique, and encoded.

use prost::encoding::message;
use tributary_proto::attributes::{self, AttributeValue as Value};
use tributary_proto::prometheus::label_name;
use tributary_proto::remote_write::Label;

use crate::export::resource::Resource;

/// Field number of `TimeSeries.labels` in `schema/remote_write.proto`.
const SERIES_LABELS: u32 = 1;

/// The attributes of the resource that become the labels `job` and `instance` of every series.
const IDENTIFYING: [&str; 3] = ["service.instance.id", "service.name", "service.namespace"];

/// Encoded labels, with gaps for the name of the metric and the bound of a bucket.
#[derive(Debug)]
pub(super) struct Labels {
    before_name: Vec<u8>,
    before_le: Vec<u8>,
    after: Vec<u8>,
}

/// The labels that come from the resource.
#[derive(Debug)]
pub(super) struct Target {
    /// The labels of every series: job and instance.
    labels: Vec<Label>,
    /// The labels of `target_info`; `None` if there are no other attributes.
    pub(super) info: Option<Labels>,
}

impl Target {
    /// Returns the labels of a resource.
    pub(super) fn new(resource: &Resource) -> Self {
        let job = match (resource.text("service.namespace"), resource.text("service.name")) {
            ("", name) => name.to_owned(),
            (namespace, name) => format!("{namespace}/{name}"),
        };
        let instance = resource.text("service.instance.id").to_owned();
        let mut target = Self { labels: vec![label("instance", instance), label("job", job)], info: None };
        let mut others =
            attributes::iter(resource.canonical()).filter(|(key, _)| !IDENTIFYING.contains(key)).peekable();
        if others.peek().is_some() {
            target.info = Some(Labels::new(others, &target));
        }
        target
    }
}

impl Labels {
    /// Returns the labels of a series with these attributes, which are sorted by key.
    ///
    /// Attributes whose names become the same label name are one label, with their values joined by `;`.
    /// Labels with an empty value are omitted.
    pub(super) fn new<'a>(attributes: impl Iterator<Item = (&'a str, Value<'a>)>, target: &Target) -> Self {
        // Labels are few, and mostly in order: inserting each in its place needs less code than a sort.
        let mut labels = target.labels.clone();
        for (key, value) in attributes {
            let (name, value) = (label_name(key), text(value));
            let place = labels.partition_point(|present| present.name < name);
            match labels.get_mut(place) {
                Some(present) if present.name == name => {
                    present.value.push(';');
                    present.value.push_str(&value);
                }
                _ => labels.insert(place, Label { name, value }),
            }
        }
        labels.retain(|label| !label.value.is_empty());
        let mut encoded = Self { before_name: Vec::new(), before_le: Vec::new(), after: Vec::new() };
        for label in labels {
            let part = match label.name.as_str() {
                name if name < "__name__" => &mut encoded.before_name,
                name if name < "le" => &mut encoded.before_le,
                _ => &mut encoded.after,
            };
            message::encode(SERIES_LABELS, &label, part);
        }
        encoded
    }

    /// Returns all labels in order, with the encoded labels `name` and `le` in their places.
    pub(super) fn with<'a>(&'a self, name: &'a [u8], le: &'a [u8]) -> [&'a [u8]; 5] {
        [&self.before_name, name, &self.before_le, le, &self.after]
    }
}

/// Encodes a label.
pub(super) fn encoded_label(name: &str, value: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    message::encode(SERIES_LABELS, &label(name, value.to_owned()), &mut bytes);
    bytes
}

fn label(name: &str, value: String) -> Label {
    Label { name: name.to_owned(), value }
}

fn text(value: Value<'_>) -> String {
    match value {
        Value::Text(text) => text.to_owned(),
        Value::Bool(truth) => truth.to_string(),
        Value::Integer(number) => number.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use prost::Message;
    use tributary_proto::attributes::{encode, integer, text};
    use tributary_proto::otlp::KeyValue;
    use tributary_proto::remote_write::TimeSeries;

    use super::*;

    fn read(labels: &Labels) -> Vec<(String, String)> {
        let bytes = labels.with(&encoded_label("__name__", "m"), &encoded_label("le", "1")).concat();
        let series = TimeSeries::decode(bytes.as_slice()).unwrap();
        series.labels.into_iter().map(|label| (label.name, label.value)).collect()
    }

    fn target(attributes: Vec<KeyValue>) -> Target {
        Target::new(&Resource::new(attributes))
    }

    fn labels(attributes: &[KeyValue], target: &Target) -> Labels {
        Labels::new(attributes::iter(&encode(attributes.to_vec())), target)
    }

    fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
        expected.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    #[test]
    fn all_labels_are_sorted_by_bytes() {
        let attributes = [integer("Zone", 1), text("a", "x"), text("zone", "y")];
        let labels = labels(&attributes, &target(vec![text("service.name", "s")]));
        let expected =
            [("Zone", "1"), ("__name__", "m"), ("a", "x"), ("job", "s"), ("le", "1"), ("zone", "y")];
        assert_eq!(read(&labels), pairs(&expected));
    }

    #[test]
    fn names_that_become_equal_are_one_label() {
        let attributes = [text("a-b", "1"), text("a.b", "2"), text("a_b", "3"), text("empty", "")];
        let labels = labels(&attributes, &target(vec![]));
        assert_eq!(read(&labels), pairs(&[("__name__", "m"), ("a_b", "1;2;3"), ("le", "1")]));
    }

    #[test]
    fn other_attributes_of_the_resource_are_in_target_info() {
        let alone = target(vec![text("service.name", "s"), text("service.instance.id", "i")]);
        assert!(alone.info.is_none());
        let more = target(vec![
            text("service.name", "s"),
            text("service.namespace", "shop"),
            text("service.instance.id", "i"),
            text("job", "mine"),
            text("cloud.region", "eu"),
        ]);
        let expected = [
            ("__name__", "m"),
            ("cloud_region", "eu"),
            ("exported_job", "mine"),
            ("instance", "i"),
            ("job", "shop/s"),
            ("le", "1"),
        ];
        assert_eq!(read(more.info.as_ref().unwrap()), pairs(&expected));
        let expected = [("__name__", "m"), ("instance", "i"), ("job", "shop/s"), ("le", "1")];
        assert_eq!(read(&labels(&[], &more)), pairs(&expected));
    }
}
