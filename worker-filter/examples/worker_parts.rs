//! Runs one part of the worker filter repeatedly, so that `cargo xtask bench --figures parts` can count its
//! instructions.

use std::error::Error;
use std::hint::black_box;

use tributary_host::random;
use tributary_plan::config::WorkerConfig;
use tributary_plan::log_schema::LogSchema;
use tributary_proto::batch::BatchWriter;
use tributary_worker_filter::fold::Fold;
use tributary_worker_filter::log_stream::forward::{MessageHandler, Messages};
use tributary_worker_filter::log_stream::layout::{RecordLayout, Values};
use tributary_worker_filter::log_stream::message_pack::{ReadError, RecordReader};
use tributary_worker_filter::observation::{Observation, Progress};

const SERIES: usize = 1_000;

/// The number of records in a message of a log stream.
const RECORDS: u8 = 100;
/// The tag for the default metrics. The next constant is the text of a record.
const TAG: &[u8] = b"request.method response.flags response.code xds.route_name request.scheme request.duration:ms request.size response.size";
const RECORD: &[u8] = b"GET - 200 checkout https 7 512 512";

/// Decodes each value of each record.
struct Records(RecordLayout);

impl MessageHandler for Records {
    fn message(&mut self, _: &[u8]) {}

    fn record(&mut self, pairs: usize, reader: &mut RecordReader<'_>) -> Result<(), ReadError> {
        let mut values = Values::default();
        black_box(self.0.read(pairs, reader, &mut values)?);
        black_box(values.observation());
        Ok(())
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let [part, times] = &*arguments else { return Err("which part, and how often?".into()) };
    let times: usize = times.parse()?;
    let plan = WorkerConfig::parse(b"").map_err(|_| "the default configuration is rejected")?.plan;
    if part == "read" {
        let mut records = Records(RecordLayout::new(&LogSchema::new(&plan), TAG));
        let (message, mut messages) = (message()?, Messages::default());
        let read = (0..times).try_for_each(|_| messages.read(black_box(&message), &mut records));
        return read.map_err(|error| format!("{error:?}").into());
    }
    let metrics = plan.main.metrics();
    let items: Vec<_> = plan.main.sources.iter().map(|source| source.item.clone()).collect();
    let mut fold = Fold::new(plan.main, SERIES, random::hasher());
    let mut writer = BatchWriter::new(1, Vec::new(), &metrics);
    let record = |fold: &mut Fold<_>, route: &str| {
        let (code, duration, size) =
            (200_i64.to_le_bytes(), 7_000_000_i64.to_le_bytes(), 512_i64.to_le_bytes());
        let mut observation = Observation::default();
        for (place, item) in observation.values_mut().iter_mut().zip(&items) {
            *place = Some(match item.as_str() {
                "request.method" => b"GET",
                "response.code" => &code,
                "xds.route_name" => route.as_bytes(),
                "request.scheme" => b"https",
                "request.duration" => &duration,
                _ => &size,
            });
        }
        fold.record(&observation, Progress::whole(0));
    };
    match part.as_str() {
        "record" => (0..times).for_each(|_| record(&mut fold, black_box("checkout"))),
        "flush" => {
            let routes: Vec<_> = (0..SERIES).map(|route| format!("route-{route}")).collect();
            routes.iter().for_each(|route| record(&mut fold, route));
            for _ in 0..times {
                // A fold flushes only series with new observations.
                routes.iter().for_each(|route| record(&mut fold, route));
                fold.drain(|attributes, observations, points, exemplars| {
                    black_box(writer.push(attributes, observations, points, exemplars));
                });
                black_box(writer.finish());
            }
        }
        other => return Err(format!("unknown part {other}").into()),
    }
    Ok(())
}

/// Builds a message of a log stream as Envoy 1.40 sends it.
fn message() -> Result<Vec<u8>, Box<dyn Error>> {
    let text = |text: &[u8]| Ok::<_, Box<dyn Error>>([&[0xd9, u8::try_from(text.len())?], text].concat());
    let mut message = [&b"\x92"[..], &text(TAG)?, &[0xdc, 0, RECORDS]].concat();
    for _ in 0..RECORDS {
        message.extend([&b"\x92\xce\x6b\x01\x6e\x76\x81\xa1v"[..], &text(RECORD)?].concat());
    }
    Ok(message)
}
