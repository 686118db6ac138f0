//! The delivery to one destination over time.

use proptest::prelude::*;

use super::*;

const SECOND: u64 = 1_000_000_000;

fn delivery() -> Delivery {
    from(0)
}

fn from(now_unix_nano: u64) -> Delivery {
    let backoff = Backoff::new(Duration::from_secs(1), Duration::from_secs(60));
    Delivery::new(Duration::from_secs(10), Duration::from_secs(5), backoff, now_unix_nano)
}

fn cursor(row: usize) -> Cursor {
    Cursor { metric: 0, row }
}

#[test]
fn cycles_start_one_interval_apart_even_after_slow_responses() {
    let mut delivery = delivery();
    assert_eq!(delivery.due(9 * SECOND), None);
    assert_eq!(delivery.due(10 * SECOND), Some(Cursor::default()));
    delivery.sent(10 * SECOND);
    assert_eq!(delivery.due(12 * SECOND), None, "one call in flight");
    assert_eq!(delivery.accepted(13 * SECOND, None), 0);
    assert_eq!(delivery.due(20 * SECOND - 1), None);
    assert_eq!(delivery.due(20 * SECOND), Some(Cursor::default()));
}

#[test]
fn slices_follow_each_other_without_a_wait() {
    let mut delivery = delivery();
    delivery.due(10 * SECOND);
    delivery.sent(10 * SECOND);
    delivery.accepted(11 * SECOND, Some(cursor(5)));
    assert_eq!(delivery.due(11 * SECOND), Some(cursor(5)));
    delivery.sent(11 * SECOND);
    delivery.accepted(12 * SECOND, None);
    assert_eq!(delivery.due(12 * SECOND), None);
    assert_eq!(delivery.due(20 * SECOND), Some(Cursor::default()), "the interval applies to whole cycles");
}

#[test]
fn a_failed_slice_is_sent_again_from_its_start_after_growing_waits() {
    let mut delivery = delivery();
    delivery.due(10 * SECOND);
    delivery.sent(10 * SECOND);
    delivery.accepted(10 * SECOND, Some(cursor(5)));
    let mut now = 10 * SECOND;
    for (failures, wait) in [(1, 1), (2, 2), (3, 4)] {
        assert_eq!(delivery.due(now), Some(cursor(5)));
        delivery.sent(now);
        assert_eq!(delivery.failed(now, None, 0), (failures, Duration::from_secs(wait)));
        assert_eq!(delivery.due(now + wait * SECOND - 1), None);
        now += wait * SECOND;
    }
    assert_eq!(delivery.due(now), Some(cursor(5)));
    assert_eq!(delivery.failed(now, None, 0), (4, Duration::from_secs(8)), "Envoy rejected the call");
    delivery.due(now + 8 * SECOND);
    delivery.sent(now + 8 * SECOND);
    assert_eq!(delivery.accepted(now + 8 * SECOND, None), 4);
}

#[test]
fn a_retry_waits_for_the_longer_of_backoff_and_retry_after() {
    let mut delivery = delivery();
    for (asked, expected) in [(7, 7), (1, 2)] {
        let now = delivery.cycle_start_unix_nano + 1_000 * SECOND;
        delivery.due(now);
        delivery.sent(now);
        let (_, wait) = delivery.failed(now, Some(Duration::from_secs(asked)), 0);
        assert_eq!(wait, Duration::from_secs(expected));
    }
}

#[test]
fn a_rejected_slice_does_not_delay_the_next() {
    let mut delivery = delivery();
    delivery.due(10 * SECOND);
    delivery.sent(10 * SECOND);
    delivery.proceed(10 * SECOND, Some(cursor(5)));
    assert_eq!(delivery.due(10 * SECOND), Some(cursor(5)));
}

