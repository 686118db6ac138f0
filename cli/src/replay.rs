//! `tributary replay`: sends a collector what an Envoy could not export before it ended, from its log.

use std::io::Read;
use std::path::PathBuf;

use anyhow::{Context, Result, bail, ensure};
use indicatif::ProgressBar;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use prost::Message;
use serde::Serialize;

/// What a line of the service says before the destination's name (`service/src/farewell.rs`).
const MARK: &str = "unexported for \"";

/// The arguments of `tributary replay`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// Where Envoy's log is [default: the standard input].
    log: Option<PathBuf>,
    /// Where to: the whole URL, such as http://127.0.0.1:4318/v1/metrics.
    #[arg(long)]
    to: String,
    /// Only what this destination of the configuration did not get; needed if the log has more than one.
    #[arg(long)]
    destination: Option<String>,
    /// How: OTLP/HTTP in protobuf or in JSON.
    #[arg(long = "as", value_enum, default_value_t)]
    encoding: Encoding,
    /// Print the outcome as JSON, on the last line.
    #[arg(long)]
    json: bool,
}

#[derive(Clone, Copy, Debug, Default, clap::ValueEnum)]
enum Encoding {
    #[default]
    Protobuf,
    Json,
}

/// One request that Envoy did not send.
#[derive(Debug)]
struct Unexported {
    destination: String,
    request: ExportMetricsServiceRequest,
}

#[derive(Debug, Default, Serialize)]
struct Outcome {
    requests: usize,
    points: usize,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let log = read(args)?;
    let all = unexported(&log)?;
    let chosen = choose(all, args.destination.as_deref())?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let outcome = runtime.block_on(send(&chosen, args))?;
    println!("{} requests with {} points are with {}", outcome.requests, outcome.points, args.to);
    if args.json {
        println!("{}", serde_json::to_string(&outcome)?);
    }
    Ok(())
}

fn read(args: &Args) -> Result<String> {
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

/// Everything in a log that was not exported, whatever stands before it on its line.
fn unexported(log: &str) -> Result<Vec<Unexported>> {
    let mut found = Vec::new();
    for (number, line) in log.lines().enumerate() {
        let Some((_, rest)) = line.split_once(MARK) else { continue };
        let (destination, json) = rest.split_once("\" ").unwrap_or((rest, ""));
        let request = serde_json::from_str(json.trim_end()).with_context(|| {
            format!(
                "line {}: the request for {destination:?} is cut or changed: is the log complete?",
                number + 1
            )
        })?;
        found.push(Unexported { destination: destination.to_owned(), request });
    }
    Ok(found)
}

/// What is meant for the one destination.
fn choose(all: Vec<Unexported>, destination: Option<&str>) -> Result<Vec<Unexported>> {
    let mut names: Vec<String> = all.iter().map(|unexported| unexported.destination.clone()).collect();
    names.sort();
    names.dedup();
    let wanted = match (destination, &names[..]) {
        (_, []) => return Ok(Vec::new()),
        (None, [only]) => only.clone(),
        (None, _) => {
            bail!("the log has more than one destination: say --destination, one of {}", names.join(", "))
        }
        (Some(wanted), _) => {
            ensure!(
                names.iter().any(|name| name == wanted),
                "the log has nothing for {wanted:?}: allowed are {}",
                names.join(", ")
            );
            wanted.to_owned()
        }
    };
    Ok(all.into_iter().filter(|unexported| unexported.destination == wanted).collect())
}

/// Sends one after the other: a collector may need them in order.
async fn send(all: &[Unexported], args: &Args) -> Result<Outcome> {
    let client = reqwest::Client::new();
    let progress = ProgressBar::new(all.len().try_into().unwrap_or(u64::MAX));
    let mut outcome = Outcome::default();
    for Unexported { request, .. } in all {
        let (kind, body) = match args.encoding {
            Encoding::Protobuf => ("application/x-protobuf", request.encode_to_vec()),
            Encoding::Json => ("application/json", serde_json::to_vec(request)?),
        };
        let answer = client.post(&args.to).header("content-type", kind).body(body).send().await;
        let answer = answer.with_context(|| {
            format!("{} does not answer; {} of {} requests are there", args.to, outcome.requests, all.len())
        })?;
        let status = answer.status();
        ensure!(
            status.is_success(),
            "{} answers {status}: {}; {} of {} requests are there",
            args.to,
            answer.text().await.unwrap_or_default(),
            outcome.requests,
            all.len()
        );
        outcome.requests += 1;
        outcome.points += points(request);
        progress.inc(1);
    }
    Ok(outcome)
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

    const LOG: &str = r#"[2026-01-01][info][wasm] wasm log tributary: tributary: the service ends: 3 requests
[2026-01-01][info][wasm] wasm log tributary: tributary: unexported for "a" {"resourceMetrics":[]}
[2026-01-01][info][wasm] wasm log tributary: tributary: unexported for "b b" {"resourceMetrics":[{}]}
"#;

    #[test]
    fn requests_are_found_in_a_log_and_chosen_by_their_destination() {
        let all = unexported(LOG).unwrap();
        let names: Vec<_> = all.iter().map(|unexported| unexported.destination.as_str()).collect();
        assert_eq!(names, ["a", "b b"]);
        let chosen = choose(unexported(LOG).unwrap(), Some("b b")).unwrap();
        assert_eq!((chosen.len(), chosen[0].request.resource_metrics.len()), (1, 1));
        let error = choose(all, None).unwrap_err();
        assert_eq!(
            error.to_string(),
            "the log has more than one destination: say --destination, one of a, b b"
        );
        let error = choose(unexported(LOG).unwrap(), Some("c")).unwrap_err();
        assert_eq!(error.to_string(), "the log has nothing for \"c\": allowed are a, b b");
        assert!(choose(unexported("nothing").unwrap(), None).unwrap().is_empty());
    }

    #[test]
    fn a_line_that_was_cut_is_not_passed_over() {
        let cut = LOG.replace("[{}]}", "[{");
        let error = format!("{:#}", unexported(&cut).unwrap_err());
        assert!(error.starts_with("line 3: the request for \"b b\" is cut or changed"), "{error}");
    }
}
