//! The exporter on the fake host.

use tributary_host::fake;
use tributary_proto::batch::Point;
use tributary_proto::metric::{Kind, Metric};

use super::*;
use crate::aggregate::{MetricOrigin, TableLimits};
use crate::config::ServiceConfig;
use crate::http_calls::FakeCalls;

const SECOND: u64 = 1_000_000_000;

#[test]
fn a_response_to_a_call_that_was_given_up_is_ignored() {
    fake::reset();
    let json = br#"{"destinations": [{"cluster": "collector", "interval": "1s", "timeout": "1s"}]}"#;
    let destination = ServiceConfig::parse(json).unwrap().destinations.swap_remove(0);
    let id = DestinationId { number: 0, delta: None };
    let (resource, stats) = (Resource::default(), ServiceStats::define());
    let mut exporter = Exporter::new(destination, id, &resource, 0);
    let limits = TableLimits { series_max: 1, idle_ns: None, destinations: 1, deltas: 0, step_ns: 1 };
    let mut table = Table::new(limits, 1, random::hasher());
    let (name, unit, description) = ("m".to_owned(), "1".to_owned(), String::new());
    let metric = Metric { name, unit, description, divisor: 1, kind: Kind::Counter };
    assert!(table.set(MetricOrigin::Service, &metric, &[], Point::Counter(1), 1, 1));
    // The exporter waits for 31 seconds, the timeout of the call plus the grace period; then the backoff
    // follows.
    for seconds in 1..=33 {
        fake::with(|host| host.now_unix_nano = seconds * SECOND);
        let (calls, table) = (&FakeCalls, &mut table);
        let mut context = ExportContext { calls, table, resource: &resource, stats: &stats };
        exporter.export(&mut context, Budget::start(), CycleStart::Allowed);
    }
    let tokens: Vec<u32> = fake::with(|host| host.posts.iter().map(|post| post.token).collect());
    let [first, second] = tokens[..] else { panic!("{} calls", tokens.len()) };
    let mut is_handled = |token| exporter.handle_response(Call::from_token(token), false, &mut table, &stats);
    assert_eq!([first, second, second].map(&mut is_handled), [false, true, false]);
}
