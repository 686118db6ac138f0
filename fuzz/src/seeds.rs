//! The initial inputs of the fuzz targets; most of these inputs are valid.

use tributary_proto::attributes::{boolean, encode, integer, text};
use tributary_proto::batch::{Batch, Group, Point, Series};
use tributary_proto::exemplar::Exemplar;
use tributary_proto::exponential::ExponentialHistogram;
use tributary_proto::histogram::Histogram;
use tributary_proto::metric::{Kind, Metric};

use crate::attributes::CONFIGS;
use crate::frames;

/// Returns names and values of a request's attributes. The values are encoded as in Envoy.
pub fn request(route: &str) -> Vec<(&'static str, Vec<u8>)> {
    let number = |number: i64| number.to_le_bytes().to_vec();
    vec![
        ("request.method", b"POST".to_vec()),
        ("response.code", number(200)),
        ("xds.route_name", route.as_bytes().to_vec()),
        ("request.scheme", b"https".to_vec()),
        ("request.duration", number(1_000_000)),
        ("response.flags", number(0)),
        ("request.size", number(10)),
        ("response.size", number(20)),
        ("request.path", b"/users/7?a=b".to_vec()),
        ("request.time", number(1_000_000_000)),
        ("source.address", b"10.0.0.1:5000".to_vec()),
        ("connection.mtls", vec![1]),
    ]
}

/// Returns items of the queue with all kinds of points: batches in order, out of order, duplicate and
/// missing.
pub fn queue() -> Vec<Vec<u8>> {
    let kinds = [
        Kind::Counter,
        Kind::UpDownCounter,
        Kind::Histogram { bounds: [10, 20].into() },
        Kind::Exponential { max_size: 8 },
    ];
    let all: Vec<Vec<u8>> = (1..6).map(|sequence| batch(7, sequence, &kinds, 2).encode()).collect();
    let mut inputs: Vec<Vec<u8>> = kinds
        .iter()
        .map(|kind| frames::join([batch(1, 1, std::slice::from_ref(kind), 1).encode().as_slice()]))
        .collect();
    inputs.push(frames::join(all.iter().map(Vec::as_slice)));
    inputs.push(frames::join(all.iter().rev().map(Vec::as_slice)));
    inputs.push(frames::join(all.iter().step_by(2).chain(&all).map(Vec::as_slice)));
    // One batch has more series than the limit of the service.
    inputs.push(frames::join([batch(9, u64::MAX, &kinds, 6).encode().as_slice(), b"", b"no batch"]));
    (0..=u8::MAX).zip(inputs).map(|(choice, input)| [vec![choice], input].concat()).collect()
}

fn batch(producer: u64, sequence: u64, kinds: &[Kind], series: u64) -> Batch {
    let metric = |(number, kind): (usize, &Kind)| Metric {
        name: format!("metric.{number}"),
        unit: "s".to_owned(),
        description: "A description.".to_owned(),
        divisor: 1_000_000_000,
        kind: kind.clone(),
    };
    let one = |number: u64| {
        let exemplar = Exemplar::new(15, 1_700_000_000_000_000_000, [1; 16], [2; 8]);
        let is_histogram = |kind: &Kind| matches!(kind, Kind::Histogram { .. } | Kind::Exponential { .. });
        let of = kinds.iter().position(is_histogram);
        Series {
            attributes: encode(vec![
                text("route", &format!("route-{number}")),
                integer("code", 200),
                boolean("tls", true),
            ])
            .into(),
            observations: number.saturating_add(1),
            points: kinds.iter().map(point).collect(),
            exemplars: of.zip(exemplar).into_iter().collect(),
        }
    };
    Batch {
        producer,
        sequence,
        observed_before: sequence.saturating_mul(3),
        counters: vec!["requests".to_owned()],
        groups: vec![Group {
            metrics: kinds.iter().enumerate().map(metric).collect(),
            series: (0..series).map(one).collect(),
        }],
    }
}

fn point(kind: &Kind) -> Point {
    match kind {
        Kind::Counter => Point::Counter(3),
        Kind::UpDownCounter => Point::UpDownCounter(-2),
        Kind::Histogram { bounds } => {
            let mut histogram = Histogram::new(bounds.len());
            [5, 15, 1_000].into_iter().for_each(|value| histogram.record(value, bounds));
            Point::Histogram(histogram)
        }
        Kind::Exponential { max_size } => {
            let mut histogram = ExponentialHistogram::new(*max_size);
            [0, 15, 1_000_000].into_iter().for_each(|value| histogram.record(value, 1_000_000_000));
            Point::Exponential(histogram.into())
        }
    }
}

