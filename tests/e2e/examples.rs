//! Parses or runs each example and command in the documentation, as its info string demands.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;
use tributary_plan::config::WorkerConfig;
use tributary_plan::preset::Preset;
use tributary_proto::metric::Kind;
use tributary_service::config::ServiceConfig;
use tributary_tests::config::EnvoyConfig;
use tributary_tests::envoy::{Envoy, EnvoyOptions};
use tributary_tests::load::{Load, Mix, Shape};
use tributary_tests::markdown::{self, Block, read};
use tributary_tests::poll::Seen;
use tributary_tests::scene::{LIMIT, Scene};
use tributary_tests::sink::Store;
use tributary_tests::upstream::Upstream;
use tributary_tests::{cargo, repository};

/// Programs that cannot run here: only the files in their arguments are checked.
const ELSEWHERE: [&str; 3] = ["docker", "kubectl", "skopeo"];

fn blocks(info: &str) -> Result<Vec<Block>> {
    Ok(markdown::blocks()?.into_iter().filter(|block| block.info.starts_with(info)).collect())
}

fn parse(block: &Block) -> Result<Value> {
    serde_yaml_ng::from_str(&block.text).with_context(|| format!("{}:{}", block.file, block.line))
}

/// Normalises the output of a command: each word with a digit becomes `#`, and each run of spaces one space.
fn shape(text: &str) -> Vec<String> {
    let line = |line: &str| {
        let words = line.split_whitespace().map(|word| match word.contains(|c: char| c.is_ascii_digit()) {
            true if word.starts_with("target/") => word.to_owned(),
            true => "#".to_owned(),
            false => word.to_owned(),
        });
        words.collect::<Vec<_>>().join(" ")
    };
    text.lines().map(line).filter(|line| !line.is_empty()).collect()
}

/// The commands in a console block, each with the shown output.
fn commands(block: &Block) -> Vec<(&str, &str)> {
    let parts = block.text.split("$ ").skip(1);
    parts.map(|part| part.split_once('\n').unwrap_or((part, ""))).collect()
}

/// Runs a command line with a shell in the root of the repository.
fn run(line: &str) -> Result<(bool, String)> {
    // Uses the cargo that runs the tests, without its progress messages.
    let tool =
        |package: &str, arguments: &str| format!("\"$CARGO\" run --quiet --package {package} -- {arguments}");
    let line = match (line.strip_prefix("cargo xtask "), line.strip_prefix("cargo tributary ")) {
        (Some(arguments), _) => tool("xtask", arguments),
        (_, Some(arguments)) => tool("tributary-cli", arguments),
        _ => line.replacen("cargo ", "\"$CARGO\" ", 1),
    };
    let mut shell = Command::new("sh");
    shell.args(["-c", &line]).env("CARGO", cargo::program()).current_dir(repository::root());
    cargo::remove_package_variables(&mut shell);
    let output = shell.output()?;
    let printed = String::from_utf8_lossy(&output.stdout).into_owned();
    Ok((output.status.success(), printed + &String::from_utf8_lossy(&output.stderr)))
}

fn compare(place: &str, line: &str, shown: &str, (success, printed): &(bool, String)) -> Result<()> {
    ensure!(
        *success != shown.contains(": error: "),
        "{place}: the exit status of {line} differs from the documentation: {printed}"
    );
    let printed = shape(printed);
    for expected in shape(shown) {
        ensure!(printed.contains(&expected), "{place}: {line} does not print {expected:?}, but {printed:#?}");
    }
    Ok(())
}

#[test]
fn slow_commands_exist() -> Result<()> {
    let mut seen = 0;
    let shows = |line: &str| {
        let shown = [
            ("xtask bench", "access-log"),
            ("xtask fuzz", "attributes"),
            ("xtask soak", "partial_success"),
            ("xtask test", "end-to-end tests"),
            ("--test simulation", "every_observation"),
        ];
        let shown = shown.into_iter().find(|(command, _)| line.contains(command));
        shown.map(|(_, word)| word).with_context(|| format!("unknown command {line}"))
    };
    for block in blocks("console of minutes")? {
        for (line, _) in commands(&block) {
            // Lists what the command would run.
            let (success, printed) = run(&format!("{line} --list"))?;
            ensure!(success && printed.contains(shows(line)?), "{}: {line}: {printed}", block.file);
            seen += 1;
        }
    }
    ensure!(seen >= 7, "only {seen} commands were run");
    Ok(())
}

#[test]
fn every_block_has_a_known_info_string() -> Result<()> {
    let known = |info: &str| match info {
        "text" | "mermaid" | "console" | "promql" | "yaml worker" | "yaml service" | "yaml configuration" => {
            true
        }
        // The test of the console runs the block with the hook.
        "yaml annotations" | "yaml telemetry" | "yaml hook" | "console of minutes" => true,
        // The test of the shared counters compares this block with the file.
        "rust of tests/plain-plugin/src/lib.rs" => true,
        other => ["console with envoy/", "sh where there is a", "yaml of envoy/"]
            .iter()
            .any(|start| other.starts_with(start)),
    };
    for block in markdown::blocks()? {
        // Another test compares the example of the README with the file that the demo runs.
        let is_example = block.info == "yaml" && block.file == "README.md";
        assert!(known(&block.info) || is_example, "{}:{}: {:?}", block.file, block.line, block.info);
    }
    Ok(())
}

