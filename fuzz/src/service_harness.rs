//! A service on the fake host, with collectors that decode its exports independently.

use std::time::Duration;

use prost::Message;
use serde::de::IgnoredAny;
use tributary_host::fake::main_thread::{self, stat};
use tributary_host::fake::vm::Vm;
use tributary_host::fake::{self, FakeResponse};
use tributary_proto::limits::{QUEUE_HTTP, QUEUE_TCP};
use tributary_proto::otlp::ExportMetricsServiceRequest;
use tributary_proto::remote_write::WriteRequest;
use tributary_proto::shutdown_log;
use tributary_service::root::ServiceRoot;

/// The export interval of the service.
const INTERVAL: Duration = Duration::from_secs(1);

/// The destinations from which a target chooses: one for each encoding, and an empty string for no
/// destination.
pub const DESTINATIONS: [&str; 4] = [
    r#"{"cluster": "a", "temporality": "delta"}"#,
    r#"{"cluster": "b", "encoding": "remote_write"}"#,
    r#"{"cluster": "c", "encoding": "otlp_json"}"#,
    "",
];

/// Limits with few series, so that further series overflow, and with a short idle time, so that series end.
pub const NARROW: &str = r#"{"series": 3, "idle": "1s"}"#;

/// The maximum number of responses in one export: far more than one export needs.
const POSTS_MAX: usize = 1_000;

/// A running service, with collectors that respond to its requests.
#[derive(Debug)]
pub struct ServiceHarness(Vm);

impl ServiceHarness {
    /// Starts a service with one of [`DESTINATIONS`] and with `limits`, a JSON object such as [`NARROW`].
    #[expect(clippy::expect_used, reason = "a target fails by a panic")]
    pub fn start(destination: &str, limits: &str) -> Self {
        let json = format!(
            r#"{{"interval": "1s", "self_metrics": false, "limits": {limits}, "destinations": [{destination}]}}"#
        );
        Self(Vm::start(ServiceRoot::boxed, json.as_bytes()).expect("the service accepts its configuration"))
    }

    /// Starts a service with one destination and the default limits, for targets that test neither
    /// destinations nor limits.
    pub fn start_any() -> Self {
        Self::start(r#"{"cluster": "a"}"#, "{}")
    }

    /// Makes the service read its queues.
    pub fn drain(&self) {
        self.0.queue_ready();
    }

    /// Makes the service read the batches that workers enqueued. Checks that it accepts every batch and
    /// aggregates every observation. Returns the number of observations.
    pub fn drain_workers(&self) -> u64 {
        self.drain();
        let waiting = fake::with(|host| [QUEUE_HTTP, QUEUE_TCP].map(|queue| host.queues.len(queue)));
        assert_eq!((stat("batches_invalid"), waiting), (0, [0, 0]), "the service accepts every batch");
        assert_eq!(stat("observations_aggregated"), stat("observations_total"));
        stat("observations_total")
    }

    /// Lets one interval pass, and makes collectors accept every request.
    pub fn export(&self) {
        main_thread::advance(INTERVAL);
        self.0.tick();
        for post in std::iter::from_fn(main_thread::next_post).take(POSTS_MAX) {
            check_body(&post.cluster, &post.body);
            self.0.respond(post.token, Some(FakeResponse::new("200", &[], Vec::new())));
        }
    }

    /// Shuts the service down. Checks that the records of unexported metrics in the log are JSON.
    pub fn end(self) {
        self.0.delete();
        fake::with(|host| {
            for (_, line) in &host.log {
                let message = line.strip_prefix("tributary: ").unwrap_or(line);
                if message.starts_with(shutdown_log::MARK) {
                    let record = shutdown_log::decode(message).map(|(record, _)| record);
                    assert!(
                        record.is_some_and(|it| serde_json::from_str::<IgnoredAny>(it).is_ok()),
                        "{line}"
                    );
                }
            }
        });
    }
}

/// Checks that a decoder that shares no code with the encoder can read the body.
fn check_body(cluster: &str, body: &[u8]) {
    let is_valid = match cluster {
        "a" => ExportMetricsServiceRequest::decode(body).is_ok(),
        "b" => {
            let body = snap::raw::Decoder::new().decompress_vec(body).unwrap_or_else(|_| vec![0xff]);
            WriteRequest::decode(&*body).is_ok()
        }
        _ => serde_json::from_slice::<IgnoredAny>(body).is_ok(),
    };
    assert!(is_valid, "a request to {cluster} is invalid: {body:?}");
}