/// Returns valid and invalid configurations of all modules.
pub fn configuration() -> Vec<Vec<u8>> {
    const SERVICES: [&str; 4] = [
        r#"{"destinations": [{"cluster": "c"}]}"#,
        r#"{"interval": "1s", "destinations": [{"name": "a", "cluster": "c", "encoding": "otlp_json", "compression": "gzip",
          "temporality": "delta", "max_bytes": 16384, "path": "/p", "authority": "h", "headers": {"x-a": "b"}, "interval": "2s",
          "timeout": "1s", "retry": {"initial_interval": "10ms", "max_interval": "1m"}}, {"cluster": "d", "encoding": "remote_write"}]}"#,
        r#"{"values": [{"name": "jwt", "cluster": "auth", "path": "/token", "method": "POST", "headers": {"x-a": "b"}, "body": "b",
          "from": "json:/access_token", "expires_by": "jwt", "every": "15s", "refresh_before": "5s", "keep_on_failure": "1m",
          "timeout": "1s", "max_bytes": 100}]}"#,
        r#"{"destinations": [], "resource": {"service.name": "edge"}, "self_metrics": false, "limits": {"series": 1, "idle": "0s"}}"#,
    ];
    const WORKERS: [&str; 3] = [
        r#"{"flush": {"interval": "250ms"}}"#,
        r#"{"preset": "none", "streams": "tcp", "report_interval": "1s", "flush": {"interval": 5, "max_requests": 1}, "observed": "request"}"#,
        r#"{"drop": ["url.scheme", "http.server.request.body.size"], "dimensions": [{"name": "v", "value": "x"},
          {"name": "r", "response_header": "x-r"}], "service_vm_id": "", "metrics": [{"name": "d", "kind": "histogram",
          "value": "request.duration", "unit": "ms", "description": "How long.", "bounds": [0.5, 1, 2.5]}]}"#,
    ];
    let texts = CONFIGS.iter().chain(&SERVICES).chain(&WORKERS).map(|text| text.as_bytes().to_vec());
    // Configurations given as a `google.protobuf.Struct`, in the encoding that Envoy passes on. As JSON:
    // {"destinations": [{"cluster": "c"}], "self_metrics": false} and {"limits": {"series": 5.0}}.
    let structs: [&[u8]; 2] = [
        b"\n\x21\n\x0cdestinations\x12\x112\x0f\n\x0d*\x0b\n\x09\n\x07cluster",
        b"\n\x1d\n\x06limits\x12\x13*\x11\n\x0f\n\x06series\x12\x05\x11\0\0\0\0",
    ];
    texts.chain(structs.map(<[u8]>::to_vec)).collect()
}

/// Returns messages of Envoy's access logger with few and many records, to be passed on in pieces of
/// several sizes.
pub fn log_stream() -> Vec<Vec<u8>> {
    let tag =
        "request.method response.code response.flags request.duration:ms request.duration xds.route_name";
    let texts = ["GET 200 - 12 12345678 users", "POST 0 UF,URX 7 - -", "GET 200 - 12 12345678 two words", ""];
    let record = |text: &str| {
        let fields = vec![
            ("request.headers['x-tenant']".into(), "acme".into()),
            ("request.size".into(), rmpv::Value::from(300)),
            ("values".into(), text.into()),
            ("connection.mtls".into(), true.into()),
            ("metadata".into(), rmpv::Value::Array(vec![rmpv::Value::Nil, 1.5.into()])),
        ];
        rmpv::Value::Array(vec![1_700_000_000_u64.into(), rmpv::Value::Map(fields)])
    };
    let message = |records: usize| {
        let records = texts.iter().cycle().take(records).map(|text| record(text)).collect();
        let mut bytes = Vec::new();
        let written = rmpv::encode::write_value(
            &mut bytes,
            &rmpv::Value::Array(vec![tag.into(), rmpv::Value::Array(records)]),
        );
        assert!(written.is_ok(), "writing to memory succeeds");
        bytes
    };
    let all = [message(0), message(5), message(1)].concat();
    [(0, 255), (1, 1), (2, 7), (3, 100)]
        .map(|(choice, piece)| [vec![choice, piece], all.clone()].concat())
        .into_iter()
        .chain([[vec![0, 255], message(40)].concat()])
        .collect()
}

/// Returns streams for each configuration and each `ResultMode` of attributes.
pub fn attributes() -> Vec<Vec<u8>> {
    let values: Vec<Vec<u8>> = request("a").into_iter().map(|(_, value)| value).collect();
    let traced = b"00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01".as_slice();
    let list = b"\x01\0\0\0\x02\0\0\0\0\0\0\0ab\0\0".as_slice();
    let mut inputs = Vec::new();
    for choice in 0..=u8::try_from(CONFIGS.len().saturating_sub(1)).unwrap_or(0) {
        for mode in 0..3 {
            let pieces = values.iter().chain(&values).map(Vec::as_slice).chain([traced, list, b"", &[1]]);
            inputs.push([vec![choice, mode], frames::join(pieces)].concat());
        }
    }
    inputs
}
