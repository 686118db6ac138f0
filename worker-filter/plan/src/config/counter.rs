//! `counters`: which requests add one to which key in shared data.

use tributary_proto::config::{Section, quoted};
use tributary_proto::counter;
use tributary_proto::limits::{COUNTER_KEY_BYTES_MAX, COUNTERS_MAX};

use super::dimension::EXPRESSION_BYTES_MAX;
use crate::plan::{Counter, Part, When};
use crate::source::Source;

/// One counter of everything, unless others are configured.
pub(super) fn read(root: &mut Section<'_>, main: &mut Part) -> Vec<Counter> {
    let mut keys = Vec::new();
    let counters = root.sections("counters", 0..=COUNTERS_MAX, |section| {
        let key = section.required().text("key", 1..=COUNTER_KEY_BYTES_MAX);
        let when = match section.word("when", &["request", "flush"]) {
            Some("request") => When::Request,
            _ => When::Flush,
        };
        let condition = section.text("condition", 1..=EXPRESSION_BYTES_MAX);
        let condition = condition.map(|text| main.source(Source::expression(&text)));
        let key = key?;
        if !counter::is_key(&key) {
            section.note("key", &quoted(&key), "letters, digits, '_', '.' and '-'");
        } else if keys.contains(&key) {
            section.note("key", &format!("{} again", quoted(&key)), "each key once");
        }
        keys.push(key.clone());
        Some(Counter { key, when, condition })
    });
    match counters {
        Some(counters) => counters.into_iter().flatten().collect(),
        None => vec![Counter { key: "requests".to_owned(), when: When::Flush, condition: None }],
    }
}
