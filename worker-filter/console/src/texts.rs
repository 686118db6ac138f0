//! A snapshot with everything that one can have, against the golden files in `golden/`; `UPDATE_GOLDEN=1` writes them anew.

use tributary_host::fake;
use tributary_host::stats::Counter;
use tributary_proto::attributes::{self, Value};
use tributary_proto::console::snapshot_end;
use tributary_proto::exports::Export;
use tributary_proto::protobuf::{write, zigzag};

use crate::ledger::Ledger;
use crate::prometheus::Format;
use crate::snapshot::Snapshot;
use crate::{json, prometheus};

fn attribute(out: &mut Vec<u8>, field: u32, key: &str, value: Value<'_>) {
    write::message(out, field, |out| attributes::write(out, key, value));
}

/// One metric with what `data` writes into the field of its kind.
fn metric(out: &mut Vec<u8>, texts: [&str; 3], field: u32, data: impl FnOnce(&mut Vec<u8>)) {
    write::message(out, 2, |out| {
        for (number, text) in (1..).zip(texts) {
            write::text(out, number, text);
        }
        write::message(out, field, data);
    });
}

fn part(metrics: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
    let mut out = Vec::new();
    write::message(&mut out, 1, |out| {
        write::message(out, 1, |out| {
            attribute(out, 1, "service.name", Value::Text("shop \"é\""));
            attribute(out, 1, "shard", Value::Integer(-3));
        });
        write::message(out, 2, metrics);
    });
    out
}

