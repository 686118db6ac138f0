//! Slow collectors, hot restarts, and clocks that are set.

use std::collections::HashMap;

use tributary_proto::limits::BATCHES_ENQUEUED;
use tributary_proto::remote_write::WriteRequest;

use super::*;

/// Cycles take longer than the interval if the table is large or the collector is slow.
#[test]
fn a_cycle_after_a_long_one_has_the_current_counters() {
    let service = one_destination();
    enqueue(&batch(1, &[("a", 1)]));
    for value in 1..5 {
        count(value);
        tick_at(&service, 10 * value);
        assert_eq!(posts() as u64, value);
        let exported = last_sums().into_iter().find(|(name, _)| name == counters::METRIC);
        assert_eq!(exported, Some((counters::METRIC.to_owned(), value.cast_signed())));
        main_thread::advance(Duration::from_secs(5));
        respond(&service, "200");
    }
}

/// After a hot restart, an Envoy has the statistics of its predecessor, but not its queue.
#[test]
fn batches_of_a_lost_queue_do_not_count_as_waiting() {
    let service = one_destination();
    let enqueued = tributary_host::stats::Counter::define(BATCHES_ENQUEUED);
    let stats = || (stat("batches_enqueued"), stat("batches_dequeued"), stat("batches_received"));
    enqueued.add(700);
    tick_at(&service, 1);
    assert_eq!(stats(), (700, 700, 0));
    // Waiting batches are taken first. A worker counts a batch after it is in the queue, so there may be one
    // more.
    (1..=101).for_each(|sequence| enqueue(&batch(sequence, &[("a", 1)])));
    enqueued.add(100);
    fake::with(|host| host.clock_step_ns = CALLBACK_NS / 20);
    service.tick();
    let (_, taken, received) = stats();
    assert!(received < 100 && taken == 700 + received, "{taken} with {received} received");
    (0..100).for_each(|_| service.tick());
    assert_eq!(stats(), (800, 801, 101));
}

/// The ABI has no monotonic clock.
#[test]
fn a_clock_that_goes_back_delays_nothing_and_times_never_decrease() {
    for temporality in ["cumulative", "delta"] {
        fake::reset();
        fake::with(|host| host.now_unix_nano = 10_000 * SECOND);
        let destination = format!(r#"{{"cluster": "c", "temporality": "{temporality}"}}"#);
        let service = service(&format!(r#"{{"interval": "1s", "destinations": [{destination}]}}"#));
        let (mut latest, mut total) = (0, 0);
        for (sequence, seconds) in (1..).zip([10_001, 10_002, 6_400, 6_401, 6_402, 10_003, 10_004]) {
            enqueue(&batch(sequence, &[("a", 1)]));
            tick_at(&service, seconds);
            assert_eq!(posts() as u64, sequence, "{temporality}: no export at {seconds}");
            let body = last_body();
            for (start, end) in windows(&body) {
                assert!(start <= end && end > latest, "{temporality} at {seconds}: {start} {end} {latest}");
            }
            latest = windows(&body).iter().map(|(_, end)| *end).max().unwrap();
            let (_, sum) = last_sums().remove(0);
            total = if temporality == "delta" { total + sum } else { sum };
            assert_eq!(total.cast_unsigned(), sequence);
            respond(&service, "200");
        }
    }
}

/// One destination is down, so ended series stay. The other destination gets requests that have only the ends
/// of series.
#[test]
fn no_series_of_remote_write_goes_back_in_time() {
    fake::reset();
    let json = r#"{"interval": "1s", "limits": {"idle": "2s"}, "resource": {"region": "eu"}, "destinations": [
        {"cluster": "prometheus", "encoding": "remote_write", "max_bytes": 16384}, {"cluster": "down"}]}"#;
    let service = service(json);
    let (mut answered, mut latest) = (0, HashMap::new());
    for seconds in 1..9 {
        let names: Vec<String> = (0..200).map(|number| format!("{}{number}", seconds > 1)).collect();
        enqueue(&batch(seconds, &names.iter().map(|name| (name.as_str(), 1)).collect::<Vec<_>>()));
        tick_at(&service, seconds);
        while posts() > answered {
            let post = fake::with(|host| host.posts[answered].clone());
            answered += 1;
            let is_taken = seconds < 3 || post.cluster == "prometheus";
            respond_to(&service, answered, if is_taken { "200" } else { "503" }, vec![]);
            if post.cluster == "down" {
                continue;
            }
            let body = snap::raw::Decoder::new().decompress_vec(&post.body).unwrap();
            for series in <WriteRequest as Message>::decode(body.as_slice()).unwrap().timeseries {
                let (labels, time) = (format!("{:?}", series.labels), series.samples[0].timestamp);
                let before = latest.insert(labels, time).unwrap_or(0);
                assert!(before <= time, "{:?} at {time} after {before}", series.labels);
            }
        }
    }
    assert!(latest.keys().any(|labels| labels.contains("target_info")) && latest.len() == 401 + 1);
}

/// The resource alone exceeds the limits of a request and of a log line.
#[test]
fn a_large_resource_stops_neither_exports_nor_the_shutdown() {
    fake::reset();
    let resource: Vec<String> =
        (0..32).map(|number| format!(r#""{number}{}": "{}""#, "k".repeat(900), "v".repeat(1_000))).collect();
    let service = service(&format!(
        r#"{{"interval": "1s", "resource": {{{}}}, "destinations": [{{"cluster": "c", "max_bytes": 16384}}]}}"#,
        resource.join(", ")
    ));
    enqueue(&batch(1, &[("a", 5), ("b", 1)]));
    tick_at(&service, 1);
    assert_eq!((posts(), last_sums().len()), (1, 1));
    respond(&service, "200");
    service.delete();
    assert_eq!(unexported("c"), [("requests".to_owned(), 1)]);
}

/// The clock is set forward by an hour, or the process stands still for an hour; Envoy's timers do not
/// notice.
#[test]
fn nothing_is_exported_twice_after_a_clock_leaps_forward() {
    fake::reset();
    let service =
        service(r#"{"interval": "1s", "destinations": [{"cluster": "c", "temporality": "delta"}]}"#);
    enqueue(&batch(1, &[("a", 5)]));
    tick_at(&service, 1);
    tick_at(&service, 3_600);
    assert_eq!(posts(), 1, "the response may still come");
    respond(&service, "200");
    enqueue(&batch(2, &[("a", 2)]));
    tick_at(&service, 3_601);
    assert_eq!((posts(), last_sums()[0].1), (2, 2));
}
