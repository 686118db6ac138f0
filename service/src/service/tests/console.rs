//! What the service does for the console: snapshots, flushes, and the state of exports.

use std::collections::BTreeSet;

use tributary_proto::batch::{Group, Point};
use tributary_proto::console::{
    ASKED_KEY, PART_BYTES_MAX, SNAPSHOT_BYTES_MAX, SNAPSHOT_KEY, SNAPSHOT_TIME_KEY, SnapshotPart,
};
use tributary_proto::exports::Export;

use super::*;

pub(super) fn shared(key: &str) -> Option<Vec<u8>> {
    fake::with(|host| host.store.get(key)).ok().map(|(bytes, _)| bytes)
}

fn ask(key: &str, number: u64) {
    fake::with(|host| host.store.set(key, &number.to_le_bytes(), 0)).unwrap();
}

fn snapshot_time() -> Option<u64> {
    shared(SNAPSHOT_TIME_KEY).map(|bytes| u64::from_le_bytes(bytes.try_into().unwrap()))
}

/// The parts of the snapshot, each within the limit of the console.
fn parts() -> Vec<SnapshotPart> {
    let snapshot = shared(SNAPSHOT_KEY).unwrap();
    let (mut bytes, mut parts) = (snapshot.as_slice(), Vec::new());
    while !bytes.is_empty() {
        let before = bytes.len();
        parts.push(SnapshotPart::decode_length_delimited(&mut bytes).unwrap());
        assert!(before - bytes.len() <= PART_BYTES_MAX);
    }
    parts
}

/// The values of all series in the snapshot, in order. Its groups are as valid as those of a batch.
fn snapshot() -> Vec<u64> {
    let groups =
        parts().into_iter().flat_map(|part| part.groups).map(|group| Group::from_wire(group).unwrap());
    let requests = groups.filter(|group| {
        assert_eq!(group.metrics.len(), 1);
        group.metrics[0].name == "requests"
    });
    let series = requests.flat_map(|group| group.series);
    let value = |point: &Point| if let Point::Counter(value) = point { *value } else { panic!("{point:?}") };
    series.map(|series| value(&series.points[0])).collect()
}

fn exports() -> Vec<Export> {
    exports::decode(shared(exports::KEY).unwrap()).exports
}

#[test]
fn a_snapshot_is_written_on_request_and_at_most_once_a_second() {
    let service = one_destination();
    enqueue(&batch(1, &[("a", 3), ("b", 4)]));
    tick_at(&service, 10);
    assert_eq!(snapshot_time(), None, "no request");
    ask(ASKED_KEY, 10 * SECOND + 1);
    tick_at(&service, 11);
    assert_eq!((snapshot_time(), snapshot()), (Some(11 * SECOND), vec![3, 4]));
    let first = parts().remove(0);
    let exported = decode(&last_body()).resource_metrics.remove(0).resource.unwrap();
    assert_eq!((first.time_unix_nano, &*first.resource), (11 * SECOND, &*exported.encode_to_vec()));
    enqueue(&batch(2, &[("a", 3), ("b", 4)]));
    tick_at(&service, 20);
    assert_eq!(snapshot_time(), Some(11 * SECOND), "no new request");
    ask(ASKED_KEY, 20 * SECOND);
    tick_at(&service, 20);
    assert_eq!((snapshot_time(), snapshot()), (Some(20 * SECOND), vec![6, 8]));
    ask(ASKED_KEY, 20 * SECOND + 5);
    service.tick_at(20 * SECOND + SECOND / 2);
    assert_eq!(snapshot_time(), Some(20 * SECOND), "at most once a second");
}

