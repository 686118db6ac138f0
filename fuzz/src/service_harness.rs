//! A service on the fake host, with collectors that decode its exports independently.

use prost::Message;
use serde::de::IgnoredAny;
use tributary_host::fake::vm::Vm;
use tributary_host::fake::{self, FakeAnswer};
use tributary_proto::otlp::ExportMetricsServiceRequest;
use tributary_proto::remote_write::WriteRequest;
use tributary_service::root::ServiceRoot;

/// The export interval of all configurations here, in nanoseconds.
const INTERVAL_NS: u64 = 1_000_000_000;

/// One configuration per encoding, with so few series that they overflow, and so short an idle time that they
/// end.
pub const ENCODINGS: [&str; 4] = [
    r#"{"interval": "1s", "self_metrics": false, "limits": {"series": 3, "idle": "1s"},
        "destinations": [{"cluster": "a", "temporality": "delta"}]}"#,
    r#"{"interval": "1s", "self_metrics": false, "limits": {"series": 3, "idle": "1s"},
        "destinations": [{"cluster": "b", "encoding": "remote_write"}]}"#,
    r#"{"interval": "1s", "self_metrics": false, "limits": {"series": 3, "idle": "1s"},
        "destinations": [{"cluster": "c", "encoding": "otlp_json"}]}"#,
    r#"{"interval": "1s", "self_metrics": false, "limits": {"series": 3, "idle": "1s"}, "destinations": []}"#,
];

/// A configuration with one encoding, for targets that do not test encodings.
pub const ONE_ENCODING: &str =
    r#"{"interval": "1s", "self_metrics": false, "destinations": [{"cluster": "a"}]}"#;

/// The maximum number of requests answered in one export: far more than an export has.
const POSTS_MAX: usize = 1_000;

/// A running service with its collectors.
#[derive(Debug)]
pub struct ServiceHarness {
    vm: Vm,
    answered: usize,
}

impl ServiceHarness {
    /// Starts a service with one of the configurations above.
    #[expect(clippy::expect_used, reason = "a target fails by a panic")]
    pub fn start(json: &str) -> Self {
        let vm =
            Vm::start(ServiceRoot::boxed, json.as_bytes()).expect("the service accepts its configuration");
        Self { vm, answered: 0 }
    }

    /// Makes the service read its queues.
    pub fn drain(&self) {
        self.vm.queue_ready();
    }

    /// Lets one interval pass, and makes collectors accept every request.
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

    /// Shuts the service down. Checks that the unexported metrics in the log are JSON.
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

/// Reads a statistic of the modules.
pub fn stat(name: &str) -> u64 {
    fake::with(|host| host.stat(&format!("tributary_{name}")))
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
