//! The number of requests in flight, sent as the change since the last flush.

use tributary_proto::batch::{BatchWriter, Point};
use tributary_proto::metric::{Kind, Metric};

use crate::outbox::{FlushOutcome, Outbox};

/// The requests in flight in one worker.
#[derive(Debug)]
pub struct InFlight {
    outbox: Outbox,
    change: i64,
}

/// Returns `http.server.active_requests` of the OpenTelemetry semantic conventions 1.44. The metric has no
/// attributes, because nothing of a request can be read when the filter's stream is created.
pub fn metric() -> Metric {
    Metric {
        name: "http.server.active_requests".to_owned(),
        unit: "{request}".to_owned(),
        description: "Number of active HTTP server requests.".to_owned(),
        divisor: 1,
        kind: Kind::UpDownCounter,
    }
}

impl InFlight {
    /// Creates the state without requests. `outbox` writes [`metric`].
    pub fn new(outbox: Outbox) -> Self {
        Self { outbox, change: 0 }
    }

    /// Counts a request that started.
    pub fn start(&mut self) {
        self.change = self.change.saturating_add(1);
    }

    /// Counts a request that ended.
    pub fn end(&mut self) {
        self.change = self.change.saturating_sub(1);
    }

    /// Enqueues the change since the last flush.
    pub fn flush(&mut self) -> FlushOutcome {
        let change = &mut self.change;
        self.outbox.flush(*change != 0, |writer: &mut BatchWriter, batches| {
            let point = Point::UpDownCounter(std::mem::take(change));
            // The series has no attributes.
            batches.extend(writer.push(&[], 0, &[point], &[]));
        })
    }
}
