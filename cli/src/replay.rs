//! `tributary replay`: sends metrics that an Envoy did not export before it exited, from its log to a
//! collector.

mod log_format;
mod shutdown_log;

use std::io::Read;
use std::path::PathBuf;

use anyhow::{Context, Result, bail, ensure};
use indicatif::ProgressBar;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use prost::Message;
use serde::Serialize;

use log_format::LogFormat;
use shutdown_log::{LineReader, ShutdownLog, SkippedLines, UnexportedRequest};

/// The arguments of `tributary replay`.
#[derive(clap::Args)]
pub(crate) struct ReplayArgs {
    /// Envoy's log [default: the standard input].
    log: Option<PathBuf>,
    /// The URL of the collector's OTLP/HTTP endpoint, such as http://127.0.0.1:4318/v1/metrics.
    #[arg(long)]
    to: String,
    /// The destination whose requests are sent; required if the log has several.
    #[arg(long)]
    destination: Option<String>,
    /// The format of Envoy's log: the value of its --log-format, text_format or json_format [default: the
    /// formats of Envoy and Istio].
    #[arg(long)]
    log_format: Option<String>,
    /// The name of the service's plugin as in Envoy's log, between `wasm log ` and the colon [default: any].
    #[arg(long)]
    plugin: Option<String>,
    /// The encoding of OTLP/HTTP.
    #[arg(long = "as", value_enum, default_value_t)]
    encoding: Encoding,
    /// Print the numbers of requests, points and skipped lines as JSON on the last line.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, Default, clap::ValueEnum)]
enum Encoding {
    #[default]
    Protobuf,
    Json,
}

/// The numbers of requests and data points that the collector has accepted.
#[derive(Debug, Default, Serialize)]
struct Sent {
    requests: usize,
    points: usize,
}

/// The JSON object that `--json` prints.
#[derive(Debug, Serialize)]
struct Summary<'a> {
    #[serde(flatten)]
    sent: &'a Sent,
    #[serde(flatten)]
    skipped: SkippedLines,
}

pub(crate) fn run(args: &ReplayArgs) -> Result<()> {
    let formats = match &args.log_format {
        Some(format) => vec![LogFormat::parse(format)?],
        None => LogFormat::defaults()?,
    };
    let reader = LineReader { formats, plugin: args.plugin.clone() };
    let log = reader.read(&read(args)?);
    let selected = select(&log, args.destination.as_deref())?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let sent = runtime.block_on(send(&selected, args))?;
    print(&sent, log.skipped, args)?;
    let is_selected = |name: &str| args.destination.as_ref().is_none_or(|destination| destination == name);
    let problems = log.problems(is_selected);
    if !problems.is_empty() {
        bail!("not everything could be sent: {}", problems.join("; "));
    }
    Ok(())
}

fn print(sent: &Sent, skipped: SkippedLines, args: &ReplayArgs) -> Result<()> {
    println!("sent {} requests with {} points to {}", sent.requests, sent.points, args.to);
    let SkippedLines { foreign_lines, broken_lines, repeated_lines } = skipped;
    if skipped != SkippedLines::default() {
        println!(
            "skipped {foreign_lines} foreign, {broken_lines} broken and {repeated_lines} repeated lines with the \
             mark of the shutdown log"
        );
    }
    if args.json {
        println!("{}", serde_json::to_string(&Summary { sent, skipped })?);
    }
    Ok(())
}

fn read(args: &ReplayArgs) -> Result<Vec<u8>> {
    let mut bytes = Vec::new();
    match &args.log {
        Some(path) => {
            bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        }
        None => {
            std::io::stdin().read_to_end(&mut bytes).context("cannot read the standard input")?;
        }
    }
    Ok(bytes)
}