#[test]
fn a_snapshot_takes_several_callbacks_and_is_published_as_a_whole() {
    fake::reset();
    let service = service(r#"{"destinations": [], "limits": {"series": 9000}}"#);
    enqueue(&many(5_000));
    for second in 1..20 {
        tick_at(&service, second);
    }
    ask(ASKED_KEY, 20 * SECOND);
    fake::with(|host| {
        host.now_unix_nano = 20 * SECOND;
        host.clock_step_ns = CALLBACK_NS / 4;
    });
    let mut ticks = 0;
    while snapshot_time().is_none() {
        service.tick();
        ticks += 1;
        assert!(ticks < 100, "it is never complete");
    }
    assert!(ticks > 5, "5,000 rows in {ticks} callbacks");
    assert_eq!(snapshot().len(), 5_000);
    let length = shared(SNAPSHOT_KEY).unwrap().len();
    assert!(length < SNAPSHOT_BYTES_MAX, "{length} bytes");
    assert!(parts().iter().all(|part| !part.is_cut));
}

#[test]
fn a_snapshot_that_is_too_large_is_cut_and_marked() {
    fake::reset();
    let service = service(r#"{"destinations": [], "limits": {"series": 9000}}"#);
    let long = "x".repeat(1_000);
    for sequence in 1..=50 {
        let series: Vec<_> = (0..100).map(|number| format!("{sequence}-{number}-{long}")).collect();
        let series: Vec<_> = series.iter().map(|route| (route.as_str(), 1)).collect();
        enqueue(&batch(sequence, &series));
        tick_at(&service, sequence);
    }
    ask(ASKED_KEY, 100 * SECOND);
    while snapshot_time().is_none() {
        tick_at(&service, 100);
    }
    let (length, series) = (shared(SNAPSHOT_KEY).unwrap().len(), snapshot().len());
    assert!(length <= SNAPSHOT_BYTES_MAX && length > SNAPSHOT_BYTES_MAX - 250_000, "{length} bytes");
    assert!((3_500..5_000).contains(&series), "{series} series");
    assert!(parts().pop().unwrap().is_cut);
}

#[test]
fn a_snapshot_has_the_metrics_of_the_service() {
    fake::reset();
    let service = start(r#"{"destinations": [{"cluster": "collector"}]}"#);
    count(6);
    enqueue(&batch(1, &[("a", 3)]));
    for second in 1..5 {
        ask(ASKED_KEY, second * SECOND);
        tick_at(&service, second);
    }
    assert_eq!(snapshot(), [3]);
    let groups = parts().into_iter().flat_map(|part| part.groups);
    let names: BTreeSet<String> = groups.map(|mut group| group.metrics.remove(0).name).collect();
    assert!(names.len() > 10 && names.contains("tributary.counter"), "{names:?}");
}

#[test]
fn a_series_that_has_ended_is_not_in_the_snapshot() {
    fake::reset();
    let service = service(r#"{"destinations": [], "limits": {"idle": "60s"}}"#);
    enqueue(&batch(1, &[("a", 3)]));
    tick_at(&service, 1);
    enqueue(&batch(2, &[("b", 4)]));
    tick_at(&service, 50);
    for (now, expected) in [(50, vec![3, 4]), (70, vec![4])] {
        ask(ASKED_KEY, now * SECOND);
        tick_at(&service, now);
        tick_at(&service, now);
        assert_eq!(snapshot(), expected, "after {now} s");
    }
}

#[test]
fn a_snapshot_changes_nothing_for_destinations() {
    fake::reset();
    let service = service(r#"{"interval": "10s", "destinations": [{"cluster": "collector"}]}"#);
    enqueue(&batch(1, &[("a", 3)]));
    ask(ASKED_KEY, 5 * SECOND);
    tick_at(&service, 5);
    assert_eq!((snapshot(), posts()), (vec![3], 0));
    tick_at(&service, 10);
    assert_eq!(posts(), 1, "the destination still gets its export");
}

#[test]
fn a_flush_is_confirmed_when_a_later_cycle_is_complete() {
    let service = one_destination();
    enqueue(&batch(1, &[("a", 3)]));
    tick_at(&service, 1);
    respond(&service, "200");
    assert_eq!((posts(), exports()[0].flushed), (1, 0));
    // During a cycle.
    enqueue(&batch(2, &[("a", 3)]));
    tick_at(&service, 2);
    assert_eq!(posts(), 2);
    enqueue(&batch(3, &[("a", 3)]));
    ask(FLUSH_KEY, 1);
    tick_at(&service, 2);
    assert_eq!(posts(), 2, "one call in flight");
    respond(&service, "200");
    assert_eq!(exports()[0].flushed, 0, "that cycle started before");
    tick_at(&service, 2);
    assert_eq!(posts(), 3, "at once, not in a second");
    respond(&service, "503");
    let export = exports().remove(0);
    assert_eq!((export.flushed, export.failures, export.failed, export.succeeded), (0, 1, 1, 2));
    assert!(export.fault.contains("503"), "{}", export.fault);
    tick_at(&service, 2);
    assert_eq!(posts(), 3, "the backoff applies");
    // A new request skips the backoff.
    ask(FLUSH_KEY, 2);
    tick_at(&service, 2);
    assert_eq!(posts(), 4);
    respond(&service, "200");
    let export = exports().remove(0);
    assert_eq!((export.flushed, export.failures, export.fault.as_str()), (2, 0, ""));
    assert_eq!(export.complete_unix_nano, 2 * SECOND);
}

#[test]
fn a_rejected_export_confirms_no_flush() {
    let service = one_destination();
    enqueue(&batch(1, &[("a", 3)]));
    ask(FLUSH_KEY, 1);
    tick_at(&service, 1);
    respond(&service, "400");
    let export = exports().remove(0);
    assert_eq!((export.flushed, export.complete_unix_nano), (0, 0));
    assert!(export.is_stuck(export.patience_ns + 1), "{}", export.fault);
}
