//! The service: everything between a notice from a queue and a request to a collector.

use std::time::Duration;

use log::info;
use tributary_host::counter;
use tributary_host::http_call::Call;
use tributary_host::queue::Queue;
use tributary_host::shared_data::HostSharedData;
use tributary_host::{attributes, clock, random};
use tributary_proto::counter::shared_key;
use tributary_proto::limits::{QUEUE_HTTP, QUEUE_TCP};
use tributary_proto::metric::{Kind, Metric};

use crate::config::ServiceConfig;
use crate::exporter::Exporter;
use crate::intake::Intake;
use crate::points::Temporality;
use crate::resource::{self, Resource};
use crate::stats::Stats;
use crate::table::{Table, TableLimits, Viewer};

/// How often queues are looked into without a notice, and deliveries for what is due. Notices can be lost.
pub const TICK: Duration = Duration::from_millis(100);

/// Rows that one tick looks at for idle ones: 100,000 within ten seconds.
const SWEEP_ROWS: usize = 1_000;

/// The metric under which counters in shared data are exported, with their key as the attribute `key`.
pub const COUNTER_METRIC: &str = "tributary.counter";

/// The state of the service. [`drain`](Self::drain) on notices, [`tick`](Self::tick) on ticks, [`answered`](Self::answered)
/// on answers.
#[derive(Debug)]
pub struct Service {
    queues: Vec<Queue>,
    intake: Intake,
    table: Table,
    counter_metric: Metric,
    resource: Resource,
    exporters: Vec<Exporter>,
    stats: Stats,
}

impl Service {
    /// A service as configured, which takes over the queues.
    pub fn new(config: ServiceConfig) -> Result<Self, tributary_host::Status> {
        let queues = [QUEUE_HTTP, QUEUE_TCP].into_iter().map(Queue::register).collect::<Result<_, _>>()?;
        let now = clock::now_unix_nano();
        let instance_id = random::uuid().unwrap_or_else(|_| now.to_string());
        let node =
            |path: &[u8]| Some(String::from_utf8_lossy(&attributes::property(path).ok()?).into_owned());
        let resource = resource::resource(&config.resource, &instance_id, node);

        let (destinations, mut deltas) = (config.destinations.len(), 0_usize);
        let mut exporters = Vec::with_capacity(destinations);
        for (number, destination) in config.destinations.into_iter().enumerate() {
            let delta = (destination.temporality == Temporality::Delta).then_some(deltas);
            deltas = delta.map_or(deltas, |delta| delta.saturating_add(1));
            exporters.push(Exporter::new(destination, Viewer { number, delta }, &resource, now));
        }
        let idle_ns = config.idle.map(|idle| u64::try_from(idle.as_nanos()).unwrap_or(u64::MAX));
        let limits = TableLimits { series_max: config.series_max, idle_ns, destinations, deltas };
        Ok(Self {
            queues,
            intake: Intake::default(),
            table: Table::new(limits, now, random::hasher()),
            counter_metric: counter_metric(),
            resource,
            exporters,
            stats: Stats::define(),
        })
    }

    /// Takes over what the queues hold, within the bounds of one callback.
    pub fn drain(&mut self) {
        for queue in &self.queues {
            // What may be left is taken on the next notice or tick.
            self.intake.drain(*queue, &mut self.table, &self.stats);
        }
    }

    /// Takes over everything, says how much there was in all, and sends nothing: the last thing a service does.
    pub fn finish(&mut self) {
        for queue in &self.queues {
            while self.intake.drain(*queue, &mut self.table, &self.stats) {}
        }
        info!("the service ends: {} requests taken over in all", self.intake.observations());
    }

    /// Takes over what came without a notice and sends what is due.
    pub fn tick(&mut self) {
        self.drain();
        let now = clock::now_unix_nano();
        self.table.sweep(SWEEP_ROWS, now);
        self.stats.series.set(u64::try_from(self.table.series()).unwrap_or(u64::MAX));
        if self.exporters.iter_mut().any(|exporter| exporter.begins_cycle(now)) {
            self.read_counters(now);
        }
        for exporter in &mut self.exporters {
            exporter.export(&mut self.table, &self.resource, &self.stats);
        }
    }

    /// An answer came. `with_headers` is false where it broke off.
    pub fn answered(&mut self, call: Call, with_headers: bool) {
        for exporter in &mut self.exporters {
            if exporter.answered(call, with_headers, &mut self.table, &self.stats) {
                // The next slice of the same cycle, if there is one.
                exporter.export(&mut self.table, &self.resource, &self.stats);
                return;
            }
        }
    }

    /// Puts the counters in shared data into the table as they stand; what is no counter is left out.
    fn read_counters(&mut self, now_unix_nano: u64) {
        for key in self.intake.counters() {
            let value = counter::read(&mut HostSharedData, &shared_key(key)).ok().flatten();
            let attributes =
                tributary_proto::attributes::encode(vec![tributary_proto::attributes::text("key", key)]);
            let set = value
                .is_none_or(|value| self.table.set(&self.counter_metric, &attributes, value, now_unix_nano));
            if !set {
                self.stats.points_dropped.add(1);
            }
        }
    }
}

fn counter_metric() -> Metric {
    Metric {
        name: COUNTER_METRIC.to_owned(),
        unit: "1".to_owned(),
        description: "Counters that all workers keep in shared data.".to_owned(),
        divisor: 1,
        kind: Kind::Counter,
    }
}

#[cfg(test)]
mod tests;
