//! Repeats one part of the log stream; `cargo xtask bench --figures parts` counts its instructions.

use std::error::Error;
use std::hint::black_box;

use tributary_plan::config::WorkerConfig;
use tributary_plan::log_schema::LogSchema;
use tributary_worker_filter::log_stream::forward::{MessageHandler, Messages};
use tributary_worker_filter::log_stream::layout::{RecordLayout, Values};
use tributary_worker_filter::log_stream::message_pack::{ReadError, RecordReader};

/// The number of records in a message.
const RECORDS: u8 = 100;
/// The tag of the default metrics, and the text of a record.
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
    let [part, times] = &*arguments else { return Err("usage: log_stream_parts PART TIMES".into()) };
    if part != "read" {
        return Err(format!("unknown part {part}").into());
    }
    let config = WorkerConfig::parse(br#"{"log_stream": true}"#);
    let plan = config.map_err(|problems| format!("{problems:?}"))?.plan;
    let mut records = Records(RecordLayout::new(&LogSchema::new(&plan), TAG));
    let message = message()?;
    let mut messages = Messages::default();
    for _ in 0..times.parse()? {
        messages.read(black_box(&message), &mut records).map_err(|error| format!("{error:?}"))?;
    }
    Ok(())
}

/// Builds a message as Envoy 1.40 sends it.
fn message() -> Result<Vec<u8>, Box<dyn Error>> {
    let text = |text: &[u8]| Ok::<_, Box<dyn Error>>([&[0xd9, u8::try_from(text.len())?], text].concat());
    let mut message = [&b"\x92"[..], &text(TAG)?, &[0xdc, 0, RECORDS]].concat();
    for _ in 0..RECORDS {
        message.extend([&b"\x92\xce\x6b\x01\x6e\x76\x81\xa1v"[..], &text(RECORD)?].concat());
    }
    Ok(message)
}