#[test]
fn commands_print_the_documented_output() -> Result<()> {
    let mut printed: BTreeMap<String, (bool, String)> = BTreeMap::new();
    let mut checked = 0;
    for block in blocks("console")?.iter().filter(|block| block.info == "console") {
        for (line, shown) in commands(block) {
            if !printed.contains_key(line) {
                printed.insert(line.to_owned(), run(line)?);
            }
            let output = printed.get(line).context("the output of the command")?;
            compare(&format!("{}:{}", block.file, block.line), line, shown, output)?;
            checked += 1;
        }
    }
    assert!(checked > 8, "{checked} commands");
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn commands_with_an_envoy_print_the_documented_output() -> Result<()> {
    for block in blocks("console with ")? {
        let upstream = Upstream::start(0).await?;
        let file = block.info.trim_start_matches("console with ");
        let config = EnvoyConfig::load(file)?.free_ports().cluster_port("app", upstream.port());
        let envoy = Envoy::start(&config, &EnvoyOptions::workers(1)).await?;
        for (line, shown) in commands(&block) {
            let concrete = line
                .replace("127.0.0.1:10000", &envoy.listener("ingress")?.to_string())
                .replace("127.0.0.1:9901", &envoy.admin().address().to_string());
            let output = tokio::task::spawn_blocking(move || run(&concrete)).await??;
            compare(&format!("{}:{}", block.file, block.line), line, shown, &output)?;
        }
    }
    Ok(())
}

/// Replaces the name of the destination in the name of a statistic.
fn with_any_destination(name: &str) -> String {
    // The prefix of all names also has `.tributary`, before an underscore.
    let name = format!("{name}.").replacen(".tributary.", ".VM_ID.", 1).replacen(
        ".otlp_collector.",
        ".DESTINATION.",
        1,
    );
    name.trim_end_matches('.').to_owned()
}

#[tokio::test(flavor = "multi_thread")]
async fn exactly_the_existing_statistics_are_documented() -> Result<()> {
    // Together, the full worker filter with a log stream and the service define every statistic.
    let config = EnvoyConfig::load("envoy/log_stream.yaml")?.full().free_ports();
    let envoy = Envoy::start(&config, &EnvoyOptions::workers(1)).await?;
    let stats = envoy.admin().stats().await?;
    let prefix = "wasmcustom.tributary_";
    let there: BTreeSet<String> = stats
        .counters(prefix)
        .into_keys()
        .chain(stats.gauges(prefix).into_keys())
        .map(with_any_destination)
        .collect();
    let text = read("docs/statistics.md")?;
    let rows = text.lines().filter_map(|line| line.strip_prefix("| `wasmcustom.")?.split_once('`'));
    let documented: BTreeSet<String> = rows.map(|(name, _)| format!("wasmcustom.{name}")).collect();
    assert_eq!(documented, there);
    Ok(())
}

#[test]
fn commands_that_cannot_run_here_name_existing_files() -> Result<()> {
    let mut files = 0;
    for block in blocks("sh ")? {
        for line in block.text.lines() {
            let mut words = line.split(' ');
            let program = words.next().unwrap_or_default();
            ensure!(ELSEWHERE.contains(&program), "{}:{}: {program} can run here", block.file, block.line);
            for word in words {
                let path = word.rsplit('=').next().unwrap_or(word);
                let path =
                    path.strip_prefix("oci:").map_or(path, |path| path.split(':').next().unwrap_or(path));
                if ["envoy/", "docs/"].iter().any(|start| path.starts_with(start)) {
                    assert!(repository::root().join(path).exists(), "{}:{}: {path}", block.file, block.line);
                    files += 1;
                }
            }
        }
    }
    assert!(files > 2, "{files} files");
    Ok(())
}

#[test]
fn the_modules_accept_every_example() -> Result<()> {
    let mut examples = 0;
    for (info, is_accepted) in [
        ("yaml worker", (|json: &[u8]| WorkerConfig::parse(json).is_ok()) as fn(&[u8]) -> bool),
        ("yaml service", |json| ServiceConfig::parse(json).is_ok()),
        ("yaml configuration", |json| {
            WorkerConfig::parse(json).is_ok() || ServiceConfig::parse(json).is_ok()
        }),
    ] {
        for block in blocks(info)? {
            let mut value = parse(&block)?;
            if let Some(inner) = value.pointer_mut("/configuration/value") {
                value = inner.take();
            }
            assert!(is_accepted(value.to_string().as_bytes()), "{}:{}: {value}", block.file, block.line);
            examples += 1;
        }
    }
    assert!(examples > 3, "{examples} examples");
    Ok(())
}

#[test]
fn excerpts_match_their_files() -> Result<()> {
    for block in blocks("yaml of ")? {
        let file = block.info.trim_start_matches("yaml of ");
        assert!(read(file)?.contains(&block.text), "{}:{} is not in {file}", block.file, block.line);
    }
    Ok(())
}

#[test]
fn istio_manifests_have_the_documented_fields() -> Result<()> {
    for block in blocks("yaml telemetry")? {
        let telemetry = parse(&block)?;
        assert_eq!(
            (&telemetry["kind"], &telemetry["spec"]["metrics"][0]["overrides"][0]["disabled"]),
            (&"Telemetry".into(), &true.into())
        );
    }
    for block in blocks("yaml annotations")? {
        let annotations = parse(&block)?;
        let text = |name: &str| annotations[name].as_str().context("an annotation");
        let volumes: Value = serde_json::from_str(text("sidecar.istio.io/userVolume")?)?;
        let mounts: Value = serde_json::from_str(text("sidecar.istio.io/userVolumeMount")?)?;
        assert_eq!(volumes[0]["name"], mounts[0]["name"]);
        let path = mounts[0]["mountPath"].as_str().context("a path")?;
        assert!(read("envoy/istio/service.yaml")?.contains(&format!("{path}/service.wasm")));
    }
    Ok(())
}

#[test]
fn every_documented_subcommand_exists() -> Result<()> {
    for tool in ["cargo xtask", "cargo tributary"] {
        let (_, help) = run(&format!("{tool} --help"))?;
        for file in markdown::documents()? {
            for rest in read(&file)?.split(&format!("{tool} ")).skip(1) {
                let word: String = rest.chars().take_while(char::is_ascii_alphabetic).collect();
                assert!(help.contains(&format!("\n  {word} ")), "{file}: {tool} {word}");
            }
        }
    }
    Ok(())
}

/// The rows of a table in docs/metrics.md: metric, kind, unit, name in Prometheus.
fn documented(chapter: &str) -> Result<Vec<[String; 4]>> {
    let text = read("docs/metrics.md")?;
    let chapter = text.split("\n## ").find(|text| text.starts_with(&format!("`{chapter}`\n")));
    let rows = chapter.context("no such chapter")?.lines().filter(|line| line.starts_with("| `"));
    let row = |line: &str| {
        let mut cells = line.split('|').skip(1).map(|cell| cell.trim().trim_matches('`').to_owned());
        let mut next = || cells.next().unwrap_or_default();
        [next(), next(), next(), next()]
    };
    Ok(rows.map(row).collect())
}

#[test]
fn exactly_the_metrics_of_each_preset_are_documented() -> Result<()> {
    for (name, preset) in Preset::ALL.into_iter().filter(|(_, preset)| *preset != Preset::None) {
        let plan = preset.plan(false, &|_| None);
        let calls = plan.calls.iter().flat_map(|calls| &calls.group.measures);
        let measures = plan.main.measures.iter().chain(calls);
        let mut metrics: Vec<_> = measures
            .map(|measure| {
                let kind = match measure.metric.kind {
                    Kind::Counter => "counter",
                    Kind::UpDownCounter => "up-down counter",
                    Kind::Histogram { .. } | Kind::Exponential { .. } => "histogram",
                };
                [measure.metric.name.clone(), kind.to_owned(), measure.metric.unit.clone()]
            })
            .collect();
        let mut rows: Vec<_> =
            documented(name)?.into_iter().map(|[name, kind, unit, _]| [name, kind, unit]).collect();
        metrics.sort();
        rows.sort();
        assert_eq!(rows, metrics, "{name}");
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread")]
async fn names_in_prometheus_are_documented() -> Result<()> {
    for (http, tcp) in [("otel", "tcp"), ("istio", "istio_tcp")] {
        let mut expected = Vec::new();
        for [name, kind, _, prometheus] in [documented(http)?, documented(tcp)?].concat() {
            // This test makes no gRPC calls.
            if !name.starts_with("rpc.") {
                expected.push(if kind == "histogram" { format!("{prometheus}_count") } else { prometheus });
            }
        }
        let database = Upstream::start(0).await?;
        let scene = Scene::of("envoy/http_and_tcp.yaml", "otlp_collector", 1, |config| {
            config
                .cluster_port("database", database.port())
                .worker("preset", http)
                .plugin("tributary_tcp_filter", "preset", tcp)
                .service("destinations[0].encoding", "remote_write")
        })
        .await?;
        scene.load(20, [Shape::get("users", "/users/1")]).await?;
        let query = Shape::get("query", "/").header("connection", "close");
        Load::new(scene.envoy.listener("database")?, 5, Mix::new(1, [query])?).run(|_| ()).await?;
        let missing = |store: &Store| -> Vec<String> {
            let there = store.remote_write().metrics();
            expected.iter().filter(|name| !there.contains_key(name.as_str())).cloned().collect()
        };
        let probe = |store: &Store| Seen::when(missing(store).is_empty(), missing(store));
        scene.sink.wait_until("every documented name", LIMIT, probe).await?;
        if scene.sink.store().remote_write().metrics().keys().any(|name| name.contains('.')) {
            bail!("a name with a dot");
        }
    }
    Ok(())
}
