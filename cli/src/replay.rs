//! `tributary replay`: sends metrics that an Envoy did not export before it exited, from its log to a
//! collector.

use std::collections::BTreeSet;
use std::io::Read;
use std::path::PathBuf;

use anyhow::{Context, Result, ensure};
use indicatif::ProgressBar;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use prost::Message;
use serde::Serialize;

/// The text before the destination's name in a line of the service's shutdown log.
const MARK: &str = "unexported for \"";

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
    /// The encoding of OTLP/HTTP.
    #[arg(long = "as", value_enum, default_value_t)]
    encoding: Encoding,
    /// Print the numbers of requests and points as JSON on the last line.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, Default, clap::ValueEnum)]
enum Encoding {
    #[default]
    Protobuf,
    Json,
}

/// A request that Envoy did not send.
#[derive(Debug)]
struct UnexportedRequest {
    destination: String,
    request: ExportMetricsServiceRequest,
}

/// What the collector has accepted.
#[derive(Debug, Default, Serialize)]
struct Sent {
    requests: usize,
    points: usize,
}

pub(crate) fn run(args: &ReplayArgs) -> Result<()> {
    let log = read(args)?;
    let all = unexported(&log)?;
    let selected = select(all, args.destination.as_deref())?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let sent = runtime.block_on(send(&selected, args))?;
    println!("sent {} requests with {} points to {}", sent.requests, sent.points, args.to);
    if args.json {
        println!("{}", serde_json::to_string(&sent)?);
    }
    Ok(())
}

fn read(args: &ReplayArgs) -> Result<String> {
    let mut bytes = Vec::new();
    match &args.log {
        Some(path) => {
            bytes = std::fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
        }
        None => {
            std::io::stdin().read_to_end(&mut bytes).context("cannot read the standard input")?;
        }
    }
    Ok(String::from_utf8_lossy(&bytes).into_owned())
}

/// Parses the unexported requests in a log; ignores the prefixes of its lines.
fn unexported(log: &str) -> Result<Vec<UnexportedRequest>> {
    let mut found = Vec::new();
    for (number, line) in log.lines().enumerate() {
        let Some((_, rest)) = line.split_once(MARK) else { continue };
        let (destination, json) = rest.split_once("\" ").unwrap_or((rest, ""));
        let request = serde_json::from_str(json.trim_end()).with_context(|| {
            format!(
                "line {}: the request for {destination:?} is truncated or changed; use the complete log",
                number + 1
            )
        })?;
        found.push(UnexportedRequest { destination: destination.to_owned(), request });
    }
    Ok(found)
}

/// Selects the requests of one destination, which is required if there are several.
fn select(mut all: Vec<UnexportedRequest>, destination: Option<&str>) -> Result<Vec<UnexportedRequest>> {
    let names: BTreeSet<_> = all.iter().map(|unexported| unexported.destination.as_str()).collect();
    let list = Vec::from_iter(names.iter().copied()).join(", ");
    match destination {
        Some(name) => {
            let is_known = names.is_empty() || names.contains(name);
            ensure!(is_known, "the log has no requests for {name:?}; its destinations are {list}");
            all.retain(|unexported| unexported.destination == name);
        }
        None => {
            ensure!(names.len() <= 1, "the log has several destinations: set --destination to one of {list}")
        }
    }
    Ok(all)
}

/// Sends the requests one after the other, since a collector may need them in order.
async fn send(all: &[UnexportedRequest], args: &ReplayArgs) -> Result<Sent> {
    let client = reqwest::Client::new();
    let progress = ProgressBar::new(all.len().try_into().unwrap_or(u64::MAX));
    let mut sent = Sent::default();
    for UnexportedRequest { request, .. } in all {
        let (kind, body) = match args.encoding {
            Encoding::Protobuf => ("application/x-protobuf", request.encode_to_vec()),
            Encoding::Json => ("application/json", serde_json::to_vec(request)?),
        };
        let accepted = format!("it has accepted {} of {} requests", sent.requests, all.len());
        let answer = client.post(&args.to).header("content-type", kind).body(body).send().await;
        let answer = answer.with_context(|| format!("{} does not answer; {accepted}", args.to))?;
        let status = answer.status();
        ensure!(
            status.is_success(),
            "{} answered {status}: {}; {accepted}",
            args.to,
            answer.text().await.unwrap_or_default()
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
    use super::*;

    const LOG: &str = r#"[2026-01-01][info][wasm] wasm log tributary: tributary: the service shuts down: 3 observations aggregated
[2026-01-01][info][wasm] wasm log tributary: tributary: unexported for "a" {"resourceMetrics":[]}
[2026-01-01][info][wasm] wasm log tributary: tributary: unexported for "b b" {"resourceMetrics":[{}]}
"#;

    #[test]
    fn requests_in_a_log_are_selected_by_destination() {
        let all = unexported(LOG).unwrap();
        let names: Vec<_> = all.iter().map(|unexported| unexported.destination.as_str()).collect();
        assert_eq!(names, ["a", "b b"]);
        let selected = select(unexported(LOG).unwrap(), Some("b b")).unwrap();
        assert_eq!((selected.len(), selected[0].request.resource_metrics.len()), (1, 1));
        let error = select(all, None).unwrap_err();
        assert_eq!(error.to_string(), "the log has several destinations: set --destination to one of a, b b");
        let error = select(unexported(LOG).unwrap(), Some("c")).unwrap_err();
        assert_eq!(error.to_string(), "the log has no requests for \"c\"; its destinations are a, b b");
        assert!(select(unexported("nothing").unwrap(), None).unwrap().is_empty());
    }

    #[test]
    fn a_truncated_line_is_an_error() {
        let cut = LOG.replace("[{}]}", "[{");
        let error = format!("{:#}", unexported(&cut).unwrap_err());
        assert!(error.starts_with("line 3: the request for \"b b\" is truncated or changed"), "{error}");
    }
}
