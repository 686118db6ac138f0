//! The configuration alone decides metrics and dimensions, and values from untrusted clients are safe.

use std::collections::BTreeSet;

use anyhow::Result;
use serde_json::{Value, json};
use tributary_tests::config::EnvoyConfig;
use tributary_tests::envoy::Envoy;
use tributary_tests::load::{Load, Mix, Shape};
use tributary_tests::metrics::ReceivedAttribute::{self, Bool, Int};
use tributary_tests::scene::{COUNTER, DURATION, Scene};
use tributary_tests::sink::Store;

const REQUESTS: u64 = 2_000;

/// Returns the distinct values of an attribute in the series of a histogram; `None` for series without it.
fn values(store: &Store, metric: &str, key: &str) -> BTreeSet<Option<ReceivedAttribute>> {
    store.histogram_points(metric).into_iter().map(|point| point.attributes.get(key).cloned()).collect()
}

/// Reads a statistic of the modules.
async fn stat(scene: &Scene, name: &str) -> Result<u64> {
    scene.stats().await?.counter(&format!("wasmcustom.tributary_{name}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn dimensions_come_from_attributes_headers_expressions_and_constants() -> Result<()> {
    let dimensions = json!([
        {"name": "backend", "attribute": "xds.cluster_name", "default": "none"},
        {"name": "code", "attribute": "response.code"},
        {"name": "tenant", "request_header": "x-tenant", "default": "nobody", "max_bytes": 6},
        {"name": "region", "request_header": "x-region", "allow": ["eu", "us"]},
        {"name": "length", "response_header": "content-length"},
        {"name": "is_write", "cel": "request.method != 'GET' // a write", "type": "boolean"},
        {"name": "zone", "value": "a"},
        {"name": "http.route", "attribute": "request.path", "paths": {
            "templates": ["/users/{id}", "/payments/**"], "unmatched": "collapse"
        }},
    ]);
    let scene = Scene::start(2, |config| {
        config.worker("dimensions", dimensions).worker("drop", json!(["url.scheme", "http.request.method"]))
    })
    .await?;
    let shapes = [
        Shape::get("user", "/users/17?key=secret")
            .header("x-tenant", "acme")
            .header("x-region", "eu")
            .weight(3),
        Shape::new("order", "POST", "/orders/17").header("x-tenant", "umbrella").header("x-region", "mars"),
        Shape::get("payment", "/payments/1/2/3").header("x-tenant", "").body_bytes(1_000),
        Shape::get("health", "/health"),
    ];
    let tally = scene.load(REQUESTS, shapes).await?;
    scene.wait_for_export(REQUESTS).await?;
    let store = scene.sink.store();
    for (key, value, shapes) in [
        ("backend", "app", &["user", "order", "payment"][..]),
        ("backend", "none", &["health"]),
        ("code", "200", &["user", "order", "payment", "health"]),
        ("tenant", "acme", &["user"]),
        ("tenant", "umbrel", &["order"]),
        ("tenant", "nobody", &["payment", "health"]),
        ("region", "eu", &["user"]),
        ("region", "_OTHER", &["order"]),
        ("length", "2", &["user", "order"]),
        ("length", "1000", &["payment"]),
        ("is_write", "true", &["order"]),
        ("is_write", "false", &["user", "payment", "health"]),
        ("zone", "a", &["user", "order", "payment", "health"]),
        ("http.route", "/users/{id}", &["user"]),
        ("http.route", "/orders/{number}", &["order"]),
        ("http.route", "/payments/**", &["payment"]),
        ("http.route", "/health", &["health"]),
    ] {
        assert_eq!(store.count(DURATION, &[(key, value)]), tally.sent_of(shapes), "{key} {value}");
    }
    assert_eq!(values(&store, DURATION, "code"), [Some(Int(200))].into());
    assert_eq!(values(&store, DURATION, "is_write"), [Some(Bool(false)), Some(Bool(true))].into());
    for dropped in ["url.scheme", "http.request.method"] {
        assert_eq!(values(&store, DURATION, dropped), [None].into(), "{dropped}");
    }
    assert_eq!(stat(&scene, "read_one_by_one").await?, 0);
    assert_eq!(stat(&scene, "values_mistyped").await?, 0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn configured_metrics_and_counters_follow_their_expressions() -> Result<()> {
    let amount = "'x-amount' in request.headers ? int(request.headers['x-amount']) : 0";
    let metrics = json!([
        {"name": "shop.requests", "kind": "counter"},
        {"name": "shop.revenue", "kind": "counter", "value": amount, "unit": "{cent}"},
        {"name": "shop.amount", "kind": "histogram", "value": amount, "bounds": [1, 10, 100]},
        {"name": "shop.wait", "kind": "histogram", "value": "response.backend_latency", "unit": "ms"},
    ]);
    let counters = json!([
        {"key": "requests"},
        {"key": "failures", "condition": "response.code >= 500"},
        {"key": "sales", "condition": format!("({amount}) > 0"), "when": "request"},
    ]);
    let scene = Scene::start(2, |config| {
        config
            .worker("metrics", metrics)
            .worker("counters", counters)
            .worker("drop", json!(["http.server.request.body.size"]))
    })
    .await?;
    let shapes = [
        Shape::get("sale", "/orders").header("x-amount", "7").weight(3),
        Shape::get("large sale", "/orders").header("x-amount", "250"),
        Shape::get("failure", "/orders").status(500),
        Shape::get("health", "/health"),
    ];
    let tally = scene.load(REQUESTS, shapes).await?;
    let (small, large) = (tally.sent_of(&["sale"]), tally.sent_of(&["large sale"]));
    let counted = |store: &Store| {
        let counter = |key| store.sum(COUNTER, &[("key", key)]);
        (store.count(DURATION, &[]), counter("requests"), counter("failures"), counter("sales"))
    };
    let expected = (REQUESTS, REQUESTS, tally.sent_of(&["failure"]), small + large);
    scene.sink.wait_until_equal("the requests and counters", expected, counted).await?;

    let store = scene.sink.store();
    assert_eq!(store.sum("shop.requests", &[]), REQUESTS);
    assert_eq!(store.sum("shop.revenue", &[]), 7 * small + 250 * large);
    assert_eq!(store.count("shop.wait", &[]), REQUESTS - tally.sent_of(&["health"]), "an upstream answered");
    let amounts = store.histogram_points("shop.amount");
    let in_bucket = |at: usize| amounts.iter().map(|point| point.histogram.buckets[at]).sum::<u64>();
    assert_eq!([0, 1, 2, 3].map(in_bucket), [REQUESTS - small - large, small, 0, large]);
    assert!(!store.metrics().contains_key("http.server.request.body.size"));
    assert_eq!(stat(&scene, "read_one_by_one").await?, 0);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn failed_expressions_and_mistyped_values_give_the_default_and_are_counted() -> Result<()> {
    let dimensions = json!([
        {"name": "amount", "cel": "int(request.headers['x-amount'])", "type": "integer", "default": "-1"},
        {"name": "number", "attribute": "request.method", "type": "integer", "default": "5"},
        {"name": "truth", "attribute": "response.code", "type": "boolean"},
    ]);
    let scene = Scene::start(2, |config| config.worker("dimensions", dimensions)).await?;
    let shapes = [
        Shape::get("good", "/orders").header("x-amount", "7").weight(3),
        Shape::get("no number", "/orders").header("x-amount", "seven"),
        Shape::get("absent", "/orders"),
    ];
    let tally = scene.load(REQUESTS, shapes).await?;
    scene.wait_for_export(REQUESTS).await?;
    let store = scene.sink.store();
    let failed = tally.sent_of(&["no number", "absent"]);
    assert_eq!(store.count(DURATION, &[("amount", "7")]), tally.sent_of(&["good"]));
    assert_eq!(store.count(DURATION, &[("amount", "-1")]), failed);
    assert_eq!(values(&store, DURATION, "number"), [Some(Int(5))].into());
    assert_eq!(values(&store, DURATION, "truth"), [None].into());
    assert_eq!(stat(&scene, "read_one_by_one").await?, failed);
    assert!(scene.envoy.log_contains("is one of \"int(request.headers['x-amount'])\" (logged once")?);
    assert_eq!(stat(&scene, "values_mistyped").await?, 2 * REQUESTS);
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn an_expression_that_does_not_compile_is_rejected_with_its_text_and_envoys_reason() -> Result<()> {
    for (expression, reason) in [
        ("request.method ==", "expr_create parse error: ERROR: <input>:1:18: Syntax error"),
        ("request.method.nothing(1)", "expr_create compile error: No overloads provided"),
    ] {
        let config = EnvoyConfig::minimal()?
            .free_ports()
            .worker("dimensions", json!([{"name": "broken", "cel": expression}]));
        let log = Envoy::rejected(&config).await?;
        let expected = format!("Envoy cannot compile the CEL expression {expression:?}");
        assert!(log.contains(&expected) && log.contains(reason), "{log}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn values_that_are_not_utf_8_or_very_long_or_empty_are_safe() -> Result<()> {
    let dimensions = json!([{"name": "tenant", "request_header": "x-tenant", "default": "nobody"}]);
    let manager = "static_resources.listeners[0].filter_chains[0].filters[0].typed_config";
    let scene = Scene::start(2, |config| {
        config.worker("dimensions", dimensions).set(&format!("{manager}.max_request_headers_kb"), 96)
    })
    .await?;
    let shapes = [
        Shape::get("not UTF-8", "/users").header("x-tenant", b"caf\xff"),
        Shape::get("empty", "/users").header("x-tenant", ""),
        Shape::get("long", "/users").header("x-tenant", "x".repeat(64 * 1024)),
        Shape::get("cut within a character", "/users").header("x-tenant", "y".to_owned() + &"é".repeat(200)),
    ];
    let tally = scene.load(REQUESTS, shapes).await?;
    scene.wait_for_export(REQUESTS).await?;
    let store = scene.sink.store();
    let cut = "y".to_owned() + &"é".repeat(127);
    for (value, shape) in [
        ("caf\u{fffd}", "not UTF-8"),
        ("nobody", "empty"),
        (&"x".repeat(256), "long"),
        (&cut, "cut within a character"),
    ] {
        assert_eq!(store.count(DURATION, &[("tenant", value)]), tally.sent_of(&[shape]), "{shape}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hundred_thousand_distinct_values_are_limited_and_all_counted() -> Result<()> {
    const MANY: u64 = 100_000;
    const WORKERS: u32 = 2;
    // The HTTP filter limits the values of the dimension, the access logger the number of series.
    let bounded = json!([{"name": "user", "request_header": "x-user", "max_values": 100}]);
    let unbounded = json!({
        "preset": "none",
        "dimensions": [{"name": "user", "request_header": "x-user"}],
        "metrics": [{"name": "shop.requests", "kind": "counter"}],
        "counters": [],
        "limits": {"series": 500},
        "flush": {"interval": "200ms"},
    });
    let scene = Scene::start(WORKERS, |config| {
        with_logger(
            config.worker("dimensions", bounded).worker("flush", json!({"interval": "2s"})),
            &unbounded,
        )
        .service("limits", json!({"series": 5_000}))
    })
    .await?;
    scene.load(MANY, [Shape::get("users", "/users").numbered_header("x-user")]).await?;
    scene.wait_for_export(MANY).await?;
    let logged = |store: &Store| store.sum("shop.requests", &[]);
    scene.sink.wait_until_equal("the requests of the access logger", MANY, logged).await?;

    let store = scene.sink.store();
    let users: u64 = values(&store, DURATION, "user").len().try_into()?;
    // One of the values is _OTHER; each of the other values was sent once.
    assert!((101..=100 * u64::from(WORKERS) + 1).contains(&users), "{users} values");
    assert_eq!(store.count(DURATION, &[("user", "_OTHER")]) + users - 1, MANY);
    let past = store.sum("shop.requests", &[("user", "_OTHER")]);
    assert!(past > 0, "more values than series");
    Ok(())
}

/// Adds an access logger that runs in the VM of the filter, with another name and configuration.
fn with_logger(config: EnvoyConfig, configuration: &Value) -> EnvoyConfig {
    let manager = "static_resources.listeners[0].filter_chains[0].filters[0].typed_config";
    let filter = config.get(&format!("{manager}.http_filters[0].typed_config.config.vm_config")).cloned();
    let logger = json!({
        "name": "second",
        "typed_config": {
            "@type": "type.googleapis.com/envoy.extensions.access_loggers.wasm.v3.WasmAccessLog",
            "config": {
                "name": "tributary_second",
                "vm_config": filter.ok(),
                "configuration": {
                    "@type": "type.googleapis.com/google.protobuf.Struct",
                    "value": configuration,
                },
            },
        },
    });
    config.set(&format!("{manager}.access_log"), json!([logger]))
}

#[tokio::test(flavor = "multi_thread")]
async fn plugins_that_share_a_vm_measure_independently() -> Result<()> {
    let second = json!({
        "preset": "none",
        "dimensions": [{"name": "path", "attribute": "request.path"}],
        "metrics": [{"name": "shop.entries", "kind": "counter"}],
        "counters": [{"key": "entries"}],
        "flush": {"interval": "200ms"},
    });
    let scene = Scene::start(2, |config| with_logger(config, &second)).await?;
    let tally =
        scene.load(REQUESTS, [Shape::get("users", "/users"), Shape::get("orders", "/orders")]).await?;
    let counted = |store: &Store| {
        let counter = |key| store.sum(COUNTER, &[("key", key)]);
        (store.count(DURATION, &[]), store.sum("shop.entries", &[]), counter("requests"), counter("entries"))
    };
    let expected = (REQUESTS, REQUESTS, REQUESTS, REQUESTS);
    scene.sink.wait_until_equal("the counts of both plugins", expected, counted).await?;
    let store = scene.sink.store();
    assert_eq!(store.sum("shop.entries", &[("path", "/users")]), tally.sent_of(&["users"]));
    assert_eq!(store.count(DURATION, &[("http.route", "orders")]), tally.sent_of(&["orders"]));
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_in_flight_are_a_sum_that_rises_and_falls_to_zero() -> Result<()> {
    let active = "http.server.active_requests";
    let scene = Scene::start(2, |config| config.worker("in_flight", true)).await?;
    let hanging = Mix::new(20, [Shape::get("hanging", "/users").delay_ms(60_000)])?;
    let load = Load::new(scene.envoy.listener("ingress")?, 16, hanging);
    let hanging = tokio::spawn(async move { load.run(|_| ()).await });
    let counted = |store: &Store| (store.number_points(active).len(), store.sum(active, &[]));
    scene.sink.wait_until_equal("the series and requests in flight", (1, 16), counted).await?;
    // The clients close their connections.
    hanging.abort();
    scene.sink.wait_until_equal("the series and requests in flight", (1, 0), counted).await?;
    scene.wait_for_export(16).await?;
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn the_trace_of_the_slowest_request_in_a_batch_is_kept() -> Result<()> {
    let requests = 200;
    // One worker, and one flush of all requests.
    let flush = json!({"interval": "5m", "max_requests": requests});
    let scene = Scene::start(1, |config| config.worker("exemplars", true).worker("flush", flush)).await?;
    let trace = |name: &str, digit: &str, flags: &str| {
        let traceparent = format!("00-{}-{}-{flags}", digit.repeat(32), digit.repeat(16));
        Shape::get(name, "/users").header("traceparent", traceparent)
    };
    let shapes = [
        trace("quick", "1", "01").weight(90),
        trace("slow", "2", "01").delay_ms(200).weight(5),
        trace("slower, but not sampled", "3", "00").delay_ms(400).weight(5),
    ];
    let tally = scene.load(requests, shapes).await?;
    assert!(tally.shapes.values().all(|shape| shape.sent() > 0));
    scene.sink.wait_until_equal("the requests", requests, |store| store.count(DURATION, &[])).await?;
    let points = scene.sink.store().exemplars(DURATION);
    let exemplars: Vec<_> = points.iter().flat_map(|point| &point.exemplars).collect();
    let [exemplar] = exemplars.as_slice() else { panic!("{exemplars:?}") };
    assert_eq!((&*exemplar.trace_id, &*exemplar.span_id), (&*"2".repeat(32), &*"2".repeat(16)));
    assert!(exemplar.value >= 0.2, "{exemplar:?}");
    Ok(())
}
