//! Where the observations are, for each destination and over the lives of a service.

use super::*;

/// Exported, waiting, dropped by the table, by the collector, by a trap.
fn ledger(destination: &str) -> [u64; 5] {
    let parts = ["exported.D", "waiting.D", "dropped.D.table", "dropped.D.collector", "dropped.D.trap"];
    let parts = parts.map(|part| stat(&format!("observations_{}", part.replace('D', destination))));
    assert_eq!(parts.iter().sum::<u64>(), stat("observations_aggregated"), "{destination}: {parts:?}");
    parts
}

fn of(destinations: &str) -> Service {
    service(&format!(r#"{{"interval": "1s", "destinations": [{destinations}]}}"#))
}

/// What the last request says of these requests.
fn last_requests() -> i64 {
    last_sums().iter().filter(|(name, _)| name == "requests").map(|(_, value)| value).sum()
}

#[test]
fn what_comes_waits_until_a_whole_cycle_is_taken() {
    for more in ["", r#", "temporality": "delta""#] {
        fake::reset();
        let mut service = of(&format!(r#"{{"cluster": "c"{more}}}"#));
        enqueue(&batch(1, &[("a", 5)]));
        service.drain();
        assert_eq!(ledger("c"), [0, 5, 0, 0, 0]);
        tick_at(&mut service, 1);
        enqueue(&batch(2, &[("a", 5)]));
        service.drain();
        assert_eq!(ledger("c"), [0, 10, 0, 0, 0], "it is on its way");
        answer(&mut service, "503");
        assert_eq!(ledger("c"), [0, 10, 0, 0, 0], "it goes again");
        tick_at(&mut service, 3);
        enqueue(&batch(3, &[("a", 5)]));
        answer(&mut service, "200");
        service.drain();
        assert_eq!(ledger("c"), [10, 5, 0, 0, 0], "what came after it was sent waits");
        tick_at(&mut service, 5);
        answer(&mut service, "200");
        assert_eq!(ledger("c"), [15, 0, 0, 0, 0]);
    }
}

#[test]
fn what_a_collector_refuses_waits_in_a_sum_and_is_dropped_from_deltas() {
    fake::reset();
    let mut service = of(r#"{"cluster": "sums"}, {"cluster": "deltas", "temporality": "delta"}"#);
    for (seconds, status) in [(1, "400"), (2, "200")] {
        enqueue(&batch(seconds, &[("a", 5)]));
        let first = posts() + 1;
        tick_at(&mut service, seconds);
        for token in first..=posts() {
            answer_to(&mut service, token, status, vec![]);
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
fn a_table_of_many_slices_is_exported_when_the_last_of_them_is() {
    for more in ["", r#", "temporality": "delta""#] {
        fake::reset();
        let mut service = of(&format!(r#"{{"cluster": "c", "max_bytes": 16384{more}}}"#));
        enqueue(&many(1_000));
        tick_at(&mut service, 1);
        let mut answered = 0;
        while posts() > answered {
            answered += 1;
            let before = ledger("c")[0];
            answer(&mut service, "200");
            let [exported, waiting, ..] = ledger("c");
            assert!(exported >= before && exported + waiting == 1_000);
        }
        assert!(answered > 2);
        assert_eq!(ledger("c"), [1_000, 0, 0, 0, 0]);
    }
}

/// As of workers that have counters in shared data or headers alone.
#[test]
fn requests_of_which_nothing_is_measured_wait_for_nobody() {
    for more in ["", r#", "temporality": "delta""#] {
        fake::reset();
        let mut service = of(&format!(r#"{{"cluster": "c"{more}}}"#));
        let mut item = Batch::decode(batch(1, &[("a", 3)])).unwrap();
        item.groups[0].metrics.clear();
        item.groups[0].series[0].points.clear();
        enqueue(&item.encode());
        tick_at(&mut service, 1);
        answer(&mut service, "200");
        assert_eq!(ledger("c"), [3, 0, 0, 0, 0], "{more}");
    }
}

#[test]
fn what_found_no_place_in_the_table_is_dropped_for_all() {
    let mut service = one_destination();
    for number in 0..crate::table::METRICS_MAX + 2 {
        let mut item = Batch::decode(batch(1, &[("a", 3)])).unwrap();
        item.groups[0].metrics[0].name = format!("m{number}");
        (item.producer, item.counters) = (u64::try_from(number).unwrap(), vec![]);
        enqueue(&item.encode());
    }
    service.drain();
    let placed = 3 * u64::try_from(crate::table::METRICS_MAX).unwrap();
    assert_eq!(ledger("collector"), [0, placed, 6, 0, 0]);
}

/// The one batch of which no service has ever added up one before it.
#[test]
fn a_first_batch_with_which_a_service_fails_is_missing() {
    fake::reset();
    let mut first = of(r#"{"cluster": "c"}"#);
    tick_at(&mut first, 1);
    enqueue(&batch(1, &[("a", 5)]));
    fake::with(|host| {
        let token = host.queues.resolve(QUEUE_HTTP).unwrap();
        host.queues.dequeue(token).unwrap();
    });
    drop(first);
    let mut second = of(r#"{"cluster": "c"}"#);
    enqueue(&batch(2, &[("a", 5)]));
    second.drain();
    assert_eq!((stat("batches_missing"), stat("observations_missing")), (1, 5));
}

#[test]
fn a_service_that_is_made_anew_counts_what_its_predecessor_never_brought() {
    fake::reset();
    let destination = r#"{"cluster": "c"}"#;
    let mut first = of(destination);
    enqueue(&batch(1, &[("a", 5)]));
    tick_at(&mut first, 1);
    answer(&mut first, "200");
    enqueue(&batch(2, &[("a", 5)]));
    first.drain();
    assert_eq!(ledger("c"), [5, 5, 0, 0, 0]);
    // It fails with a batch in its hands.
    enqueue(&batch(3, &[("a", 5)]));
    fake::with(|host| {
        let token = host.queues.resolve(QUEUE_HTTP).unwrap();
        host.queues.dequeue(token).unwrap();
    });
    enqueue(&batch(4, &[("a", 5)]));
    let mut second = of(destination);
    drop(first);
    assert_eq!(stat("observations_dropped.c.trap"), 0, "Envoy may only try it");
    second.drain();
    assert_eq!(ledger("c"), [5, 5, 0, 0, 5]);
    assert_eq!((stat("batches_missing"), stat("observations_missing")), (1, 5), "the batch that it had");
    tick_at(&mut second, 3);
    assert_eq!(last_requests(), 5, "only what came since");
    answer(&mut second, "200");
    assert_eq!(ledger("c"), [10, 0, 0, 0, 5]);
    assert_eq!(fake::with(|host| host.logged(LogLevel::Warn).len()), 1);
}
