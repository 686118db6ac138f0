//! How many requests are under way: what began less what ended, told as the change since the last hand-over.

use tributary_proto::attributes;
use tributary_proto::batch::{BatchWriter, Point};
use tributary_proto::metric::{Kind, Metric};

use crate::outbox::{HandedOver, Outbox};

/// Requests under way in one worker.
#[derive(Debug)]
pub struct InFlight {
    outbox: Outbox,
    attributes: Vec<u8>,
    change: i64,
}

/// `http.server.active_requests` of the OpenTelemetry semantic conventions 1.44, without attributes: when a filter's stream
/// begins, nothing of its request can be read yet.
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
    /// Nothing under way yet. `outbox` writes [`metric`].
    pub fn new(outbox: Outbox) -> Self {
        Self { outbox, attributes: attributes::encode(Vec::new()), change: 0 }
    }

    /// A request began.
    pub fn began(&mut self) {
        self.change = self.change.saturating_add(1);
    }

    /// A request ended.
    pub fn ended(&mut self) {
        self.change = self.change.saturating_sub(1);
    }

    /// Hands the change over.
    pub fn hand_over(&mut self) -> HandedOver {
        let (attributes, change) = (&self.attributes, &mut self.change);
        self.outbox.hand_over(*change != 0, |writer: &mut BatchWriter, batches| {
            let point = Point::UpDownCounter(std::mem::take(change));
            batches.extend(writer.push(attributes, 0, &[point], &[]));
        })
    }
}
