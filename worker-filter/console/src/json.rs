//! A snapshot as JSON: for the page, and for whoever reads it by script.

use tributary_proto::attributes::{self, Value as Attribute};
use tributary_proto::decimal;
use tributary_proto::exports::Export;
use tributary_proto::generated::batch::Series;
use tributary_proto::generated::batch::point::Value;
use tributary_proto::json::write_text;
use tributary_proto::metric::{Kind, Metric};

use crate::ledger::Ledger;
use crate::snapshot::{Snapshot, count, sum_text};

/// The whole of it, as of `now_unix_nano`.
pub fn text(snapshot: &Snapshot, ledger: &Ledger, exports: &[Export], now_unix_nano: u64) -> Vec<u8> {
    let mut out = Writer::default();
    out.object(|out| {
        out.key("version");
        write_text(&mut out.out, env!("CARGO_PKG_VERSION"));
        out.whole("time_unix_ms", snapshot.time_unix_nano / 1_000_000);
        out.truth("is_cut", snapshot.is_cut);
        out.attributes("resource", snapshot.resource());
        out.key("ledger");
        out.object(|out| ledger.values().for_each(|(name, _, value)| out.whole(name, value)));
        out.key("destinations");
        out.list(exports, |out, export| out.object(|out| out.export(export, now_unix_nano)));
        out.metrics(snapshot);
    });
    out.out
}

/// A text as it grows.
#[derive(Default)]
struct Writer {
    out: Vec<u8>,
}

impl Writer {
    fn metrics(&mut self, snapshot: &Snapshot) {
        self.key("metrics");
        self.out.push(b'[');
        let mut open: Option<Metric> = None;
        for part in snapshot.metrics() {
            if open.as_ref() != Some(&part.metric) {
                if open.is_some() {
                    self.out.extend_from_slice(b"]}");
                }
                self.comma();
                self.family(&part.metric);
                open = Some(part.metric.clone());
            }
            for (series, value) in part.points() {
                self.comma();
                self.object(|out| out.point(&part.metric, series, value));
            }
        }
        if open.is_some() {
            self.out.extend_from_slice(b"]}");
        }
        self.out.push(b']');
    }

    /// The beginning of a metric, up to its points.
    fn family(&mut self, metric: &Metric) {
        self.out.push(b'{');
        let kind = match metric.kind {
            Kind::Counter => "sum",
            Kind::UpDownCounter => "up_down",
            Kind::Histogram { .. } => "histogram",
            Kind::Exponential { .. } => "exponential",
        };
        let texts = [
            ("name", metric.name.as_str()),
            ("unit", &metric.unit),
            ("description", &metric.description),
            ("kind", kind),
        ];
        for (key, text) in texts {
            self.key(key);
            write_text(&mut self.out, text);
        }
        if let Kind::Histogram { bounds } = &metric.kind {
            self.key("bounds");
            self.list(bounds, |out, bound| decimal::write(&mut out.out, metric.in_unit((*bound).into())));
        }
        self.key("points");
        self.out.push(b'[');
    }

    fn point(&mut self, metric: &Metric, series: &Series, value: &Value) {
        self.attributes("attributes", attributes::iter(&series.attributes));
        let sum = sum_text(metric, value);
        let buckets = match value {
            Value::Counter(_) | Value::UpDownCounter(_) => {
                self.key("value");
                return self.out.extend_from_slice(sum.as_bytes());
            }
            Value::Histogram(histogram) => {
                self.whole("count", count(0, &histogram.buckets));
                self.key("sum");
                self.out.extend_from_slice(sum.as_bytes());
                &histogram.buckets
            }
            Value::ExponentialHistogram(histogram) => {
                self.whole("count", count(histogram.zero_count, &histogram.buckets));
                self.key("sum");
                self.out.extend_from_slice(sum.as_bytes());
                self.signed("scale", histogram.scale.into());
                self.whole("zero_count", histogram.zero_count);
                self.signed("offset", histogram.offset.into());
                &histogram.buckets
            }
        };
        self.key("buckets");
        self.list(buckets, |out, count| out.out.extend_from_slice(count.to_string().as_bytes()));
    }

    fn export(&mut self, export: &Export, now_unix_nano: u64) {
        self.key("name");
        write_text(&mut self.out, &export.name);
        self.truth("is_stuck", export.is_stuck(now_unix_nano));
        self.whole("complete_unix_ms", export.complete_unix_nano / 1_000_000);
        self.whole("succeeded", export.succeeded);
        self.whole("failed", export.failed);
        self.whole("failures", export.failures);
        self.whole("observations_exported", export.exported);
        self.whole("observations_waiting", export.waiting);
        self.whole("observations_dropped", export.dropped);
        self.key("fault");
        write_text(&mut self.out, &export.fault);
    }

    fn attributes<'a>(&mut self, key: &str, attributes: impl Iterator<Item = (&'a str, Attribute<'a>)>) {
        self.key(key);
        self.object(|out| {
            for (key, value) in attributes {
                match value {
                    Attribute::Text(text) => {
                        out.key(key);
                        write_text(&mut out.out, text);
                    }
                    Attribute::Truth(truth) => out.truth(key, truth),
                    Attribute::Integer(number) => out.signed(key, number),
                }
            }
        });
    }

    fn object(&mut self, fields: impl FnOnce(&mut Self)) {
        self.out.push(b'{');
        fields(self);
        self.out.push(b'}');
    }

    fn list<T>(&mut self, items: &[T], each: impl Fn(&mut Self, &T)) {
        self.out.push(b'[');
        for item in items {
            self.comma();
            each(self, item);
        }
        self.out.push(b']');
    }

    fn key(&mut self, key: &str) {
        self.comma();
        write_text(&mut self.out, key);
        self.out.push(b':');
    }

    fn whole(&mut self, key: &str, number: u64) {
        self.key(key);
        self.out.extend_from_slice(number.to_string().as_bytes());
    }

    fn signed(&mut self, key: &str, number: i64) {
        self.key(key);
        self.out.extend_from_slice(number.to_string().as_bytes());
    }

    fn truth(&mut self, key: &str, truth: bool) {
        self.key(key);
        self.out.extend_from_slice(if truth { b"true" } else { b"false" });
    }

    /// Before all but the first of a list or an object.
    fn comma(&mut self) {
        if !matches!(self.out.last(), None | Some(b'{' | b'[')) {
            self.out.push(b',');
        }
    }
}
