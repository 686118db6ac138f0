//! Plugins that lack one capability each: Envoy rejects the configuration and logs why, or every request is
//! served as without the plugin. No VM fails, and `tributary-check` reports the missing capability.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use reqwest::{Client, Method};
use serde_json::{Value, json};
use tokio::task::{JoinSet, LocalSet};
use tributary_check::command;
use tributary_check::finding::Rule;
use tributary_check::plugin::ModuleKind;
use tributary_check::rules::needed;
use tributary_tests::config::{AttachPoint, AttachedPlugin, EnvoyConfig};
use tributary_tests::echo::EchoClient;
use tributary_tests::envoy::{Envoy, EnvoyOptions, messages_of};
use tributary_tests::load::{Load, Mix, Shape};
use tributary_tests::poll::Seen;
use tributary_tests::scene::{DURATION, LIMIT};
use tributary_tests::servers::Servers;
use tributary_tests::sink::Store;

/// The number of Envoys that run at the same time.
const AT_ONCE: usize = 3;
const REQUESTS: u64 = 40;
/// Without this capability there is no context to configure, and the SDK panics with the message `invalid
/// context_id`.
const CONTEXTS: &str = "proxy_on_context_create";
/// Longer than a console makes a client wait for a snapshot.
const PATIENCE: Duration = Duration::from_secs(30);

/// Returns all capabilities that a module needs, except `withheld`.
fn all_but(withheld: &str, module: ModuleKind) -> impl Iterator<Item = &'static str> {
    needed(module).into_iter().filter(move |name| *name != withheld)
}

/// Returns the capabilities that `tributary-check` reports as missing, one text for each plugin.
fn missing(config: &EnvoyConfig) -> Result<Vec<String>> {
    let report = command::check(&[("envoy.yaml".to_owned(), config.to_yaml()?)]);
    let findings = report.findings.into_iter().filter(|finding| finding.rule == Rule::Capability);
    Ok(findings
        .filter_map(|finding| {
            let (_, capabilities) = finding.message.split_once(" also needs ")?;
            Some(capabilities.strip_suffix("; add them")?.to_owned())
        })
        .collect())
}

/// Whether a log reports for which capability the plugin of this name was rejected.
fn reports_cause(log: &str, capability: &str) -> bool {
    // The plugin's messages begin with the id of its VM.
    let mut messages = messages_of(log, capability).filter_map(|message| Some(message.split_once(": ")?.1));
    match capability {
        CONTEXTS => messages.any(|text| text.contains("panicked at") && text.ends_with("invalid context_id")),
        _ => messages.any(|text| text.contains(capability)),
    }
}

/// Expects no traps except the ones of `without_context` plugins, which could not be configured.
fn no_traps(envoy: &Envoy, without_context: usize) -> Result<()> {
    let traps = envoy.traps()?;
    let failed: Vec<_> = traps.iter().filter(|line| line.contains("Function: ")).collect();
    let expected = failed.iter().all(|line| line.contains("Function: proxy_on_configure failed"));
    ensure!(expected && failed.len() == without_context, "{traps:#?}");
    ensure!(traps.len() <= 3 * without_context, "{traps:#?}");
    Ok(())
}

/// A module as it is attached, and the capabilities without which its configuration is rejected.
struct Restricted {
    module: ModuleKind,
    configuration: Value,
    point: AttachPoint,
    rejected_without: &'static [&'static str],
}

