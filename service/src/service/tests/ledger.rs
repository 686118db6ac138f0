//! The ledger of each destination, over several services of a process and over hot restarts.

use tributary_host::fake::stats::FakeStats;

use tributary_host::stats::Counter;
use tributary_proto::limits::BATCHES_ENQUEUED;

use super::*;

/// The numbers of exported and waiting observations, and of those dropped by reason: table, collector, trap.
fn ledger(destination: &str) -> [u64; 5] {
    ledger_of("_", destination)
}

/// As [`ledger`], for the service whose statistics have this `vm_id` in their names.
fn ledger_of(vm_id: &str, destination: &str) -> [u64; 5] {
    let parts = ["exported.D", "waiting.D", "dropped.D.table", "dropped.D.collector", "dropped.D.trap"];
    let name = |part: &str| format!("observations_{}", part.replace('D', &format!("{vm_id}.{destination}")));
    let parts = parts.map(|part| stat(&name(part)));
    let aggregated = stat(&format!("observations_aggregated.{vm_id}"));
    assert_eq!(parts.iter().sum::<u64>(), aggregated, "{destination}: {parts:?}");
    parts
}

fn of(destinations: &str) -> Vm {
    service(&format!(r#"{{"interval": "1s", "destinations": [{destinations}]}}"#))
}

/// The sum of the metric `requests` in the last export.
fn last_requests() -> i64 {
    last_sums().iter().filter(|(name, _)| name == "requests").map(|(_, value)| value).sum()
}

#[test]
fn observations_wait_until_a_cycle_is_accepted() {
    for more in ["", r#", "temporality": "delta""#] {
        fake::reset();
        let service = of(&format!(r#"{{"cluster": "c"{more}}}"#));
        enqueue(&batch(1, &[("a", 5)]));
        service.queue_ready();
        assert_eq!(ledger("c"), [0, 5, 0, 0, 0]);
        tick_at(&service, 1);
        enqueue(&batch(2, &[("a", 5)]));
        service.queue_ready();
        assert_eq!(ledger("c"), [0, 10, 0, 0, 0], "it is in flight");
        respond(&service, "503");
        assert_eq!(ledger("c"), [0, 10, 0, 0, 0], "it is retried");
        tick_at(&service, 3);
        enqueue(&batch(3, &[("a", 5)]));
        respond(&service, "200");
        service.queue_ready();
        assert_eq!(ledger("c"), [10, 5, 0, 0, 0], "newer observations wait");
        tick_at(&service, 5);
        respond(&service, "200");
        assert_eq!(ledger("c"), [15, 0, 0, 0, 0]);
    }
}

#[test]
fn rejected_sums_wait_and_rejected_deltas_are_dropped() {
    fake::reset();
    let service = of(r#"{"cluster": "sums"}, {"cluster": "deltas", "temporality": "delta"}"#);
    for (seconds, status) in [(1, "400"), (2, "200")] {
        enqueue(&batch(seconds, &[("a", 5)]));
        let first = posts() + 1;
        tick_at(&service, seconds);
        for token in first..=posts() {
            respond_to(&service, token, status, vec![]);
        }
        let (sums, deltas) = (ledger("sums"), ledger("deltas"));
        let expected = if status == "400" {
            ([0, 5, 0, 0, 0], [0, 0, 0, 5, 0])
        } else {
            ([10, 0, 0, 0, 0], [5, 0, 0, 5, 0])
        };
        assert_eq!((sums, deltas), expected);
    }
}

#[test]
fn a_large_table_is_exported_with_its_last_slice() {
    for more in ["", r#", "temporality": "delta""#] {
        fake::reset();
        let service = of(&format!(r#"{{"cluster": "c", "max_bytes": 16384{more}}}"#));
        enqueue(&many(1_000));
        tick_at(&service, 1);
        let mut answered = 0;
        while posts() > answered {
            answered += 1;
            let before = ledger("c")[0];
            respond(&service, "200");
            let [exported, waiting, ..] = ledger("c");
            assert!(exported >= before && exported + waiting == 1_000);
        }
        assert!(answered > 2);
        assert_eq!(ledger("c"), [1_000, 0, 0, 0, 0]);
    }
}

/// Workers that only have counters in shared data or write headers measure nothing.
#[test]
fn unmeasured_observations_count_as_exported() {
    for more in ["", r#", "temporality": "delta""#] {
        fake::reset();
        let service = of(&format!(r#"{{"cluster": "c"{more}}}"#));
        let mut item = Batch::decode(batch(1, &[("a", 3)])).unwrap();
        item.groups[0].metrics.clear();
        item.groups[0].series[0].points.clear();
        enqueue(&item.encode());
        tick_at(&service, 1);
        respond(&service, "200");
        assert_eq!(ledger("c"), [3, 0, 0, 0, 0], "{more}");
    }
}

#[test]
fn observations_without_room_in_the_table_are_dropped_for_all_destinations() {
    let service = one_destination();
    for number in 0..tributary_proto::limits::METRICS_PER_ORIGIN_MAX + 2 {
        let mut item = Batch::decode(batch(1, &[("a", 3)])).unwrap();
        item.groups[0].metrics[0].name = format!("m{number}");
        (item.producer, item.counters) = (u64::try_from(number).unwrap(), vec![]);
        enqueue(&item.encode());
    }
    service.queue_ready();
    let placed = 3 * u64::try_from(tributary_proto::limits::METRICS_PER_ORIGIN_MAX).unwrap();
    assert_eq!(ledger("collector"), [0, placed, 6, 0, 0]);
    let log = logged(LogLevel::Warn);
    let expected = r#"metric "m256": its points are dropped, because workers have sent 256 other metrics"#;
    assert!(log.contains(expected) && log.lines().count() == 1, "{log}");
}

#[test]
fn batches_that_another_plugin_takes_are_a_fault() {
    let service = one_destination();
    let fault = || exports::decode(console::shared(exports::KEY).unwrap_or_default()).queue_fault;
    for seconds in 1..=20 {
        enqueue(&batch(seconds, &[("a", 1)]));
        if seconds > 5 {
            main_thread::dequeue(QUEUE_HTTP).unwrap();
        }
        Counter::define(BATCHES_ENQUEUED).add(1);
        tick_at(&service, seconds);
        assert_eq!(fault().is_empty(), seconds < 15, "{seconds}: {}", fault());
    }
    let log = logged(LogLevel::Warn);
    assert!(log.matches("otherwise another plugin takes the batches").count() == 1, "{log}");
    for (seconds, is_fault) in [(21, true), (22, false)] {
        enqueue(&batch(seconds, &[("a", 1)]));
        Counter::define(BATCHES_ENQUEUED).add(1);
        tick_at(&service, seconds);
        assert_eq!(!fault().is_empty(), is_fault, "the first one shows the gap");
    }
}

/// No service has aggregated a batch of this producer.
#[test]
fn a_first_batch_that_is_lost_in_a_trap_is_missing() {
    fake::reset();
    let first = of(r#"{"cluster": "c"}"#);
    tick_at(&first, 1);
    enqueue(&batch(1, &[("a", 5)]));
    main_thread::dequeue(QUEUE_HTTP).unwrap();
    drop(first);
    let second = of(r#"{"cluster": "c"}"#);
    enqueue(&batch(2, &[("a", 5)]));
    second.queue_ready();
    assert_eq!((stat("batches_missing"), stat("observations_missing")), (1, 5));
}

#[test]
fn a_restarted_service_counts_what_its_predecessor_did_not_export() {
    fake::reset();
    let destination = r#"{"cluster": "c"}"#;
    let first = of(destination);
    enqueue(&batch(1, &[("a", 5)]));
    tick_at(&first, 1);
    respond(&first, "200");
    enqueue(&batch(2, &[("a", 5)]));
    first.queue_ready();
    assert_eq!(ledger("c"), [5, 5, 0, 0, 0]);
    // The service traps after it has dequeued a batch.
    enqueue(&batch(3, &[("a", 5)]));
    main_thread::dequeue(QUEUE_HTTP).unwrap();
    enqueue(&batch(4, &[("a", 5)]));
    let second = of(destination);
    drop(first);
    assert_eq!(stat("observations_dropped._.c.trap"), 0, "it may be in a canary VM");
    second.queue_ready();
    assert_eq!(ledger("c"), [5, 5, 0, 0, 5]);
    assert_eq!((stat("batches_missing"), stat("observations_missing")), (1, 5), "the batch in the trap");
    tick_at(&second, 3);
    assert_eq!(last_requests(), 5, "only newer observations");
    respond(&second, "200");
    assert_eq!(ledger("c"), [10, 0, 0, 0, 5]);
    assert_eq!(logged(LogLevel::Warn).lines().count(), 1);
}

/// Envoy adds the statistics of the old process to those of the new one.
#[test]
fn a_trap_after_a_hot_restart_drops_nothing_of_the_old_process() {
    fake::reset();
    fake::with(|host| host.now_unix_nano = SECOND);
    let destination = r#"{"cluster": "c"}"#;
    let old = of(destination);
    enqueue(&batch(1, &[("a", 5)]));
    old.queue_ready();
    drop(old);
    let at_restart = fake::with(|host| host.stats.clone());
    fake::reset();
    fake::with(|host| host.now_unix_nano = SECOND);
    let new = of(destination);
    let merge = |before: &FakeStats, now: &FakeStats| fake::with(|host| host.stats.merge(before, now));
    merge(&FakeStats::default(), &at_restart);
    assert_eq!(ledger("c"), [0, 5, 0, 0, 0], "of the old process");
    enqueue(&batch(1, &[("a", 3)]));
    new.queue_ready();
    assert_eq!(ledger("c"), [0, 8, 0, 0, 0], "of both processes");
    // A trap while the old process still runs.
    drop(new);
    let next = of(destination);
    next.queue_ready();
    assert_eq!(ledger("c"), [0, 5, 0, 0, 3]);
    fake::with(|host| host.stats.end_parent());
    assert_eq!(ledger("c"), [0, 0, 0, 0, 3], "of the new process");
    assert_eq!(stat("observations_aggregated"), 8, "a counter keeps what the old process counted");
    enqueue(&batch(2, &[("a", 4)]));
    next.queue_ready();
    drop(next);
    of(destination).queue_ready();
    assert_eq!(ledger("c"), [0, 0, 0, 0, 7]);
}

#[test]
fn each_of_two_services_has_its_own_ledger() {
    fake::reset();
    fake::with(|host| host.now_unix_nano = SECOND);
    let (destination, switch) =
        (r#"{"cluster": "c"}"#, |vm_id: &str| fake::with(|host| host.vm_id = vm_id.into()));
    let [first, _second] = [("one.two", 5), ("other", 3)].map(|(vm_id, count)| {
        switch(vm_id);
        let service = of(destination);
        enqueue(&batch(1, &[("a", count)]));
        service.queue_ready();
        service
    });
    assert_eq!((ledger_of("one_two", "c"), ledger_of("other", "c")), ([0, 5, 0, 0, 0], [0, 3, 0, 0, 0]));
    switch("one.two");
    drop(first);
    of(destination).queue_ready();
    assert_eq!((ledger_of("one_two", "c"), ledger_of("other", "c")), ([0, 0, 0, 0, 5], [0, 3, 0, 0, 0]));
    assert_eq!(stat("observations_aggregated"), 8);
}
