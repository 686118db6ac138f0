//! Rare situations on a real Envoy: header values that are not UTF-8, a log that is off, late responses,
//! streams of a VM that was replaced, and rejected configurations. No VM traps, and the counts are right.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use tributary_tests::config::{AttachPoint, AttachedPlugin, EnvoyConfig, SERVICE_PLUGIN};
use tributary_tests::echo::EchoClient;
use tributary_tests::envoy::{Envoy, EnvoyOptions};
use tributary_tests::load::{Load, Mix, Shape, Tally};
use tributary_tests::poll::{self, Seen};
use tributary_tests::scene::{DURATION, LIMIT, Scene};
use tributary_tests::servers::Servers;
use tributary_tests::sink::{Fault, Sink, Store};
use tributary_tests::trap;
use tributary_tests::upstream::ECHO_HEADER;

const REQUESTS: u64 = 40;
/// Values that are not UTF-8 (a stray byte, an unfinished sequence, a surrogate, an overlong sequence), and
/// an empty value.
const ODD: [&[u8]; 6] =
    [b"caf\xff", b"\xe2\x82", b"\xed\xa0\x80", b"\xf8\x88\x80\x80\x80", &[0x80; 4_000], b""];

/// The configuration of a worker whose series name its attach point.
fn at(point: &str, more: Value) -> Value {
    let mut configuration = json!({
        "flush": {"interval": "200ms"},
        "dimensions": [
            {"name": "at", "value": point},
            {"name": "odd", "request_header": "x-odd"},
            {"name": "echo", "response_header": ECHO_HEADER}
        ]
    });
    if let (Value::Object(fields), Value::Object(more)) = (&mut configuration, more) {
        fields.extend(more);
    }
    configuration
}

/// Header rules and a tap that read every request.
fn all_of_full() -> Value {
    json!({
        "headers": [
            {"name": "x-copy", "value": "{attribute:request.useragent}"},
            {"on": "response", "name": "x-copy", "value": "{attribute:request.referer}"}
        ],
        "tap": {"condition": "true", "per_minute": 1000, "body_bytes": 16}
    })
}

async fn load(envoy: &Envoy, listener: &str, shapes: impl IntoIterator<Item = Shape>) -> Result<Tally> {
    let load =
        Load { connections: 2, ..Load::new(envoy.listener(listener)?, REQUESTS, Mix::in_turn(shapes)?) };
    load.run(|_| ()).await
}

fn users() -> [Shape; 1] {
    [Shape::get("users", "/users/1")]
}

/// Waits until the collector has this number of requests from each of these points.
async fn wait_for(sink: &Sink, points: &[&str], requests: u64) -> Result<()> {
    let counted = |store: &Store| {
        points.iter().map(|point| store.count(DURATION, &[("at", point)])).collect::<Vec<_>>()
    };
    let all =
        |store: &Store| Seen::when(counted(store).iter().all(|count| *count == requests), counted(store));
    sink.wait_until(&format!("{requests} requests at each of {points:?}"), LIMIT, all).await?;
    ensure!(sink.problems().is_empty(), "{:?}", sink.problems());
    Ok(())
}

