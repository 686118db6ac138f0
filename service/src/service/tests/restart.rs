//! What a service recovers after a trap, except the ledger.

use super::*;

/// A service with a delta destination and a cumulative one.
fn both() -> Vm {
    let destinations = r#"{"cluster": "deltas", "temporality": "delta"}, {"cluster": "sums"}"#;
    service(&format!(r#"{{"interval": "1s", "destinations": [{destinations}]}}"#))
}

/// A process whose services trap and are restarted.
fn process() -> Vm {
    fake::reset();
    fake::with(|host| host.now_unix_nano = SECOND);
    both()
}

/// Exports, and returns the counter in shared data for each destination: start, time and value.
fn export(service: &Vm, seconds: u64) -> [Option<(u64, u64, i64)>; 2] {
    let before = posts();
    tick_at(service, seconds);
    let exported = |cluster: &str| {
        let post = fake::with(|host| {
            host.posts.iter().skip(before).find(|post| post.cluster == cluster).map(|post| post.body.clone())
        })?;
        let name = |(name, _): &(String, i64)| name == counters::METRIC;
        let at = sums(&post).iter().position(name)?;
        let ((start, end), (_, value)) = (windows(&post)[at], sums(&post).remove(at));
        Some((start / SECOND, end / SECOND, value))
    };
    [exported("deltas"), exported("sums")]
}

/// Responds to the last request of each destination.
fn respond_both(service: &Vm, status: &str) {
    for token in [posts() - 1, posts()] {
        respond_to(service, token, status, vec![]);
    }
}

#[test]
fn a_counter_continues_from_what_each_destination_has() {
    let first = process();
    enqueue(&batch(1, &[("a", 1)]));
    count(6);
    assert_eq!(export(&first, 2), [Some((1, 2, 6)), Some((1, 2, 6))]);
    respond_both(&first, "200");
    count(7);
    assert_eq!(export(&first, 3), [Some((2, 3, 1)), Some((1, 3, 7))]);
    drop(first);
    // It is unknown whether the last export arrived, so it is exported again.
    let second = both();
    count(9);
    assert_eq!(export(&second, 5), [Some((2, 5, 3)), Some((1, 5, 9))], "no worker sends a batch");
    respond_both(&second, "200");
    drop(second);
    let third = both();
    assert_eq!(export(&third, 7), [None, Some((1, 7, 9))], "no update");
    respond_both(&third, "200");
    count(10);
    assert_eq!(export(&third, 8), [Some((5, 8, 1)), Some((1, 8, 10))]);
}

#[test]
fn the_next_service_does_not_export_what_was_rejected() {
    let first = process();
    enqueue(&batch(1, &[("a", 1)]));
    count(6);
    export(&first, 2);
    respond_both(&first, "400");
    let second = both();
    count(7);
    assert_eq!(export(&second, 4), [Some((2, 4, 1)), Some((1, 4, 7))]);
}

#[test]
fn each_delta_destination_continues_from_its_own_checkpoint() {
    let both = || {
        let delta = |name: &str| format!(r#"{{"cluster": "{name}", "temporality": "delta"}}"#);
        let (one, two) = (delta("deltas"), delta("sums"));
        service(&format!(r#"{{"interval": "1s", "destinations": [{one}, {two}]}}"#))
    };
    let all = Some((0, 4, 6));
    for (answered, expected) in [(1, [None, all]), (2, [all, None])] {
        fake::reset();
        let first = both();
        enqueue(&batch(1, &[("a", 1)]));
        count(6);
        export(&first, 2);
        assert_eq!(posts(), 2);
        respond_to(&first, answered, "200", vec![]);
        drop(first);
        let second = both();
        assert_eq!(export(&second, 4), expected);
    }
}

#[test]
fn the_next_service_logs_the_counter_when_it_shuts_down() {
    let first = process();
    enqueue(&batch(1, &[("a", 1)]));
    count(6);
    export(&first, 2);
    respond_both(&first, "200");
    count(8);
    let second = both();
    second.delete();
    for (name, value) in [("deltas", 2), ("sums", 8)] {
        let line = records(name)[0]["request"].to_string();
        assert!(line.contains(counters::METRIC) && line.contains(&format!(r#""asInt":"{value}""#)), "{line}");
    }
}

/// Such a time comes from a wrong clock or another plugin.
#[test]
fn a_saved_time_that_is_years_ahead_is_ignored() {
    for (key, began) in
        [("tributary.export_time", 2), ("tributary.instance", 2), ("tributary.exported.deltas", 1)]
    {
        let first = process();
        enqueue(&batch(1, &[("a", 1)]));
        count(6);
        export(&first, 2);
        respond_both(&first, "200");
        drop(first);
        fake::with(|host| {
            let (mut bytes, _) = host.store.get(key).unwrap();
            bytes[..8].copy_from_slice(&(u64::MAX / 2).to_le_bytes());
            host.store.set(key, &bytes, 0).unwrap();
        });
        let second = both();
        count(9);
        assert_eq!(export(&second, 5), [Some((2, 5, 3)), Some((began, 5, 9))], "{key}");
    }
}

/// This holds even if the clock is set back while no service runs.
#[test]
fn no_point_is_older_than_the_exports_of_the_previous_service() {
    let mut latest = [0; 2];
    let mut service = process();
    for (sequence, seconds) in (1..).zip([10_000, 10_001, 6_400, 6_401, 20_000, 3, 4]) {
        enqueue(&batch(sequence, &[("a", 1)]));
        count(sequence);
        let before = posts();
        tick_at(&service, seconds);
        assert_eq!(posts(), before + 2, "no export at {seconds}");
        for (latest, post) in latest.iter_mut().zip(before..) {
            let body = fake::with(|host| host.posts[post].body.clone());
            for (number, (start, end)) in windows(&body).into_iter().enumerate() {
                // A new series, and the counter that continues.
                assert!(start <= end && end > *latest, "{number} at {seconds}: {start} {end} {latest}");
                assert!(number > 0 || start >= *latest, "{start} overlaps {latest}");
            }
            *latest = windows(&body).iter().map(|(_, end)| *end).max().unwrap();
        }
        respond_both(&service, "200");
        // The clock is set early enough that the first export of the service is due at the next step.
        fake::with(|host| host.now_unix_nano = 0);
        service = both();
    }
}

#[test]
fn no_counter_ends_before_its_start_although_nothing_was_exported() {
    fake::reset();
    fake::with(|host| host.now_unix_nano = 10_000 * SECOND);
    drop(both());
    fake::with(|host| host.now_unix_nano = SECOND);
    let second = both();
    enqueue(&batch(1, &[("a", 1)]));
    count(6);
    tick_at(&second, 2);
    for (start, end) in windows(&fake::with(|host| host.posts[0].body.clone())) {
        assert!(10_000 * SECOND <= start && start < end, "{start} {end}");
    }
}

#[test]
fn a_restarted_service_is_the_same_instance() {
    let resource = |service: &Vm, seconds| {
        enqueue(&batch(seconds, &[("a", 1)]));
        tick_at(service, seconds);
        decode(&last_body()).resource_metrics.remove(0).resource
    };
    let first = process();
    let before = resource(&first, 2);
    let second = both();
    assert_eq!(resource(&second, 9), before);
    assert!(before.is_some_and(|resource| !resource.attributes.is_empty()));
}
