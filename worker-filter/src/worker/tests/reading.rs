//! The CEL list with which a worker reads the attributes of a stream.

use super::*;

#[test]
fn the_plain_list_is_tried_again_after_five_streams() {
    fake::reset();
    let mut worker = worker("");
    for _ in 0..100 {
        observe(&mut worker, request("a").into_iter().filter(|(at, _)| *at != "response.code").collect());
    }
    let evaluations = fake::with(|host| host.streams.evaluations);
    assert_eq!(evaluations, 120, "one failure in five streams that would all have failed");
}

#[test]
fn after_an_absent_attribute_the_guarded_list_is_tried_first_for_a_while() {
    fake::reset();
    let token = service();
    let mut worker = worker("");
    let without = |path: &str| request("a").into_iter().filter(|(at, _)| *at != path).collect::<Vec<_>>();
    let mut evaluations = Vec::new();
    for attributes in [without("response.code"), without("xds.route_name"), request("a")] {
        observe(&mut worker, attributes);
        evaluations.push(fake::with(|host| std::mem::take(&mut host.streams.evaluations)));
    }
    assert_eq!(evaluations, [2, 1, 1]);
    worker.flush();
    let batch = batches(token).remove(0);
    assert_eq!((batch.observations(), batch.groups[0].series.len()), (3, 3));
    assert_eq!(fake::with(|host| host.stat("tributary_read_one_by_one")), 0);
}

#[test]
fn values_that_were_absent_recently_have_guards() {
    fake::reset();
    let token = service();
    let mut worker = worker(r#"{"dimensions": [{"name": "tenant", "request_header": "x-tenant"}]}"#);
    let evaluations = |worker: &mut TestWorker, tenant: Option<&str>| {
        let mut attributes = request("a");
        attributes.extend(tenant.map(|tenant| ("request.headers.x-tenant", tenant.as_bytes().to_vec())));
        observe(worker, attributes);
        fake::with(|host| std::mem::take(&mut host.streams.evaluations))
    };
    assert_eq!(evaluations(&mut worker, None), 1, "a header has a guard at first");
    for _ in 0..100 {
        evaluations(&mut worker, Some("acme"));
    }
    worker.tick();
    assert_eq!(evaluations(&mut worker, Some("acme")), 1);
    assert_eq!(evaluations(&mut worker, None), 2, "not after it was always present");
    for _ in 0..100 {
        evaluations(&mut worker, None);
    }
    worker.tick();
    assert_eq!(evaluations(&mut worker, None), 1, "and again after it was often absent");
    worker.flush();
    let tenants: Vec<_> = batches(token)
        .iter()
        .flat_map(|batch| &batch.groups[0].series)
        .map(|series| (attribute(series, "tenant"), series.observations))
        .collect();
    let count = |name: &str| -> u64 {
        tenants.iter().filter(|(tenant, _)| tenant == name).map(|(_, count)| count).sum()
    };
    assert_eq!((count("acme"), count("None")), (101, 103));
}

#[test]
fn an_expression_that_fails_for_a_stream_loses_only_its_own_value() {
    fake::reset();
    let token = service();
    let json = r#"{"dimensions": [{"name": "tenant", "cel": "tenant(request)", "default": "none"}]}"#;
    let mut worker = worker(json);
    observe(&mut worker, request("a"));
    let mut known = request("a");
    known.push(("tenant(request)", b"acme".to_vec()));
    observe(&mut worker, known);
    worker.flush();
    let batch = batches(token).remove(0);
    let mut tenants: Vec<_> =
        batch.groups[0].series.iter().map(|series| attribute(series, "tenant")).collect();
    tenants.sort();
    assert_eq!(tenants, ["acme", "none"]);
    assert_eq!(fake::with(|host| host.stat("tributary_read_one_by_one")), 1);
    let logged = fake::with(|host| host.logged(LogLevel::Warn).join(" "));
    assert!(logged.contains("is one of \"tenant(request)\" (logged once"), "{logged}");
}

#[test]
fn an_expression_that_does_not_compile_is_rejected() {
    fake::reset();
    let json = br#"{"counters": [{"key": "a", "condition": "BROKEN("}]}"#;
    let config = WorkerConfig::parse(json).unwrap();
    let error = TestWorker::new(config, [7, 8, 9], BuildHasherDefault::default()).unwrap_err();
    assert_eq!(error.source.written(), "BROKEN(");
}