impl Restricted {
    /// Starts an Envoy with one listener for each capability; the plugin of the listener lacks this
    /// capability.
    async fn check<Streams>(&self, streams: impl Fn(&'static str, SocketAddr) -> Streams) -> Result<()>
    where
        Streams: Future<Output = Result<()>> + Send + 'static,
    {
        let file = self.module.file().trim_end_matches(".wasm");
        let capabilities = needed(self.module);
        let (servers, mut seen) = (Servers::start().await?, JoinSet::new());
        let mut config = servers.config()?;
        for capability in &capabilities {
            let plugin =
                AttachedPlugin::new(capability, file, &self.configuration).vm_configuration(capability);
            let plugin = plugin.allow(all_but(capability, self.module));
            config = config.attach(self.point, capability, &plugin);
        }
        let config = config.free_ports().listeners_in_file();
        assert_eq!(missing(&config)?, capabilities);

        let mut envoy = Envoy::start(&config, &EnvoyOptions::workers(1)).await?;
        let listeners = envoy.admin().get("/listeners").await?;
        let is_there = |name: &str| listeners.contains(&format!("{name}::"));
        let rejected: Vec<_> = capabilities.iter().copied().filter(|name| !is_there(name)).collect();
        let log = envoy.log()?;
        assert_eq!(rejected, self.rejected_without);
        for capability in &rejected {
            ensure!(reports_cause(&log, capability), "no message for {capability}\n{log}");
        }
        for capability in capabilities.into_iter().filter(|name| !rejected.contains(name)) {
            seen.spawn(streams(capability, envoy.listener(capability)?));
        }
        for served in seen.join_all().await {
            served?;
        }
        assert_eq!(envoy.reloads().await?, [].into());
        ensure!(envoy.terminate(LIMIT).await?.success(), "{}", envoy.log()?);
        no_traps(&envoy, 1)
    }
}

/// Sends requests, which must be served whichever capabilities a plugin has.
async fn served(capability: &'static str, listener: SocketAddr) -> Result<()> {
    let shapes = [
        (Shape::get("users", "/users/1"), 200),
        (Shape::new("order", "POST", "/orders").body("name=x").status(201), 201),
        (Shape::get("missing", "/orders/1").status(404), 404),
        (Shape::get("health", "/health"), 200),
    ];
    let mix = Mix::in_turn(shapes.iter().map(|(shape, _)| shape.clone()))?;
    let tally = Load { connections: 2, ..Load::new(listener, REQUESTS, mix) }.run(|_| ()).await?;
    for (shape, status) in shapes {
        let answered = tally.shape(shape.name()).answered;
        ensure!(
            answered == [(status, REQUESTS / 4)].into(),
            "without {capability}, {}: {answered:?}",
            shape.name()
        );
    }
    Ok(())
}

/// Sends bytes, which must come back whichever capabilities a plugin has.
async fn passed(capability: &'static str, listener: SocketAddr) -> Result<()> {
    let mut client = EchoClient::connect(listener).await?;
    for _ in 0..3 {
        client.exchange(&[b'.'; 1_000]).await.with_context(|| format!("without {capability}"))?;
    }
    client.close().await
}

/// Capabilities without which a worker filter is rejected, in both of its modules.
const REJECTED: [&str; 5] = [
    "proxy_call_foreign_function",
    "proxy_get_buffer_bytes",
    "proxy_get_current_time_nanoseconds",
    CONTEXTS,
    "proxy_set_tick_period_milliseconds",
];
/// Capabilities without which a console is rejected.
const CONSOLE_REJECTED: [&str; 7] = [
    "proxy_get_buffer_bytes",
    "proxy_get_current_time_nanoseconds",
    "proxy_get_header_map_pairs",
    CONTEXTS,
    "proxy_send_local_response",
    "proxy_set_effective_context",
    "proxy_set_tick_period_milliseconds",
];

#[tokio::test(flavor = "multi_thread")]
async fn an_access_logger_never_traps_and_affects_no_request() -> Result<()> {
    let (module, point) = (ModuleKind::Worker, AttachPoint::HttpLogger);
    Restricted { module, configuration: json!({}), point, rejected_without: &REJECTED }.check(served).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filter_that_measures_never_traps_and_affects_no_request() -> Result<()> {
    let (module, point) = (ModuleKind::Worker, AttachPoint::HttpFilter);
    Restricted { module, configuration: json!({}), point, rejected_without: &REJECTED }.check(served).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filter_with_headers_and_a_tap_never_traps_and_serves_every_request() -> Result<()> {
    let configuration = json!({
        "in_flight": true,
        "counters": [{"key": "requests", "when": "request", "response_header": "x-count"}],
        "dimensions": [{"name": "odd", "request_header": "x-odd"}],
        "headers": [
            {"name": "x-name", "value": "a {attribute:request.method}"},
            {"name": "x-name", "action": "append", "value": "b"},
            {"on": "response", "name": "x-code", "value": "{attribute:response.code} {counter:requests}"},
            {"on": "response", "name": "date", "action": "remove"}
        ],
        "tap": {"condition": "true", "per_minute": 1000, "body_bytes": 16}
    });
    let (module, point) = (ModuleKind::FullWorker, AttachPoint::HttpFilter);
    Restricted { module, configuration, point, rejected_without: &REJECTED }.check(served).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_filter_never_traps_and_passes_every_byte() -> Result<()> {
    let configuration =
        json!({"preset": "tcp", "report_interval": "100ms", "tap": {"condition": "true", "body_bytes": 16}});
    let (module, point) = (ModuleKind::FullWorker, AttachPoint::NetworkFilter);
    Restricted { module, configuration, point, rejected_without: &REJECTED }.check(passed).await
}

/// A module cannot reject this combination: Envoy makes no call in which the module could do so.
#[tokio::test(flavor = "multi_thread")]
async fn a_logger_without_contexts_and_configuration_traps_and_the_check_reports_it() -> Result<()> {
    const BOTH: [&str; 2] = ["proxy_on_configure", CONTEXTS];
    let servers = Servers::start().await?;
    let logger = AttachedPlugin::new("logger", "worker_filter", &json!({}));
    let logger = logger.allow(needed(ModuleKind::Worker).into_iter().filter(|name| !BOTH.contains(name)));
    let config = servers.config()?.attach(AttachPoint::HttpLogger, "logger", &logger).free_ports();
    assert_eq!(missing(&config)?, [BOTH.join(", ")]);
    let envoy = Envoy::start(&config, &EnvoyOptions::workers(1)).await?;
    served("both", envoy.listener("logger")?).await?;
    let traps = envoy.traps()?;
    ensure!(traps.iter().any(|line| line.contains("Function: proxy_on_log failed")), "{traps:#?}");
    Ok(())
}

/// The requests to a console: the method, the path, and the allowed statuses of the answer.
const ASKED: [(Method, &str, &[u16]); 4] = [
    (Method::GET, "/", &[200]),
    (Method::GET, "/healthz", &[200, 503]),
    (Method::GET, "/metrics", &[200, 503]),
    (Method::POST, "/flush?timeout_ms=3000", &[200, 202, 503]),
];

/// Capabilities without which a console answers nothing.
const PASSED: [&str; 2] = ["proxy_on_configure", "proxy_on_request_headers"];

/// Sends requests to a console, and expects each answer within [`PATIENCE`] and with an allowed status.
async fn answered(capability: &'static str, listener: SocketAddr) -> Result<()> {
    let client = Client::builder().timeout(PATIENCE).build()?;
    for (method, path, statuses) in ASKED {
        let request = client.request(method, format!("http://{listener}{path}"));
        let what = format!("without {capability}, {path}");
        let answer = request.send().await.with_context(|| what.clone())?;
        let status = answer.status().as_u16();
        let body = answer.text().await.with_context(|| what.clone())?;
        // A console that Envoy never calls, or that has no configuration, leaves the request to the routes
        // of the listener.
        let is_passed = PASSED.contains(&capability) && status == 404;
        ensure!(statuses.contains(&status) || is_passed, "{what}: {status} {body}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_console_never_traps_and_responds_to_every_request() -> Result<()> {
    let (module, point) = (ModuleKind::Console, AttachPoint::HttpFilter);
    let configuration = json!({"flush": {"interval": "200ms"}});
    Restricted { module, configuration, point, rejected_without: &CONSOLE_REJECTED }.check(answered).await
}

const SERVICE: AttachPoint = AttachPoint::Bootstrap { singleton: true };

/// Capabilities without which the service is rejected.
const SERVICE_REJECTED: [&str; 6] = [
    "proxy_get_buffer_bytes",
    "proxy_get_current_time_nanoseconds",
    CONTEXTS,
    "proxy_register_shared_queue",
    "proxy_set_effective_context",
    "proxy_set_tick_period_milliseconds",
];
/// Capabilities without which the service exports nothing.
const SERVICE_SILENT: [&str; 4] =
    ["proxy_dequeue_shared_queue", "proxy_http_call", "proxy_on_configure", "proxy_on_tick"];

/// Returns the plugin of a service that lacks a capability.
fn service_without(capability: &str) -> AttachedPlugin {
    let configuration = json!({"interval": "200ms", "destinations": [{"cluster": "otlp_collector"}]});
    let service = AttachedPlugin::new(capability, "service", &configuration).vm_id(capability);
    service.allow(all_but(capability, ModuleKind::Service))
}

/// Checks that Envoy does not start if the service lacks this capability, and logs the cause.
async fn rejected_service(capability: &'static str) -> Result<()> {
    let config = EnvoyConfig::load("tests/e2e/config/attached.yaml")?.free_ports();
    let config = config.attach(SERVICE, capability, &service_without(capability));
    let mut envoy = Envoy::spawn(&config, &EnvoyOptions::workers(1)).await?;
    ensure!(!envoy.wait_for_exit(LIMIT).await?.success(), "Envoy accepted the configuration");
    let log = envoy.log()?;
    ensure!(reports_cause(&log, capability), "no message\n{log}");
    no_traps(&envoy, usize::from(capability == CONTEXTS))
}

#[tokio::test(flavor = "multi_thread")]
async fn envoy_logs_which_capability_is_missing_when_it_rejects_the_service() -> Result<()> {
    let all_at_once = async |capabilities: &[&'static str]| {
        let mut running = JoinSet::new();
        for capability in capabilities.iter().copied() {
            running.spawn_local(async move {
                rejected_service(capability).await.with_context(|| format!("without {capability}"))
            });
        }
        running.join_all().await.into_iter().collect::<Result<()>>()
    };
    for capabilities in SERVICE_REJECTED.chunks(AT_ONCE) {
        LocalSet::new().run_until(all_at_once(capabilities)).await?;
    }
    Ok(())
}

/// Runs all services in one Envoy, each with its own worker filter.
#[tokio::test(flavor = "multi_thread")]
async fn a_service_never_traps_and_affects_no_request() -> Result<()> {
    let servers = Servers::start().await?;
    let capabilities = needed(ModuleKind::Service);
    let taken: Vec<_> =
        capabilities.iter().copied().filter(|name| !SERVICE_REJECTED.contains(name)).collect();
    let mut config = servers.config()?;
    for capability in &taken {
        let named = json!([{"name": "without", "value": capability}]);
        let configuration = json!({"flush": {"interval": "200ms"}, "dimensions": named});
        let logger = AttachedPlugin::new(capability, "worker_filter", &configuration).vm_id(capability);
        config = config.attach(AttachPoint::HttpLogger, capability, &logger);
        config = config.attach(SERVICE, capability, &service_without(capability));
    }
    let config = config.free_ports();
    assert_eq!(
        missing(&config)?.into_iter().collect::<BTreeSet<_>>(),
        taken.iter().copied().map(str::to_owned).collect()
    );

    let mut envoy = Envoy::start(&config, &EnvoyOptions::workers(1)).await?;
    for capability in &taken {
        served(capability, envoy.listener(capability)?).await?;
    }
    let exported = |store: &Store| {
        let known =
            taken.iter().copied().filter(|name| store.count(DURATION, &[("without", name)]) == REQUESTS);
        known.collect::<Vec<_>>()
    };
    let expected: Vec<_> = taken.iter().copied().filter(|name| !SERVICE_SILENT.contains(name)).collect();
    let all = |store: &Store| Seen::when(exported(store) == expected, exported(store));
    servers.sink.wait_until("every request of those that can export", LIMIT, all).await?;
    ensure!(envoy.terminate(LIMIT).await?.success(), "{}", envoy.log()?);
    no_traps(&envoy, 0)
}