#[test]
fn after_a_dropped_slice_the_next_one_waits_for_the_backoff() {
    let mut delivery = delivery();
    delivery.due(10 * SECOND);
    delivery.sent(10 * SECOND);
    assert_eq!(delivery.dropped(11 * SECOND, Some(cursor(5)), None, 0), (1, Duration::from_secs(1)));
    assert_eq!(delivery.due(12 * SECOND - 1), None);
    assert_eq!(delivery.due(12 * SECOND), Some(cursor(5)));
    delivery.sent(12 * SECOND);
    assert_eq!(
        delivery.dropped(13 * SECOND, None, Some(Duration::from_secs(3)), 0),
        (2, Duration::from_secs(7)),
        "the rest of the interval"
    );
    assert_eq!(delivery.due(20 * SECOND), Some(Cursor::default()));
}

#[test]
fn a_missing_response_is_a_timeout() {
    let mut delivery = delivery();
    delivery.due(10 * SECOND);
    delivery.sent(10 * SECOND);
    assert_eq!(first_due(&mut delivery, 10 * SECOND), 45 * SECOND);
}

#[test]
fn a_clock_that_leaps_forward_gives_up_no_response() {
    const LEAPT: u64 = 3_600 * SECOND;
    let mut delivery = delivery();
    delivery.due(10 * SECOND);
    delivery.sent(10 * SECOND);
    assert_eq!(delivery.due(LEAPT + 11 * SECOND), None);
    assert_eq!(delivery.accepted(LEAPT + 12 * SECOND, None), 0);
    assert_eq!(delivery.due(LEAPT + 12 * SECOND), Some(Cursor::default()), "the interval has passed");
    delivery.sent(LEAPT + 12 * SECOND);
    assert_eq!(delivery.due(2 * LEAPT + 13 * SECOND), None);
    assert_eq!(first_due(&mut delivery, 14 * SECOND), 49 * SECOND, "the same if it goes back");
}

/// Returns the first second from `now` on at which something is due, asked once a second.
fn first_due(delivery: &mut Delivery, mut now: u64) -> u64 {
    while delivery.due(now).is_none() {
        now += SECOND;
    }
    now
}

fn delivery_that_failed_at(now: u64) -> Delivery {
    let mut delivery = from(now - 10 * SECOND);
    assert_eq!(delivery.due(now), Some(Cursor::default()));
    delivery.sent(now);
    delivery.failed(now, None, 0);
    delivery
}

#[test]
fn a_clock_that_goes_backwards_does_not_stop_the_export() {
    let mut delivery = from(5_000 * SECOND);
    assert_eq!(delivery.due(100 * SECOND), Some(Cursor::default()));
    delivery.sent(100 * SECOND);
    assert_eq!(delivery.due(60 * SECOND), None, "a response may still come");
    let given_up = first_due(&mut delivery, 60 * SECOND);
    assert_eq!(given_up, 95 * SECOND, "after its whole patience");
    // A step back that is shorter than the wait.
    let mut delivery = delivery_that_failed_at(100 * SECOND);
    assert_eq!(delivery.due(99 * SECOND), Some(Cursor::default()));
    let mut delivery = delivery_that_failed_at(100 * SECOND);
    delivery.due(100 * SECOND);
    delivery.sent(101 * SECOND);
    delivery.accepted(50 * SECOND, None);
    assert_eq!(delivery.due(60 * SECOND), Some(Cursor::default()), "an interval after the clock went back");
}

proptest! {
    #[test]
    fn something_is_always_due_within_the_longest_wait(
        events in prop::collection::vec((0u64..40, 0u8..5, any::<u64>()), 0..60),
    ) {
        let mut delivery = delivery();
        let mut now = 0;
        for (seconds, event, jitter) in events {
            now += seconds * SECOND;
            if delivery.due(now).is_some() {
                match event {
                    0 => drop(delivery.failed(now, None, jitter)),
                    1 => delivery.proceed(now, None),
                    _ => delivery.sent(now),
                }
            } else if delivery.attempt.is_in_flight() {
                match event % 3 {
                    0 => drop(delivery.accepted(now, None)),
                    1 => drop(delivery.failed(now, None, jitter)),
                    _ => delivery.proceed(now, None),
                }
            }
            let mut later = delivery.clone();
            prop_assert!(first_due(&mut later, now) <= now + 60 * SECOND);
        }
    }
}
