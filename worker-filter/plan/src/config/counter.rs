//! `counters`: counts of streams in shared data.

use tributary_proto::config::{Section, quoted};
use tributary_proto::counter;
use tributary_proto::limits::{COUNTER_KEY_BYTES_MAX, COUNTERS_MAX};

use super::dimension::EXPRESSION_BYTES_MAX;
use crate::plan::{CounterConfig, MetricGroup, When};
use crate::source::{self, Source};

/// Reads the counters. The default is a single counter, which counts every stream.
pub(super) fn read(root: &mut Section<'_>, main: &mut MetricGroup) -> Vec<CounterConfig> {
    let mut keys = Vec::new();
    let counters = root.sections("counters", 0..=COUNTERS_MAX, |section| {
        let key = section.required().text("key", 1..=COUNTER_KEY_BYTES_MAX);
        let when = section.choice("when", &super::WHEN).unwrap_or(When::Flush);
        let condition = section.text("condition", 1..=EXPRESSION_BYTES_MAX);
        let condition = condition.map(|text| main.source(Source::expression(&text)));
        let response_header = if crate::IS_FULL {
            section.text("response_header", 1..=128)
        } else {
            super::only_in_full(section, "response_header");
            None
        };
        if let Some(header) = &response_header {
            if !source::is_header(header) {
                section.note("response_header", &quoted(header), "a header's name in lower case");
            }
            if condition.is_some() || when == When::Flush && section.has("when") {
                let allowed =
                    "no condition and no \"when\": \"flush\", because every response counts before it is sent";
                section.note("response_header", &quoted(header), allowed);
            }
        }
        let key = key?;
        if !counter::is_key(&key) {
            section.note("key", &quoted(&key), "letters, digits, '_', '.' and '-'");
        } else if keys.contains(&key) {
            section.note("key", &format!("{} again", quoted(&key)), "each key once");
        }
        keys.push(key.clone());
        let when = if response_header.is_some() { When::Request } else { when };
        Some(CounterConfig { key, when, condition, response_header })
    });
    let (when, condition, response_header) = (When::Flush, None, None);
    let default = || vec![CounterConfig { key: "requests".to_owned(), when, condition, response_header }];
    counters.map_or_else(default, |counters| counters.into_iter().flatten().collect())
}
