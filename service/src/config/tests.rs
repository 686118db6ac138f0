use super::*;

#[test]
fn only_the_cluster_is_required() {
    let config = ServiceConfig::parse(br#"{"destinations": [{"cluster": "collector"}]}"#).unwrap();
    let expected = DestinationConfig {
        name: "collector".into(),
        cluster: "collector".into(),
        encoding: Encoding::OtlpProtobuf,
        compression: Compression::None,
        temporality: Temporality::Cumulative,
        on_ambiguous: AmbiguousAction::Retry,
        max_bytes: 1024 * 1024,
        path: "/v1/metrics".into(),
        authority: "collector".into(),
        headers: vec![],
        interval: Duration::from_secs(10),
        timeout: Duration::from_secs(10),
        backoff: Backoff::new(Duration::from_secs(1), Duration::from_secs(60)),
    };
    assert_eq!(
        config,
        ServiceConfig {
            destinations: vec![expected],
            resource: vec![],
            values: vec![],
            series_max: 2_000,
            idle: Some(IDLE),
            self_metrics: true,
        }
    );
}

#[test]
fn every_key_is_read() {
    let json = br#"{"interval": "1s", "resource": {"service.name": "edge"}, "limits": {"series": 5, "idle": "0s"}, "self_metrics": false, "destinations": [
        {"cluster": "a"},
        {"name": "b", "cluster": "a", "path": "/x", "authority": "h:1", "headers": {"x-tenant": "t"},
         "interval": "2s", "timeout": "3s", "encoding": "otlp_json", "compression": "gzip", "temporality": "delta",
         "on_ambiguous": "drop", "max_bytes": 20000, "retry": {"initial_interval": "20ms", "max_interval": "5s"}}]}"#;
    let config = ServiceConfig::parse(json).unwrap();
    let [first, second] = config.destinations.as_slice() else { panic!("two destinations") };
    assert_eq!(first.interval, Duration::from_secs(1));
    assert_eq!((second.interval, second.timeout), (Duration::from_secs(2), Duration::from_secs(3)));
    assert_eq!(second.backoff, Backoff::new(Duration::from_millis(20), Duration::from_secs(5)));
    assert_eq!((second.path.as_str(), second.authority.as_str()), ("/x", "h:1"));
    assert_eq!(second.headers, [("x-tenant".to_owned(), "t".to_owned())]);
    assert_eq!(config.resource, [("service.name".to_owned(), "edge".to_owned())]);
    assert_eq!((config.series_max, config.idle, config.self_metrics), (5, None, false));
    assert_eq!((second.encoding, second.compression), (Encoding::OtlpJson, Compression::Gzip));
    assert_eq!((second.temporality, second.max_bytes), (Temporality::Delta, 20_000));
    assert_eq!(second.on_ambiguous, AmbiguousAction::Drop);
}