/// Selects the requests of `destination`; `None` is an error if the log has several destinations.
fn select<'a>(log: &'a ShutdownLog, destination: Option<&str>) -> Result<Vec<&'a UnexportedRequest>> {
    let names = log.destinations();
    let list = Vec::from_iter(names.iter().copied()).join(", ");
    match destination {
        Some(name) => {
            let is_known = names.is_empty() || names.contains(name);
            ensure!(is_known, "the log has no requests for {name:?}; its destinations are {list}");
        }
        None => {
            ensure!(names.len() <= 1, "the log has several destinations: set --destination to one of {list}")
        }
    }
    let is_selected = |it: &&UnexportedRequest| destination.is_none_or(|name| it.destination == name);
    Ok(log.requests.iter().filter(is_selected).collect())
}

/// Sends the requests one after the other, because a collector may need them in the order of the log.
async fn send(all: &[&UnexportedRequest], args: &ReplayArgs) -> Result<Sent> {
    let client = reqwest::Client::new();
    let progress = ProgressBar::new(all.len().try_into().unwrap_or(u64::MAX));
    let mut sent = Sent::default();
    for UnexportedRequest { request, .. } in all {
        let (kind, body) = match args.encoding {
            Encoding::Protobuf => ("application/x-protobuf", request.encode_to_vec()),
            Encoding::Json => ("application/json", serde_json::to_vec(request)?),
        };
        let accepted = format!("it has accepted {} of {} requests", sent.requests, all.len());
        let response = client.post(&args.to).header("content-type", kind).body(body).send().await;
        let response = response.with_context(|| format!("{} does not respond; {accepted}", args.to))?;
        let status = response.status();
        ensure!(
            status.is_success(),
            "{} answered {status}: {}; {accepted}",
            args.to,
            response.text().await.unwrap_or_default()
        );
        sent.requests += 1;
        sent.points += points(request);
        progress.inc(1);
    }
    Ok(sent)
}

fn points(request: &ExportMetricsServiceRequest) -> usize {
    use opentelemetry_proto::tonic::metrics::v1::metric::Data;
    let scopes = request.resource_metrics.iter().flat_map(|resource| &resource.scope_metrics);
    let metrics = scopes.flat_map(|scope| &scope.metrics).filter_map(|metric| metric.data.as_ref());
    metrics
        .map(|data| match data {
            Data::Gauge(gauge) => gauge.data_points.len(),
            Data::Sum(sum) => sum.data_points.len(),
            Data::Histogram(histogram) => histogram.data_points.len(),
            Data::ExponentialHistogram(histogram) => histogram.data_points.len(),
            Data::Summary(summary) => summary.data_points.len(),
        })
        .sum()
}

#[cfg(test)]
mod tests {
    use tributary_proto::shutdown_log::encode;

    use super::*;

    fn log(destinations: &[&str]) -> ShutdownLog {
        let lines = destinations.iter().map(|name| {
            let request = r#"{"resourceMetrics":[{}]}"#;
            encode(&format!(r#"{{"destination":"{name}","instance":"i","line":1,"request":{request}}}"#))
        });
        let text: String = lines.map(|line| format!("wasm log tributary: tributary: {line}\n")).collect();
        let formats = vec![LogFormat::parse("%v").unwrap()];
        LineReader { formats, plugin: None }.read(text.as_bytes())
    }

    #[test]
    fn requests_in_a_log_are_selected_by_destination() {
        let both = log(&["a", "b b"]);
        let selected = select(&both, Some("b b")).unwrap();
        assert_eq!((selected.len(), selected[0].destination.as_str()), (1, "b b"));
        let error = select(&both, None).unwrap_err();
        assert_eq!(error.to_string(), "the log has several destinations: set --destination to one of a, b b");
        let error = select(&both, Some("c")).unwrap_err();
        assert_eq!(error.to_string(), "the log has no requests for \"c\"; its destinations are a, b b");
        assert_eq!(select(&log(&["a"]), None).unwrap().len(), 1);
        assert!(select(&log(&[]), Some("a")).unwrap().is_empty());
    }
}
