//! A service as it runs on Envoy's main thread, and a collector that reads what it says by other means than ours.

use prost::Message;
use serde::de::IgnoredAny;
use tributary_host::fake::vm::Vm;
use tributary_host::fake::{self, FakeAnswer};
use tributary_proto::otlp::ExportMetricsServiceRequest;
use tributary_proto::remote_write::WriteRequest;
use tributary_service::root::ServiceRoot;

/// From one export to the next, in nanoseconds, as all configurations here say.
const INTERVAL_NS: u64 = 1_000_000_000;

/// Each way to say something, with so few series that there is an overflow, and so short a patience that they end.
pub const ENCODINGS: [&str; 4] = [
    r#"{"interval": "1s", "self_metrics": false, "limits": {"series": 3, "idle": "1s"},
        "destinations": [{"cluster": "a", "temporality": "delta"}]}"#,
    r#"{"interval": "1s", "self_metrics": false, "limits": {"series": 3, "idle": "1s"},
        "destinations": [{"cluster": "b", "encoding": "remote_write"}]}"#,
    r#"{"interval": "1s", "self_metrics": false, "limits": {"series": 3, "idle": "1s"},
        "destinations": [{"cluster": "c", "encoding": "otlp_json"}]}"#,
    r#"{"interval": "1s", "self_metrics": false, "limits": {"series": 3, "idle": "1s"}, "destinations": []}"#,
];

/// One way to say something, for doors that are about something else.
pub const ONE_ENCODING: &str =
    r#"{"interval": "1s", "self_metrics": false, "destinations": [{"cluster": "a"}]}"#;

/// Requests that are answered in one export: far more than there are slices.
const POSTS_MAX: usize = 1_000;

/// The service of the process, with its collectors.
#[derive(Debug)]
pub struct ServiceHarness {
    vm: Vm,
    answered: usize,
}

impl ServiceHarness {
    /// A service with this configuration, which has registered its queues; none if it was refused.
    pub fn begin(json: &str) -> Option<Self> {
        Some(Self { vm: Vm::start(ServiceRoot::boxed, json.as_bytes())?, answered: 0 })
    }

    /// Takes over what is in the queues.
    pub fn drain(&self) {
        self.vm.queue_ready();
    }

    /// Lets an interval pass, and has collectors take everything that is sent.
    pub fn export(&mut self) {
        fake::with(|host| host.now_unix_nano = host.now_unix_nano.saturating_add(INTERVAL_NS));
        self.vm.tick();
        for _ in 0..POSTS_MAX {
            let Some(token) = fake::with(|host| {
                let post = host.posts.get(self.answered)?;
                check_body(&post.cluster, &post.body);
                Some(post.token)
            }) else {
                return;
            };
            self.answered = self.answered.saturating_add(1);
            let headers = [(":status".to_owned(), b"200".to_vec())].into();
            self.vm.answer(token, Some(FakeAnswer { headers, body: Vec::new() }));
        }
    }

    /// Ends it. What it logs of what it could not export is JSON.
    pub fn end(self) {
        self.vm.delete();
        fake::with(|host| {
            for (_, line) in &host.log {
                let Some(json) =
                    line.strip_prefix("tributary: unexported for ").and_then(|rest| rest.split_once(' '))
                else {
                    continue;
                };
                assert!(serde_json::from_str::<IgnoredAny>(json.1).is_ok(), "{line}");
            }
        });
    }
}

/// The sum that a statistic of ours has.
pub fn stat(name: &str) -> u64 {
    fake::with(|host| host.stat(&format!("tributary_{name}")))
}

/// What is sent can be read by a decoder that shares no code with what wrote it.
fn check_body(cluster: &str, body: &[u8]) {
    let is_read = match cluster {
        "a" => ExportMetricsServiceRequest::decode(body).is_ok(),
        "b" => {
            let body = snap::raw::Decoder::new().decompress_vec(body).unwrap_or_else(|_| vec![0xff]);
            WriteRequest::decode(&*body).is_ok()
        }
        _ => serde_json::from_slice::<IgnoredAny>(body).is_ok(),
    };
    assert!(is_read, "a request to {cluster} cannot be read: {body:?}");
}
