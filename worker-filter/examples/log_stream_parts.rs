//! One part of the log stream, done so many times: `cargo xtask bench --figures parts` counts its instructions.

use std::error::Error;
use std::hint::black_box;

use tributary_plan::config::WorkerConfig;
use tributary_plan::log_schema::LogSchema;
use tributary_worker_filter::log_stream::forward::{Listener, Messages};
use tributary_worker_filter::log_stream::message_pack::{Reader, Stop};
use tributary_worker_filter::log_stream::schema::{Schema, Values};

/// Records in a message.
const RECORDS: u8 = 100;
/// The tag and a record for the default metrics.
const TAG: &[u8] = b"request.method response.flags response.code xds.route_name request.scheme request.duration:ms request.size response.size";
const RECORD: &[u8] = b"GET - 200 checkout https 7 512 512";

/// Finds each value in each record, and counts none.
struct Records(Schema);

impl Listener for Records {
    fn message(&mut self, _: &[u8]) {}

    fn record(&mut self, pairs: usize, reader: &mut Reader<'_>) -> Result<(), Stop> {
        let mut values = Values::default();
        black_box(self.0.read(pairs, reader, &mut values)?);
        black_box(values.observation());
        Ok(())
    }
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<_> = std::env::args().skip(1).collect();
    let [part, times] = &*arguments else { return Err("which part, and how often?".into()) };
    if part != "read" {
        return Err(format!("there is no part {part:?}").into());
    }
    let config = WorkerConfig::parse(br#"{"role": "log_stream"}"#);
    let plan = config.map_err(|problems| format!("{problems:?}"))?.plan;
    let mut records = Records(Schema::new(&LogSchema::new(&plan), TAG));
    let message = message()?;
    let mut messages = Messages::default();
    for _ in 0..times.parse()? {
        messages.take(black_box(&message), &mut records).map_err(|broken| format!("{broken:?}"))?;
    }
    Ok(())
}

/// A message as Envoy 1.40 sends it.
fn message() -> Result<Vec<u8>, Box<dyn Error>> {
    let text = |text: &[u8]| Ok::<_, Box<dyn Error>>([&[0xd9, u8::try_from(text.len())?], text].concat());
    let mut message = [&b"\x92"[..], &text(TAG)?, &[0xdc, 0, RECORDS]].concat();
    for _ in 0..RECORDS {
        message.extend([&b"\x92\xce\x6b\x01\x6e\x76\x81\xa1v"[..], &text(RECORD)?].concat());
    }
    Ok(message)
}