#[test]
fn remote_write_has_one_temporality_and_one_compression() {
    let parse = |more: &str| {
        let json = format!(r#"{{"destinations": [{{"cluster": "a", "encoding": "remote_write"{more}}}]}}"#);
        ServiceConfig::parse(json.as_bytes())
    };
    assert_eq!(parse("").unwrap().destinations[0].path, "/api/v1/write");
    let problems = parse(r#", "temporality": "delta", "compression": "gzip""#).unwrap_err();
    let paths: Vec<&str> = problems.iter().map(|problem| problem.path.as_str()).collect();
    assert_eq!(paths, ["destinations[0].temporality", "destinations[0].compression"]);
}

#[test]
fn cumulative_points_are_never_dropped_as_ambiguous() {
    let json = br#"{"destinations": [{"cluster": "a", "on_ambiguous": "drop"}]}"#;
    let problems = ServiceConfig::parse(json).unwrap_err();
    let paths: Vec<&str> = problems.iter().map(|problem| problem.path.as_str()).collect();
    assert_eq!(paths, ["destinations[0].on_ambiguous"]);
}

/// Each destination has statistics under its name.
#[test]
fn names_that_are_equal_in_statistics_are_rejected() {
    for (one, other, is_taken) in
        [("otel.a", "otel-a", true), ("otel.a", "otel_a", false), ("東京", "大阪", false)]
    {
        let json =
            format!(r#"{{"destinations": [{{"name": "{one}", "cluster": "c"}}, {{"cluster": "{other}"}}]}}"#);
        let problems = ServiceConfig::parse(json.as_bytes()).err();
        let problems: Vec<String> =
            problems.iter().flat_map(|all| all.iter().map(ToString::to_string)).collect();
        let expected = format!(
            r#"destinations[1].name: found "{other}" beside "{one}", allowed: names that differ in a letter, a digit, '_' or '-': in statistics, all other characters are '_'"#
        );
        assert_eq!(problems, if is_taken { vec![] } else { vec![expected] });
    }
}

#[test]
fn all_problems_are_reported_at_once_without_secrets() {
    let json = r#"{"interval": "1ms", "destinations": [{"name": "a"}, {"cluster": "b", "path": "x", "timeout": "0s"},
        {"cluster": "b", "headers": {"Host": "h", "x-key": "se\ncret"}}], "resource": [], "intervall": "1s"}"#;
    let problems = ServiceConfig::parse(json.as_bytes()).unwrap_err();
    let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
    assert_eq!(
        problems,
        [
            r#"interval: found "1ms", allowed: a duration from 100ms to 1h, such as "1s" or "250ms""#,
            "destinations[0].cluster: found nothing, allowed: text of 1 to 255 bytes",
            r#"destinations[1].timeout: found "0s", allowed: a duration from 10ms to 5m, such as "1s" or "250ms""#,
            r#"destinations[1].path: found "x", allowed: a path that begins with '/' and has no blanks"#,
            r#"destinations[2].headers: found "Host", allowed: lower-case header names, without x-envoy- and those that the service sets itself"#,
            r#"destinations[2].headers: found a control character in the value of "x-key", allowed: printable text"#,
            r#"destinations[2].name: found "b" again, allowed: unique names (the default is the name of the cluster)"#,
            "resource: found a list of 0, allowed: an object of at most 32 texts of at most 1024 bytes",
            "intervall: found an unknown key, allowed: one of interval, destinations, values, resource, limits, self_metrics",
        ]
    );
    assert!(ServiceConfig::parse(b"").is_err(), "destinations or values are required");
}

#[test]
fn values_have_defaults() {
    let json = br#"{"values": [{"name": "jwt", "cluster": "auth", "path": "/token", "method": "POST", "headers": {"x-a": "b"},
        "body": "grant", "every": "15s", "timeout": "1s", "from": "json:/access_token", "expires_by": "jwt",
        "refresh_before": "5s", "keep_on_failure": "1m", "max_bytes": 4096},
        {"name": "flags", "cluster": "auth", "path": "/flags"}]}"#;
    let config = ServiceConfig::parse(json).unwrap();
    assert_eq!(config.destinations, [], "values need no destination");
    let [jwt, flags] = &config.values[..] else { panic!("two") };
    assert_eq!((jwt.method, jwt.authority.as_str(), jwt.max_bytes), ("POST", "auth", 4_096));
    assert_eq!(
        (jwt.policy.every, jwt.policy.refresh_before),
        (Duration::from_secs(15), Duration::from_secs(5))
    );
    assert_eq!((flags.method, flags.policy.every), ("GET", Duration::from_secs(60)));
}

/// The service sets the content type of exports. Fetching a token with a form needs its own.
#[test]
fn headers_that_the_service_or_envoy_uses_are_rejected_but_the_content_type_of_a_value() {
    let json = br#"{"destinations": [{"cluster": "c", "headers": {"content-encoding": "gzip", "content-type": "text/plain", "x-envoy-retry-on": "reset"}}],
        "values": [{"name": "jwt", "cluster": "auth", "path": "/", "method": "POST", "body": "grant_type=client_credentials",
        "headers": {"content-type": "application/x-www-form-urlencoded"}}]}"#;
    let problems = ServiceConfig::parse(json).unwrap_err();
    let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
    let problem = |header: &str| {
        format!(
            r#"destinations[0].headers: found "{header}", allowed: lower-case header names, without x-envoy- and those that the service sets itself"#
        )
    };
    assert_eq!(problems, ["content-encoding", "content-type", "x-envoy-retry-on"].map(problem));
}

#[test]
fn every_problem_of_a_value_is_reported() {
    let json = br#"{"values": [{"name": "a b", "cluster": "c", "path": "x", "from": "cookie", "headers": {"Host": "h"}},
        {"name": "a", "cluster": "c", "path": "/", "every": "1ms"}, {"name": "a", "cluster": "c", "path": "/"}]}"#;
    let problems = ServiceConfig::parse(json).unwrap_err();
    let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
    assert_eq!(
        problems,
        [
            r#"values[0].headers: found "Host", allowed: lower-case header names, without x-envoy- and those that the service sets itself"#,
            r#"values[0].from: found "cookie", allowed: body, header:NAME in lower case, or json:/POINTER"#,
            r#"values[0].name: found "a b", allowed: letters, digits, '_', '.' and '-'"#,
            r#"values[0].path: found "x", allowed: a path that begins with '/' and has no blanks"#,
            r#"values[1].every: found "1ms", allowed: a duration from 1s to 24h, such as "1s" or "250ms""#,
            r#"values[2].name: found "a" again, allowed: each name once"#,
        ]
    );
}