fn sum(out: &mut Vec<u8>, value: i64, only_grows: bool, attributes: &[(&str, Value<'_>)]) {
    write::message(out, 1, |out| {
        attributes.iter().for_each(|(key, value)| attribute(out, 7, key, *value));
        write::fixed64(out, 6, value.to_le_bytes());
    });
    write::uint(out, 3, only_grows.into());
}

fn histogram(out: &mut Vec<u8>, route: &str, counts: [u64; 3], bounds: [f64; 2], flags: u64) {
    write::message(out, 1, |out| {
        attribute(out, 9, "http.route", Value::Text(route));
        write::fixed64(out, 4, counts.iter().sum::<u64>().to_le_bytes());
        write::fixed64(out, 5, 2.5_f64.to_le_bytes());
        write::fixed64s(out, 6, counts.map(u64::to_le_bytes).into_iter());
        write::fixed64s(out, 7, bounds.map(f64::to_le_bytes).into_iter());
        write::message(out, 8, |out| {
            write::fixed64(out, 2, 1_700_000_000_123_456_789_u64.to_le_bytes());
            write::fixed64(out, 3, 0.75_f64.to_le_bytes());
            write::bytes(out, 4, &[0xab; 8]);
            write::bytes(out, 5, &[0x12; 16]);
        });
        write::uint(out, 10, flags);
    });
}

fn snapshot() -> Vec<u8> {
    const DURATION: [&str; 3] = ["http.duration", "How long.\nIn \"all\" \\ of it.", "s"];
    let bounds = [0.5, 1.0];
    let mut bytes = part(|out| {
        metric(out, ["requests", "Requests.", "{request}"], 7, |out| {
            let nasty = "a\\b \"c\"\nd é \u{1}";
            sum(
                out,
                7,
                true,
                &[("job", Value::Text(nasty)), ("ok", Value::Truth(true)), ("n", Value::Integer(-5))],
            );
            sum(
                out,
                9,
                true,
                &[("a.b", Value::Text("1")), ("a_b", Value::Text("2")), ("empty", Value::Text(""))],
            );
        });
        metric(out, ["open", "", ""], 7, |out| sum(out, -2, false, &[]));
        metric(out, DURATION, 9, |out| {
            histogram(out, "/a", [1, 2, 3], bounds, 0);
            histogram(out, "/gone", [0, 0, 0], bounds, 1);
        });
    });
    // The same metric goes on in the next part; with other bounds it is another one.
    bytes.extend(part(|out| {
        metric(out, DURATION, 9, |out| {
            histogram(out, "/b", [4, 0, 0], bounds, 0);
            histogram(out, "/c", [1, 1, 1], [0.25, 2.0], 0);
        });
        metric(out, ["size", "", "By"], 10, |out| {
            write::message(out, 1, |out| {
                write::fixed64(out, 4, 6_u64.to_le_bytes());
                write::fixed64(out, 5, 99.5_f64.to_le_bytes());
                write::uint(out, 6, zigzag::encode(3));
                write::fixed64(out, 7, 1_u64.to_le_bytes());
                write::message(out, 8, |out| {
                    write::uint(out, 1, zigzag::encode(-4));
                    write::uints(out, 2, [2, 0, 3].into_iter());
                });
            });
        });
    }));
    bytes.extend(snapshot_end(1_700_000_001_500_000_000, true));
    bytes
}

/// Each text with the name of its file.
fn texts() -> [(&'static str, Vec<u8>); 3] {
    fake::reset();
    Counter::define("tributary_observations_observed").add(12);
    let (bytes, ledger) = (snapshot(), Ledger::define());
    let snapshot = Snapshot::read(&bytes);
    let exports = [Export {
        name: "the \"one\"".into(),
        complete_unix_nano: 1_700_000_000_000_000_000,
        patience_ns: 1_000_000_000,
        succeeded: 5,
        failed: 2,
        failures: 2,
        fault: "status 503\n".into(),
        flushed: 0,
        exported: 7,
        waiting: 4,
        dropped: 1,
    }];
    let prometheus = |format| prometheus::text(format, &snapshot, &ledger, &exports);
    [
        ("metrics.txt", prometheus(Format::Text)),
        ("openmetrics.txt", prometheus(Format::OpenMetrics)),
        ("snapshot.json", json::text(&snapshot, &ledger, &exports, 1_700_000_009_000_000_000)),
    ]
}

#[test]
fn texts_are_those_in_the_golden_files() {
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("src/golden");
    for (name, text) in texts() {
        let text = String::from_utf8(text).unwrap();
        let file = folder.join(name);
        if std::env::var_os("UPDATE_GOLDEN").is_some() {
            std::fs::write(&file, &text).unwrap();
        }
        assert_eq!(text, std::fs::read_to_string(&file).unwrap(), "{name}");
    }
}

#[test]
fn the_json_is_json() {
    let [_, _, (_, text)] = texts();
    let value: serde_json::Value = serde_json::from_slice(&text).unwrap();
    let metrics = value.get("metrics").unwrap().as_array().unwrap();
    let names: Vec<_> = metrics.iter().map(|metric| metric.get("name").unwrap().as_str().unwrap()).collect();
    assert_eq!(names, ["requests", "open", "http.duration", "http.duration", "size"]);
    let points = |metric: usize| metrics[metric].get("points").unwrap().as_array().unwrap().len();
    assert_eq!([0, 1, 2, 3, 4].map(points), [2, 1, 2, 1, 1]);
}

#[test]
fn bytes_that_are_no_snapshot_do_no_harm() {
    fake::reset();
    let (bytes, ledger) = (snapshot(), Ledger::define());
    for cut in 0..bytes.len() {
        for bytes in [&bytes[..cut], &bytes[cut..]] {
            let snapshot = Snapshot::read(bytes);
            let text = json::text(&snapshot, &ledger, &[], 0);
            assert!(serde_json::from_slice::<serde_json::Value>(&text).is_ok());
            prometheus::text(Format::OpenMetrics, &snapshot, &ledger, &[]);
        }
    }
}

#[test]
fn openmetrics_is_for_those_who_name_it() {
    for (accept, expected) in [
        ("", Format::Text),
        ("*/*", Format::Text),
        ("text/plain;version=0.0.4", Format::Text),
        ("application/openmetrics-text;version=1.0.0,text/plain;q=0.5", Format::OpenMetrics),
        ("text/plain, application/openmetrics-text", Format::OpenMetrics),
        ("application/openmetrics-text;q=0", Format::Text),
    ] {
        assert_eq!(Format::accepted(accept), expected, "{accept}");
    }
}
