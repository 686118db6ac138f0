//! Finds dimensions whose number of values a single client can raise without limit.

use tributary_plan::config::WorkerConfig;
use tributary_proto::config::quoted;

use crate::finding::{Finding, Rule};
use crate::plugin::ConfiguredPlugin;

/// Finds the dimensions whose values a client chooses and whose number of values nothing limits.
pub(super) fn judge(plugin: &ConfiguredPlugin<'_>, config: &WorkerConfig) -> Vec<Finding> {
    let calls = config.plan.calls.iter().map(|calls| &calls.group);
    let groups = std::iter::once(&config.plan.main).chain(calls);
    let place = plugin.place_of("dimensions");
    let findings = groups.flat_map(|group| group.unbounded()).map(|dimension| {
        let message = format!(
            "a client chooses the values of dimension {}, and nothing limits their number: one client can \
             reach limits.series, and new values of others then count as _OTHER; set its \
             max_values, allow or paths.templates",
            quoted(&dimension.name)
        );
        Finding::warning(&place, Rule::Cardinality, message)
    });
    findings.collect()
}
