//! Each module with each configuration at each attach point: no VM fails, streams pass as without the plugin,
//! and both the log and `tributary-check` report each wrong attach point.

use std::ops::RangeInclusive;

use anyhow::{Context, Result, ensure};
use serde_json::json;
use tributary_check::command;
use tributary_check::finding::Rule;
use tributary_tests::config::{AttachPoint, AttachedPlugin, EnvoyConfig};
use tributary_tests::echo::{CLOSE, EchoClient};
use tributary_tests::envoy::{Envoy, EnvoyOptions, messages_of};
use tributary_tests::load::{Load, Mix, Shape};
use tributary_tests::poll::{self, Seen};
use tributary_tests::scene::{DURATION, LIMIT};
use tributary_tests::servers::Servers;
use tributary_tests::sink::Store;
use tributary_tests::upstream::UpstreamFault;

/// A module with a configuration, and the kind of plugin that they make.
struct Case {
    name: &'static str,
    module: &'static str,
    configuration: &'static str,
    kind: Kind,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Http,
    Tcp,
    Console,
    LogStream,
    Service,
}

const CASES: [Case; 12] = [
    Case::new("otel", "worker_filter", "{}", Kind::Http),
    Case::new("istio", "worker_filter", r#"{"preset": "istio"}"#, Kind::Http),
    Case::new("tcp", "worker_filter", r#"{"preset": "tcp"}"#, Kind::Tcp),
    Case::new("istio_tcp", "worker_filter", r#"{"preset": "istio_tcp"}"#, Kind::Tcp),
    Case::new("full_otel", "worker_filter_full", r#"{"preset": "otel"}"#, Kind::Http),
    Case::new("full_istio", "worker_filter_full", r#"{"preset": "istio"}"#, Kind::Http),
    Case::new("full_tcp", "worker_filter_full", r#"{"preset": "tcp"}"#, Kind::Tcp),
    Case::new("full_istio_tcp", "worker_filter_full", r#"{"preset": "istio_tcp"}"#, Kind::Tcp),
    Case::new("console", "console", "{}", Kind::Console),
    Case::new("log_stream", "worker_filter", r#"{"log_stream": true}"#, Kind::LogStream),
    Case::new("full_log_stream", "worker_filter_full", r#"{"log_stream": true}"#, Kind::LogStream),
    Case::new("service", "service", r#"{"destinations": [{"cluster": "otlp_collector"}]}"#, Kind::Service),
];

impl Case {
    const fn new(name: &'static str, module: &'static str, configuration: &'static str, kind: Kind) -> Self {
        Self { name, module, configuration, kind }
    }

    fn plugin(&self) -> Result<AttachedPlugin> {
        Ok(AttachedPlugin::new(self.name, self.module, &serde_json::from_str(self.configuration)?))
    }
}

impl Kind {
    /// Whether a plugin of this kind works at this attach point.
    fn fits(self, point: AttachPoint) -> bool {
        use AttachPoint as At;
        match self {
            Self::Http => matches!(point, At::HttpFilter | At::UpstreamHttpFilter | At::HttpLogger),
            Self::Tcp => matches!(point, At::NetworkFilter | At::TcpLogger | At::ListenerLogger),
            Self::Console => matches!(point, At::HttpFilter | At::UpstreamHttpFilter),
            Self::LogStream => point == At::NetworkFilter,
            Self::Service => matches!(point, At::Bootstrap { singleton: true } | At::StatSink),
        }
    }

    /// The text that is logged at an attach point that does not fit.
    fn line(self) -> &'static str {
        match self {
            Self::Http => "streams here are TCP connections",
            Self::Tcp => "streams here are HTTP requests",
            Self::Console => "console: not attached as an HTTP filter",
            Self::LogStream => "log stream: not attached as a network filter",
            Self::Service => "service.wasm is attached as a filter or an access logger",
        }
    }
}

/// The number of requests to a listener, chosen such that each shape of a mix is sent equally often.
const REQUESTS: u64 = 42;

/// Returns a worker filter for a correct attach point. Its dimension distinguishes its requests from the
/// requests that other plugins count.
fn ingress() -> AttachedPlugin {
    let dimensions = json!([{"name": "at", "value": "ingress"}]);
    let configuration = json!({"flush": {"interval": "200ms"}, "dimensions": dimensions});
    AttachedPlugin::new("ingress", "worker_filter", &configuration)
}

/// The running Envoy and the servers behind it.
struct Stage {
    envoy: Envoy,
    servers: Servers,
}

impl Stage {
    async fn start(attach: impl FnOnce(EnvoyConfig) -> Result<EnvoyConfig>) -> Result<Self> {
        let servers = Servers::start().await?;
        let config = attach(servers.config()?)?.free_ports();
        Ok(Self { envoy: Envoy::start(&config, &EnvoyOptions::workers(1)).await?, servers })
    }

    /// Sends requests that end in every way, and expects the answers that they have without a plugin.
    async fn http(&self, listener: &str) -> Result<()> {
        let shapes = [
            (Shape::get("users", "/users/1"), 200),
            (Shape::new("order", "POST", "/orders").body("name=x").status(201), 201),
            (Shape::get("missing", "/orders/1").status(404), 404),
            (Shape::get("reset", "/payments").fault(UpstreamFault::Reset), 503),
            (Shape::get("health", "/health"), 200),
            (Shape::get("nowhere", "/nowhere"), 404),
            (Shape::raw("malformed", "GARBAGE\r\n\r\n"), 400),
        ];
        self.answers(listener, &shapes).await
    }

    async fn answers(&self, listener: &str, shapes: &[(Shape, u16)]) -> Result<()> {
        let mix = Mix::in_turn(shapes.iter().map(|(shape, _)| shape.clone()))?;
        let load = Load { connections: 2, ..Load::new(self.envoy.listener(listener)?, REQUESTS, mix) };
        let tally = load.run(|_| ()).await?;
        for (shape, status) in shapes {
            let answered = tally.shape(shape.name());
            let all = [(*status, answered.sent())].into();
            ensure!(answered.answered == all, "{listener}, {}: {answered:?}", shape.name());
        }
        Ok(())
    }

    /// Opens connections that end in every way, and expects to get back all that is sent.
    async fn tcp(&self, listener: &str) -> Result<()> {
        let address = self.envoy.listener(listener)?;
        let mut closed = EchoClient::connect(address).await?;
        closed.exchange(&[b'.'; 1_000]).await.with_context(|| listener.to_owned())?;
        let mut reset = EchoClient::connect(address).await?;
        reset.exchange(b"..").await?;
        reset.reset()?;
        EchoClient::connect(address).await?.send_until_closed(CLOSE).await?;
        closed.exchange(b"...").await?;
        closed.close().await
    }

    /// Sends the kinds of streams, HTTP or TCP, that `case` receives at this attach point.
    async fn streams(&self, point: AttachPoint, case: &Case) -> Result<()> {
        use AttachPoint as At;
        let not_found = |path: &str| (Shape::get(path, path), 404);
        match (point, case.kind) {
            (At::Bootstrap { .. } | At::StatSink, _) => Ok(()),
            (At::HttpFilter, Kind::Console) => {
                self.answers(case.name, &[(Shape::get("page", "/"), 200), not_found("/users/1")]).await
            }
            (At::UpstreamHttpFilter, Kind::Console) => {
                self.answers(case.name, &[(Shape::get("health", "/health"), 200), not_found("/users/1")])
                    .await?;
                // Envoy does not report that a filter responded instead of the tunnel's end: the client must
                // time out.
                let tunnel = self.envoy.listener(&format!("{}-tunnel", case.name))?;
                let mut client = EchoClient::connect(tunnel).await?;
                client.send(b"rejected").await?;
                client.reset()
            }
            (At::UpstreamHttpFilter, _) => {
                self.http(case.name).await?;
                self.tcp(&format!("{}-tunnel", case.name)).await
            }
            (At::HttpFilter | At::HttpLogger, _) => self.http(case.name).await,
            (At::NetworkFilter, Kind::LogStream) => self.swallowed(case.name).await,
            (At::NetworkFilter | At::TcpLogger | At::ListenerLogger, _) => self.tcp(case.name).await,
        }
    }

    /// Sends bytes to a log stream, which discards all of them.
    async fn swallowed(&self, listener: &str) -> Result<()> {
        let mut client = EchoClient::connect(self.envoy.listener(listener)?).await?;
        client.send(b"no message").await?;
        client.close().await
    }

    /// Sends requests through the plugin [`ingress`], waits until the collector has all of them, and returns
    /// their number.
    async fn ingress(&self) -> Result<u64> {
        self.answers("ingress", &[(Shape::get("users", "/users/1"), 200)]).await?;
        let count = |store: &Store| store.count(DURATION, &[("at", "ingress")]);
        self.servers.sink.wait_until_equal("the requests", REQUESTS, count).await?;
        Ok(REQUESTS)
    }

    /// Waits until each plugin has logged this number of lines about its attach point. Checks that no more
    /// follow until Envoy has ended, and that no VM trapped.
    async fn end(mut self, lines: impl Fn(&Case) -> RangeInclusive<usize>) -> Result<()> {
        let all = |log: &str| CASES.iter().all(|case| lines(case).contains(&reports(log, case)));
        poll::until("a line for each plugin at a wrong place", LIMIT, async || {
            let log = self.envoy.log()?;
            Ok(Seen::when(all(&log), log))
        })
        .await?;
        assert_eq!(self.envoy.reloads().await?, [].into());
        ensure!(self.envoy.terminate(LIMIT).await?.success(), "{}", self.envoy.log()?);
        let traps = self.envoy.traps()?;
        ensure!(traps.is_empty(), "{traps:#?}");
        let log = self.envoy.log()?;
        for case in &CASES {
            let reports = reports(&log, case);
            ensure!(lines(case).contains(&reports), "{}: {reports} lines\n{log}", case.name);
        }
        Ok(())
    }
}

/// Counts the messages of a plugin that report a wrong attach point.
fn reports(log: &str, case: &Case) -> usize {
    messages_of(log, case.name).filter(|message| message.contains(case.kind.line())).count()
}

/// Whether `tributary-check` reports that a plugin is at a wrong attach point.
fn is_rejected(point: AttachPoint, case: &Case) -> Result<bool> {
    let config = EnvoyConfig::load("tests/e2e/config/attached.yaml")?;
    let yaml = config.attach(point, case.name, &case.plugin()?).to_yaml()?;
    let report = command::check(&[("envoy.yaml".to_owned(), yaml)]);
    Ok(report.findings.iter().any(|finding| finding.rule == Rule::Attachment))
}

/// Runs each case at one attach point.
async fn attached(point: AttachPoint) -> Result<()> {
    let is_quiet = matches!(point, AttachPoint::Bootstrap { .. } | AttachPoint::StatSink);
    // The configuration already contains the service.
    let cases = || CASES.iter().filter(|case| !(is_quiet && case.kind == Kind::Service));
    for case in cases() {
        ensure!(
            is_rejected(point, case)? != case.kind.fits(point),
            "the check of {} at {point:?}",
            case.name
        );
    }
    let stage = Stage::start(|mut config| {
        for case in cases() {
            config = config.attach(point, case.name, &case.plugin()?);
        }
        Ok(if is_quiet { config.attach(AttachPoint::HttpFilter, "ingress", &ingress()) } else { config })
    })
    .await?;
    for case in cases() {
        stage.streams(point, case).await?;
    }
    if is_quiet {
        stage.ingress().await?;
    }
    // A plugin that gets no streams cannot detect a wrong attach point: a filter's instance on the main
    // thread gets none either.
    let one_if_wrong = |case: &Case| usize::from(!is_quiet && !case.kind.fits(point));
    stage.end(|case| one_if_wrong(case)..=one_if_wrong(case)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn http_filters_never_trap() -> Result<()> {
    attached(AttachPoint::HttpFilter).await
}

#[tokio::test(flavor = "multi_thread")]
async fn upstream_http_filters_never_trap_also_on_tunnels() -> Result<()> {
    attached(AttachPoint::UpstreamHttpFilter).await
}

#[tokio::test(flavor = "multi_thread")]
async fn network_filters_never_trap() -> Result<()> {
    attached(AttachPoint::NetworkFilter).await
}

#[tokio::test(flavor = "multi_thread")]
async fn access_loggers_of_http_never_trap() -> Result<()> {
    attached(AttachPoint::HttpLogger).await
}

#[tokio::test(flavor = "multi_thread")]
async fn access_loggers_of_tcp_proxies_never_trap() -> Result<()> {
    attached(AttachPoint::TcpLogger).await
}

#[tokio::test(flavor = "multi_thread")]
async fn access_loggers_of_listeners_never_trap() -> Result<()> {
    attached(AttachPoint::ListenerLogger).await
}

#[tokio::test(flavor = "multi_thread")]
async fn bootstrap_extensions_never_trap() -> Result<()> {
    attached(AttachPoint::Bootstrap { singleton: true }).await?;
    attached(AttachPoint::Bootstrap { singleton: false }).await
}

#[tokio::test(flavor = "multi_thread")]
async fn stat_sinks_never_trap() -> Result<()> {
    attached(AttachPoint::StatSink).await
}

/// HTTP calls of Wasm modules and mirrored requests do not arrive on a connection of a client.
#[tokio::test(flavor = "multi_thread")]
async fn upstream_http_filters_never_trap_on_requests_that_envoy_makes_itself() -> Result<()> {
    let host = "static_resources.listeners[1].filter_chains[0].filters[0].typed_config.route_config.virtual_hosts[0]";
    let full = CASES.iter().find(|case| case.name == "full_otel").context("a case")?;
    let cluster = format!("{}-app", full.name);
    let stage = Stage::start(|config| {
        Ok(config
            .attach(AttachPoint::HttpFilter, "ingress", &ingress())
            .attach(AttachPoint::UpstreamHttpFilter, full.name, &full.plugin()?)
            .set(&format!("{host}.request_mirror_policies"), json!([{"cluster": cluster}]))
            .service("destinations[1]", json!({"cluster": cluster})))
    })
    .await?;
    let requests = stage.ingress().await?;
    poll::until("the mirrored requests and a call of the service", LIMIT, async || {
        let completed = format!("cluster.{cluster}.upstream_rq_completed");
        let completed = stage.envoy.admin().counter(&completed).await?;
        Ok(Seen::when(completed > requests, completed))
    })
    .await?;
    stage.end(|_| 0..=0).await
}

/// Plugins with byte-identical configurations and one `vm_id` share a root context, which then gets streams
/// of every kind.
async fn shared(http_first: bool) -> Result<()> {
    let stage = Stage::start(|mut config| {
        for case in &CASES {
            let (name, plugin) = (case.name, case.plugin()?);
            config = config
                .attach(AttachPoint::HttpFilter, &format!("{name}-http"), &plugin)
                .attach(AttachPoint::NetworkFilter, &format!("{name}-tcp"), &plugin)
                .attach(AttachPoint::HttpLogger, &format!("{name}-log"), &plugin);
        }
        Ok(config)
    })
    .await?;
    for case in &CASES {
        let http = async || match case.kind {
            Kind::Console => {
                stage.answers(&format!("{}-http", case.name), &[(Shape::get("page", "/"), 200)]).await
            }
            _ => stage.http(&format!("{}-http", case.name)).await,
        };
        let tcp = async || match case.kind {
            Kind::LogStream => stage.swallowed(&format!("{}-tcp", case.name)).await,
            _ => stage.tcp(&format!("{}-tcp", case.name)).await,
        };
        if http_first {
            http().await?;
        }
        // Sends HTTP and TCP at the same time, and while another TCP connection is open.
        tcp().await?;
        let open = EchoClient::connect(stage.envoy.listener(&format!("{}-tcp", case.name))?).await?;
        tokio::try_join!(http(), tcp())?;
        stage.http(&format!("{}-log", case.name)).await?;
        open.close().await?;
    }
    // On Envoy 1.36.4 an access logger nevertheless has a separate root context.
    stage.end(|_| 1..=2).await
}

#[tokio::test(flavor = "multi_thread")]
async fn identical_plugins_of_one_vm_take_streams_of_both_kinds_if_http_comes_first() -> Result<()> {
    shared(true).await
}

#[tokio::test(flavor = "multi_thread")]
async fn identical_plugins_of_one_vm_take_streams_of_both_kinds_if_tcp_comes_first() -> Result<()> {
    shared(false).await
}
