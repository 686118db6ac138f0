//! `metrics`: metrics in addition to the metrics of the preset.

use tributary_proto::config::{Section, quoted};
use tributary_proto::json;
use tributary_proto::limits::{
    BOUNDS_MAX, DESCRIPTION_BYTES_MAX, GROUP_METRICS_MAX, NAME_BYTES_MAX, UNIT_BYTES_MAX,
};
use tributary_proto::metric::{self, Kind, Metric};

use super::dimension::EXPRESSION_BYTES_MAX;
use crate::plan::{Measure, MeasureInput, MetricGroup, Plan};
use crate::preset::{DURATION_BOUNDS, SIZE_BOUNDS};
use crate::source::{self, Source, Type};

/// The units of durations, with the number of nanoseconds in each.
const TIMES: [(&str, u64); 4] = [("s", 1_000_000_000), ("ms", 1_000_000), ("us", 1_000), ("ns", 1)];

/// Adds the metrics to the plan. They replace metrics of the preset with the same name.
pub(super) fn read(root: &mut Section<'_>, plan: &mut Plan) {
    let (list, main) = (("metrics", GROUP_METRICS_MAX), &mut plan.main);
    super::read_named(root, list, main, |main| &mut main.measures, |one| &one.metric.name, read_one);
}

fn read_one(section: &mut Section<'_>, main: &mut MetricGroup) -> Option<Measure> {
    let name = section.required().text("name", 1..=NAME_BYTES_MAX);
    let kind = section.required().word("kind", &["counter", "histogram"]);
    let value = section.text("value", 1..=EXPRESSION_BYTES_MAX);
    let unit = section.text("unit", 1..=UNIT_BYTES_MAX);
    let description = section.text("description", 0..=DESCRIPTION_BYTES_MAX).unwrap_or_default();
    let bounds = section.ascending("bounds", 1..=BOUNDS_MAX);
    let (name, kind) = (name?, kind?);
    if !metric::is_name(&name) {
        section.note("name", &quoted(&name), "a letter, then letters, digits, '_', '.', '-' and '/'");
    }
    let is_time = value.as_deref().is_some_and(|value| source::type_of(value) == Type::Duration);
    let unit = unit.unwrap_or_else(|| if is_time { "s" } else { "1" }.to_owned());
    let time = TIMES.iter().find(|(name, _)| is_time && *name == unit);
    if is_time && time.is_none() {
        section.note("unit", &quoted(&unit), "one of s, ms, us, ns for a duration");
    }
    let divisor = time.map_or(1, |(_, divisor)| *divisor);
    let kind = if kind == "counter" {
        if bounds.is_some() {
            section.note("bounds", "bounds of a counter", "only with kind \"histogram\"");
        }
        Kind::Counter
    } else {
        if value.is_none() {
            let allowed = "an attribute or a CEL expression with the value of a histogram";
            section.note("value", "nothing", allowed);
        }
        Kind::Histogram { bounds: read_bounds(section, bounds, divisor, is_time)? }
    };
    let input = value.map_or(MeasureInput::End, |text| {
        let source =
            if source::is_path(&text) { Source::attribute(&text) } else { Source::expression(&text) };
        MeasureInput::Source(main.source(source))
    });
    Some(Measure { metric: Metric { name, unit, description, divisor, kind }, input })
}

/// Reads the configured bounds and converts them to the integers in which values are recorded. The default
/// bounds suit most metrics.
fn read_bounds(
    section: &mut Section<'_>,
    given: Option<Vec<f64>>,
    divisor: u64,
    is_time: bool,
) -> Option<Box<[u64]>> {
    let Some(given) = given else {
        return Some(if is_time { DURATION_BOUNDS.into() } else { SIZE_BOUNDS.into() });
    };
    let bounds: Option<Box<[u64]>> = given.iter().map(|bound| to_integer(*bound, divisor)).collect();
    let bounds = bounds.filter(|bounds| bounds.is_sorted_by(|a, b| a < b));
    if bounds.is_none() {
        let unit = if is_time { "nanoseconds" } else { "units" };
        section.note("bounds", "bounds that are too precise", &format!("numbers from 0 in whole {unit}"));
    }
    bounds
}

/// Converts a bound to the integer in which values are recorded. Returns `None` unless the result is a
/// whole number, within the precision of a double.
fn to_integer(bound: f64, divisor: u64) -> Option<u64> {
    #[expect(clippy::cast_precision_loss, reason = "divisors are powers of ten up to 10^9")]
    let scaled = bound * divisor as f64;
    let rounded = scaled.round();
    let is_whole = (scaled - rounded).abs() <= rounded.abs() * 1e-12;
    json::whole_double(rounded).filter(|_| is_whole)
}
