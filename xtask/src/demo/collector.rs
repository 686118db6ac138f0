//! The two collectors of the demo, with the same queries.

use anyhow::Result;
use clap::ValueEnum;
use tributary_tests::metrics::HistogramPoint;
use tributary_tests::sink::Sink;
use tributary_tests::victoria_metrics::{self, VictoriaMetrics};

const DURATION: &str = "http.server.request.duration";
const COUNTER: &str = "tributary.counter";
/// The series of [`COUNTER`] that counts every request.
const REQUESTS: [(&str, &str); 1] = [("key", "requests")];

/// A kind of collector.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum CollectorKind {
    /// An OTLP/HTTP receiver in this process.
    Embedded,
    /// A real VictoriaMetrics, queried over its HTTP API.
    VictoriaMetrics,
}

/// A running collector.
pub(crate) enum Collector {
    Embedded(Sink),
    VictoriaMetrics(Box<VictoriaMetrics>),
}

impl CollectorKind {
    /// Returns the name of this kind on the command line.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Embedded => "embedded",
            Self::VictoriaMetrics => "victoria-metrics",
        }
    }

    /// Returns the path of the collector's OTLP/HTTP endpoint.
    pub(crate) fn path(self) -> &'static str {
        match self {
            Self::Embedded => "/v1/metrics",
            Self::VictoriaMetrics => victoria_metrics::OTLP_PATH,
        }
    }
}

impl Collector {
    /// Starts a collector on `127.0.0.1:port`; port 0 selects a free port.
    pub(crate) async fn start(kind: CollectorKind, port: u16) -> Result<Self> {
        Ok(match kind {
            CollectorKind::Embedded => Self::Embedded(Sink::start(port).await?),
            CollectorKind::VictoriaMetrics => {
                Self::VictoriaMetrics(Box::new(VictoriaMetrics::start(port).await?))
            }
        })
    }

    pub(crate) fn port(&self) -> u16 {
        match self {
            Self::Embedded(sink) => sink.port(),
            Self::VictoriaMetrics(server) => server.port(),
        }
    }

    /// Returns the exported value of the counter that the workers keep in shared data.
    pub(crate) async fn counter(&self) -> Result<u64> {
        match self {
            Self::Embedded(sink) => Ok(sink.sum(COUNTER, &REQUESTS)),
            Self::VictoriaMetrics(server) => server.sum(COUNTER, &REQUESTS).await,
        }
    }

    /// Returns the exported histograms.
    pub(crate) async fn durations(&self) -> Result<Vec<HistogramPoint>> {
        match self {
            Self::Embedded(sink) => Ok(sink.histogram_points(DURATION)),
            Self::VictoriaMetrics(server) => server.histogram_points(DURATION).await,
        }
    }
}