/// Ends Envoy, and expects that no VM trapped.
async fn end(mut envoy: Envoy) -> Result<()> {
    assert_eq!(envoy.reloads().await?, [].into());
    ensure!(envoy.terminate(LIMIT).await?.success(), "{}", envoy.log()?);
    assert_eq!(envoy.traps()?, Vec::<String>::new());
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn header_values_that_are_not_utf_8_pass_and_are_counted() -> Result<()> {
    let servers = Servers::start().await?;
    let points = [
        ("filter", AttachPoint::HttpFilter, "worker_filter", json!({})),
        ("logger", AttachPoint::HttpLogger, "worker_filter", json!({})),
        ("upstream", AttachPoint::UpstreamHttpFilter, "worker_filter", json!({})),
        ("full_filter", AttachPoint::HttpFilter, "worker_filter_full", all_of_full()),
        ("full_logger", AttachPoint::HttpLogger, "worker_filter_full", json!({})),
        ("full_upstream", AttachPoint::UpstreamHttpFilter, "worker_filter_full", all_of_full()),
    ];
    let mut config = servers.config()?;
    for (name, point, module, more) in &points {
        config = config.attach(*point, name, &AttachedPlugin::new(name, module, &at(name, more.clone())));
    }
    let console = AttachedPlugin::new("console", "console", &json!({}));
    let config = config.attach(AttachPoint::HttpFilter, "console", &console).free_ports();
    let envoy = Envoy::start(&config, &EnvoyOptions::workers(1)).await?;

    let odd = |path: &str| -> Vec<Shape> {
        let named = [
            "x-odd",
            ECHO_HEADER,
            "user-agent",
            "referer",
            "accept",
            "content-type",
            "cookie",
            "x-request-id",
        ];
        let shapes = ODD.iter().enumerate().map(|(number, value)| {
            let shape = Shape::new(&number.to_string(), "POST", path).body(*value);
            named.iter().fold(shape, |shape, name| shape.header(name, value))
        });
        shapes.collect()
    };
    for (name, ..) in &points {
        let tally = load(&envoy, name, odd("/users/1")).await?;
        ensure!(tally.by_status() == [(200, REQUESTS)].into(), "{name}: {tally:?}");
    }
    // The console flushes nothing before the service's first heartbeat.
    wait_for(&servers.sink, &points.each_ref().map(|(name, ..)| *name), REQUESTS).await?;
    let tally = load(&envoy, "console", odd("/flush?timeout_ms=1")).await?;
    ensure!(
        tally.failed() == 0 && tally.by_status().keys().all(|status| [200, 202].contains(status)),
        "{tally:?}"
    );
    end(envoy).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_collector_whose_headers_are_not_utf_8_gets_everything_in_the_end() -> Result<()> {
    let servers = Servers::start().await?;
    let retry = json!({"initial_interval": "100ms", "max_interval": "200ms"});
    let filter = AttachedPlugin::new("filter", "worker_filter", &at("filter", json!({})));
    let config = servers.config()?.service("destinations[0].retry", retry).free_ports();
    let envoy = Envoy::start(
        &config.attach(AttachPoint::HttpFilter, "filter", &filter).free_ports(),
        &EnvoyOptions::workers(1),
    )
    .await?;
    for status in [503, 429, 400, 200] {
        for value in ODD {
            let fault = Fault::status(status).header("retry-after", value).header("content-type", value);
            servers.sink.fail_next(1, &fault.header("content-encoding", value).header("server", value));
        }
    }
    let mut sent = 0;
    while servers.sink.received().len() < 4 * ODD.len() {
        load(&envoy, "filter", users()).await?;
        sent += REQUESTS;
        let before = servers.sink.received().len();
        poll::until("another export", LIMIT, async || {
            let received = servers.sink.received().len();
            Ok(Seen::when(received > before, received))
        })
        .await?;
    }
    wait_for(&servers.sink, &["filter"], sent).await?;
    end(envoy).await
}

#[tokio::test(flavor = "multi_thread")]
async fn modules_work_where_envoy_logs_nothing() -> Result<()> {
    for arguments in
        [["--log-level", "off"], ["--log-level", "critical"], ["--component-log-level", "wasm:off"]]
    {
        let servers = Servers::start().await?;
        let tap = at("full", all_of_full());
        let config = servers
            .config()?
            .attach(
                AttachPoint::HttpFilter,
                "filter",
                &AttachedPlugin::new("filter", "worker_filter", &at("filter", json!({}))),
            )
            .attach(
                AttachPoint::HttpLogger,
                "logger",
                &AttachedPlugin::new("logger", "worker_filter", &at("logger", json!({}))),
            )
            .attach(AttachPoint::HttpFilter, "full", &AttachedPlugin::new("full", "worker_filter_full", &tap))
            .attach(
                AttachPoint::NetworkFilter,
                "tcp",
                &AttachedPlugin::new(
                    "tcp",
                    "worker_filter_full",
                    &json!({"preset": "tcp", "flush": {"interval": "200ms"}}),
                ),
            )
            // Attached at a wrong point, which is an error in the log unless the log is off.
            .attach(
                AttachPoint::NetworkFilter,
                "wrong",
                &AttachedPlugin::new("wrong", "worker_filter", &json!({})),
            )
            .attach(
                AttachPoint::HttpFilter,
                "console",
                &AttachedPlugin::new("console", "console", &json!({})),
            );
        let options =
            EnvoyOptions { arguments: arguments.map(str::to_owned).into(), ..EnvoyOptions::workers(1) };
        let envoy = Envoy::start(&config.free_ports(), &options).await?;
        for listener in ["filter", "logger", "full"] {
            let tally = load(&envoy, listener, users()).await?;
            ensure!(tally.by_status() == [(200, REQUESTS)].into(), "{arguments:?}, {listener}: {tally:?}");
        }
        for listener in ["tcp", "wrong"] {
            let mut client = EchoClient::connect(envoy.listener(listener)?).await?;
            client.exchange(b"echo").await?;
            client.close().await?;
        }
        let page = reqwest::get(format!("http://{}/", envoy.listener("console")?)).await?;
        assert_eq!(page.status(), 200);
        wait_for(&servers.sink, &["filter", "logger", "full"], REQUESTS).await?;
        let opened = |store: &Store| store.sum("tcp.connections.opened", &[]);
        let one = |store: &Store| Seen::when(opened(store) == 1, opened(store));
        servers.sink.wait_until("the connection", LIMIT, one).await?;
        ensure!(!envoy.log_contains("tributary: ")?, "{arguments:?}: {}", envoy.log()?);
        end(envoy).await.with_context(|| format!("{arguments:?}"))?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_response_to_a_call_of_a_replaced_vm_is_ignored() -> Result<()> {
    let module = trap::service_on_fault()?;
    let deltas = Sink::start(0).await?.allowing_gaps();
    let mut scene = Scene::of("envoy/self_healing.yaml", "otlp_collector", 1, |config| {
        config
            .set("stats_flush_interval", "0.2s")
            .static_cluster("deltas", deltas.address())
            .service("destinations[1]", json!({"cluster": "deltas", "temporality": "delta"}))
            .module(SERVICE_PLUGIN, &module)
    })
    .await?;
    // The collector answers one call after this delay, when the service has trapped already.
    let (delay, before) = (Duration::from_secs(5), scene.sink.received().len());
    scene.sink.fail_next(1, &Fault::Slow { delay });
    scene.load(REQUESTS, users()).await?;
    let called = poll::until("a call with a slow answer", LIMIT, async || {
        let call = scene.sink.received().into_iter().nth(before);
        Ok(call.map_or_else(|| Seen::Pending("none".to_owned()), |call| Seen::Ready(call.at)))
    })
    .await?;
    deltas.fail_next(1, &Fault::status(503));
    scene.load(REQUESTS, users()).await?;
    poll::until("the service to be replaced", LIMIT, async || {
        let reloads = scene.envoy.reloads().await?;
        Ok(Seen::when(!reloads.is_empty(), reloads))
    })
    .await?;
    ensure!(called.elapsed() < delay, "the answer came before");
    poll::until("the slow answer", LIMIT, async || {
        Ok(Seen::when(called.elapsed() > delay, called.elapsed()))
    })
    .await?;
    scene.load(REQUESTS, users()).await?;
    let exported = |store: &Store| store.count(DURATION, &[]);
    let all = |store: &Store| Seen::when(exported(store) >= REQUESTS, exported(store));
    deltas.wait_until("what came afterwards", LIMIT, all).await?;
    let reloads = scene.envoy.reloads().await?;
    assert_eq!(reloads.get("wasm.tributary_service.vm_reload_success"), Some(&1), "{reloads:?}");
    ensure!(scene.envoy.terminate(LIMIT).await?.success());
    let traps = scene.envoy.traps()?;
    assert_eq!(traps.iter().filter(|line| line.contains("Function: ")).count(), 1, "{traps:#?}");
    Ok(())
}

/// A VM ends with an HTTP stream and a connection open at each attach point.
#[tokio::test(flavor = "multi_thread")]
async fn streams_that_outlive_their_vm_cause_no_trap_in_the_next_one() -> Result<()> {
    for module in ["worker_filter", "worker_filter_full"] {
        let servers = Servers::start().await?;
        let file = trap::worker(&format!("{module}.wasm"))?;
        let http = AttachedPlugin::new("http", module, &at("http", json!({}))).file(&file);
        let tcp = AttachedPlugin::new("tcp", module, &json!({"preset": "tcp", "report_interval": "200ms"}))
            .file(&file);
        let config = servers
            .config()?
            .attach(AttachPoint::HttpFilter, "filter", &http)
            .attach(AttachPoint::HttpLogger, "logger", &http)
            .attach(AttachPoint::NetworkFilter, "tcp_filter", &tcp)
            .attach(AttachPoint::TcpLogger, "tcp_logger", &tcp);
        let mut envoy = Envoy::start(&config.free_ports(), &EnvoyOptions::workers(1)).await?;
        let slow = || Mix::in_turn([Shape::get("slow", "/users/1").delay_ms(3_000)]);
        let open =
            |listener| Ok::<_, anyhow::Error>(Load::new(envoy.listener(listener)?, 16, slow()?).start());
        let (filtered, logged) = (open("filter")?, open("logger")?);
        let mut passed = EchoClient::connect(envoy.listener("tcp_logger")?).await?;
        let mut cut = EchoClient::connect(envoy.listener("tcp_filter")?).await?;
        passed.exchange(b"before").await?;
        cut.exchange(b"before").await?;
        poll::until("the streams to be open", LIMIT, async || {
            let received = servers.upstream.served().received;
            Ok(Seen::when(received == 32, received))
        })
        .await?;
        let trap = Load {
            connections: 1,
            ..Load::new(
                envoy.listener("logger")?,
                1,
                Mix::in_turn([Shape::get("trap", "/users/1").header(trap::HEADER, "1")])?,
            )
        };
        assert_eq!(trap.run(|_| ()).await?.by_status(), [(200, 1)].into());
        envoy.wait_for_log("Function: proxy_on_log failed", LIMIT).await?;
        // Envoy answers for the filter of a VM that has failed.
        assert_eq!(filtered.stop().await?.by_status(), [(503, 16)].into());
        assert_eq!(logged.stop().await?.by_status(), [(200, 16)].into());
        passed.exchange(b"after").await?;
        cut.send_until_closed(b"after").await?;
        poll::until("the filters to have VMs again", LIMIT, async || {
            let statuses = load(&envoy, "filter", users()).await?.by_status();
            let mut client = EchoClient::connect(envoy.listener("tcp_filter")?).await?;
            let is_back = client.exchange(b"again").await.is_ok();
            Ok(Seen::when(is_back && statuses == [(200, REQUESTS)].into(), (statuses, is_back)))
        })
        .await?;
        passed.close().await?;
        load(&envoy, "logger", users()).await?;
        ensure!(envoy.terminate(LIMIT).await?.success());
        let traps = envoy.traps()?;
        assert_eq!(
            traps.iter().filter(|line| line.contains("Function: ")).count(),
            1,
            "{module}: {traps:#?}"
        );
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rejected_configuration_that_is_tried_again_changes_nothing() -> Result<()> {
    for module in ["worker_filter", "worker_filter_full"] {
        let servers = Servers::start().await?;
        let base = servers.config()?;
        let with = |base: &EnvoyConfig, plugin: AttachedPlugin| {
            base.clone().attach(AttachPoint::HttpFilter, "ingress", &plugin)
        };
        let plugin = |phase: &str| AttachedPlugin::new("worker", module, &at(phase, json!({})));
        let wrong = |more: Value| AttachedPlugin::new("worker", module, &at("wrong", more));
        let rejected = [
            wrong(json!({"flsh": 1})),
            wrong(json!({"metrics": [{"name": "x", "value": "request.size +", "kind": "counter"}]})),
            // One plugin has its own VM, which lacks capabilities. The other plugin fails while it is
            // configured.
            wrong(json!({})).vm_configuration("restricted").allow([
                "proxy_on_context_create",
                "proxy_on_configure",
                "proxy_log",
            ]),
            wrong(json!({})).vm_configuration("failing").allow(["proxy_on_configure", "proxy_log"]),
        ];
        let first = with(&base, plugin("first")).free_ports().listeners_in_file();
        let mut envoy = Envoy::start(&first, &EnvoyOptions::fast_drain(1)).await?;
        let port = first.listener_address("ingress")?.port();
        let update = async |envoy: &Envoy, plugin: AttachedPlugin, outcome: &str| {
            let name = format!("listener_manager.lds.update_{outcome}");
            let before = envoy.admin().counter(&name).await?;
            let config = with(&base, plugin).listener_port("ingress", port);
            envoy.update_listeners(&config)?;
            poll::until(&name, LIMIT, async || {
                let now = envoy.admin().counter(&name).await?;
                Ok(Seen::when(now > before, now))
            })
            .await
        };
        let mut sent = 0;
        for phase in ["first", "second"] {
            if phase == "second" {
                update(&envoy, plugin(phase), "success").await?;
                sent = 0;
            }
            for rejected in &rejected {
                update(&envoy, rejected.clone(), "rejected").await?;
                let tally = load(&envoy, "ingress", users()).await?;
                ensure!(tally.by_status() == [(200, REQUESTS)].into(), "{phase}: {tally:?}");
                sent += REQUESTS;
                wait_for(&servers.sink, &[phase], sent).await?;
            }
        }
        assert_eq!(servers.sink.store().count(DURATION, &[("at", "wrong")]), 0);
        assert_eq!(envoy.reloads().await?, [].into());
        ensure!(envoy.terminate(LIMIT).await?.success());
        // VMs trap only where the test expects it: without a context, before any stream, once each time.
        let traps = envoy.traps()?;
        let failed: Vec<_> = traps.iter().filter(|line| line.contains("Function: ")).collect();
        let as_wanted = failed.iter().all(|line| line.contains("Function: proxy_on_configure failed"));
        ensure!(failed.len() == 2 && as_wanted, "{module}: {traps:#?}");
    }
    Ok(())
}
