use proptest::prelude::*;
use serde_json::{Value, json};
use tributary_proto::shutdown_log::encode;

use super::*;

const PREFIX: &str = "[2026-11-28 02:31:11.123][1234][warning][wasm] \
                      [source/extensions/common/wasm/context.cc:1198] wasm log ";

/// A message of the shutdown log as Envoy's Wasm extension logs it. `plugin` is empty, or a space and a name.
fn message(plugin: &str, record: &Value) -> String {
    format!("wasm log{plugin}: tributary: {}", encode(&record.to_string()))
}

fn line(record: &Value) -> String {
    let message = message(" tributary_service tributary", record);
    format!("{PREFIX}{}", message.strip_prefix("wasm log ").unwrap())
}

fn request(instance: &str, destination: &str, number: u64) -> Value {
    let metrics = json!({"scopeMetrics": [{"metrics": [{"name": number.to_string()}]}]});
    let request = json!({"resourceMetrics": [metrics]});
    json!({"destination": destination, "instance": instance, "line": number, "request": request})
}

fn end(instance: &str, destination: &str, lines: u64) -> Value {
    json!({"destination": destination, "instance": instance, "lines": lines, "points": 7, "left_out": 0})
}

/// A complete shutdown log of `lines` requests.
fn shutdown(lines: u64) -> Vec<String> {
    let requests = (1..=lines).map(|number| request("i", "a", number));
    requests.chain([end("i", "a", lines)]).map(|record| line(&record)).collect()
}

fn reader() -> LineReader {
    LineReader { formats: LogFormat::defaults().unwrap(), plugin: None }
}

fn read(lines: &[impl AsRef<str>]) -> ShutdownLog {
    let lines: Vec<_> = lines.iter().map(AsRef::as_ref).collect();
    reader().read(lines.join("\n").as_bytes())
}

/// The destination and the line number of each request that was found.
fn numbers(log: &ShutdownLog) -> Vec<(&str, &str)> {
    let number = |request: &'_ UnexportedRequest| {
        request.request.resource_metrics[0].scope_metrics[0].metrics[0].name.clone()
    };
    log.requests.iter().map(|it| (it.destination.as_str(), &*number(it).leak())).collect()
}

fn problems(log: &ShutdownLog) -> String {
    log.problems(|_| true).join("\n")
}

fn skipped(foreign_lines: usize, broken_lines: usize, repeated_lines: usize) -> SkippedLines {
    SkippedLines { foreign_lines, broken_lines, repeated_lines }
}

#[test]
fn requests_of_all_processes_and_destinations_are_found_in_order() {
    let records = [
        request("i", "a", 1),
        end("i", "a", 1),
        request("i", "b \"b\"", 1),
        end("i", "b \"b\"", 1),
        request("j", "a", 1),
        request("j", "a", 2),
        end("j", "a", 2),
    ];
    let log = read(&records.map(|record| line(&record)));
    assert_eq!(numbers(&log), [("a", "1"), ("b \"b\"", "1"), ("a", "1"), ("a", "2")]);
    assert_eq!((log.skipped, problems(&log).as_str()), (skipped(0, 0, 0), ""));
    assert_eq!(Vec::from_iter(log.destinations()), ["a", "b \"b\""]);
}

#[test]
fn a_log_without_a_shutdown_log_has_no_problem() {
    let log = read(&["[2026-11-28 02:31:11.123][1][info][main] [source/server/server.cc:1] exiting", ""]);
    assert_eq!((log.requests.len(), problems(&log).as_str()), (0, ""));
}

#[test]
fn a_line_in_an_unknown_format_is_a_problem_if_no_other_is_found() {
    let lines = shutdown(1).iter().map(|line| format!("2026-11-28 {line}")).collect::<Vec<_>>();
    let log = read(&lines);
    assert_eq!(log.skipped, skipped(2, 0, 0));
    assert_eq!(
        problems(&log),
        "no line of the shutdown log was found, but 2 lines contain its mark and are foreign or broken; pass \
         Envoy's log format with --log-format, and the name of the plugin with --plugin if it contains a colon"
    );
    let log = read(&[lines, shutdown(1)].concat());
    assert_eq!((log.skipped, problems(&log).as_str()), (skipped(2, 0, 0), ""));
}

#[test]
fn missing_lines_are_a_problem_and_the_others_count() {
    let lines = shutdown(3);
    let log = read(&[&lines[0], &lines[2], &lines[3]]);
    assert_eq!(numbers(&log), [("a", "1"), ("a", "3")]);
    assert_eq!(
        problems(&log),
        "destination \"a\" of instance i: 2 of 3 announced lines were found, and 0 others; use the complete log"
    );
    assert_eq!(log.problems(|destination| destination != "a"), Vec::<String>::new());
    assert_eq!(
        problems(&read(&lines[..3])),
        "destination \"a\" of instance i: 3 lines were found, but not the last line with their number; use the \
         complete log"
    );
    assert!(problems(&read(&lines[3..])).contains("0 of 3 announced lines were found"));
}

#[test]
fn a_truncated_changed_or_continued_line_is_skipped_and_counted() {
    let lines = shutdown(2);
    for broken in [
        lines[0].split_at(lines[0].len() - 1).0.to_owned(),
        lines[0].replace("resourceMetrics", "resourceMetricz"),
        format!("{} 200", lines[0]),
        line(&json!({"destination": "a", "instance": "i", "line": 1})),
        line(&json!({"destination": "a", "instance": "i", "line": 1, "request": {"resourceMetrics": 1}})),
    ] {
        let log = read(&[&broken, &lines[1], &lines[2]]);
        assert_eq!((numbers(&log), log.skipped), (vec![("a", "2")], skipped(0, 1, 0)), "{broken}");
        assert!(problems(&log).contains("1 of 2 announced lines were found"), "{broken}");
    }
}

#[test]
fn a_repeated_line_counts_once() {
    let lines = shutdown(2);
    let log = read(&[&lines[..], &lines[..]].concat());
    assert_eq!((log.requests.len(), log.skipped, problems(&log).as_str()), (2, skipped(0, 0, 3), ""));
    let mut other = request("i", "a", 1);
    other["request"] = json!({"resourceMetrics": []});
    let log = read(&[&lines[..], &[line(&other)]].concat());
    assert_eq!((log.requests.len(), log.skipped), (2, skipped(0, 0, 1)));
    assert_eq!(
        problems(&log),
        "destination \"a\" of instance i: lines with the number of an earlier line and other contents: 1; the \
         first one counts"
    );
}

#[test]
fn the_plugin_can_be_selected() {
    let record = request("i", "a", 1);
    let of = |plugin: &str| format!("{}{}", PREFIX.replace("wasm log ", ""), message(plugin, &record));
    let found = |plugin: Option<&str>, line: &str| {
        let reader = LineReader { plugin: plugin.map(str::to_owned), ..reader() };
        reader.read(line.as_bytes()).requests.len()
    };
    for (plugin, line, expected) in [
        (None, of(""), 1),
        (None, of(" one"), 1),
        (None, of(" other: agent"), 0),
        (Some("one"), of(" one"), 1),
        (Some("one"), of(" other"), 0),
        (Some("one"), of(" one one"), 0),
        (Some("on"), of(" one"), 0),
        (Some("a: b"), of(" a: b"), 1),
    ] {
        assert_eq!(found(plugin, &line), expected, "{plugin:?} {line}");
    }
}

/// Lines that a client can cause by choosing every header: access log entries and messages of other plugins
/// that contain a whole line of a forged shutdown log, or arbitrary bytes around the mark.
fn foreign_line() -> impl Strategy<Value = Vec<u8>> {
    let forged = prop_oneof![
        (1u64..9).prop_map(|number| line(&request("i", "a", number))),
        (1u64..9).prop_map(|number| line(&request("forged", "a", number))),
        (0u64..9).prop_map(|lines| line(&end("i", "a", lines))),
        (1u64..9).prop_map(|number| message("", &request("i", "a", number))),
        Just("tributary: unexported, ".to_owned()),
        "[ -~]{0,40}",
    ];
    let bytes = prop::collection::vec(any::<u8>().prop_filter("a line", |byte| *byte != b'\n'), 0..40);
    (forged, bytes, 0..6).prop_map(|(value, bytes, kind)| match kind {
        0 => format!("[2026-11-28T02:31:11.123Z] \"GET / HTTP/1.1\" 200 - \"{value}\"").into_bytes(),
        1 => format!("2026-11-28T02:31:11.123Z {value}").into_bytes(),
        2 => json!({"user_agent": value, "path": "/", "code": 200}).to_string().into_bytes(),
        3 => format!("[2026-11-28 02:31:11.123][1][warning][lua] [source/extensions/filters/http/lua/lua_filter.cc:1] script log: {value}").into_bytes(),
        4 => format!("{PREFIX}other: agent {value}").into_bytes(),
        _ => [&b"\0"[..], &bytes, b"tributary: unexported, ", value.as_bytes(), &bytes].concat(),
    })
}

/// The line that Envoy writes for a message, in the log format number `kind`.
fn written(kind: u8, message: &str) -> String {
    match kind {
        0 => format!("{}{message}", PREFIX.replace("wasm log ", "")),
        1 => format!("2026-11-28T02:31:11.123456Z\twarning\tenvoy wasm source/a.cc:7\t{message}\tthread=25"),
        2 => json!({"level": "warning", "time": "2026-11-28T02:31:11.123456Z", "scope": "envoy wasm", "msg": message, "caller": "source/a.cc:7", "thread": "25"}).to_string(),
        _ => json!({"Level": "warning", "Message": message}).to_string(),
    }
}

proptest! {
    #[test]
    fn foreign_lines_neither_block_nor_inject(
        kinds in prop::collection::vec(0u8..4, 1..6),
        foreign in prop::collection::vec((foreign_line(), any::<prop::sample::Index>()), 0..12),
    ) {
        let requests = 1..=u64::try_from(kinds.len() - 1).unwrap();
        let records = requests.clone().map(|number| request("i", "a", number));
        let records = records.chain([end("i", "a", *requests.end())]).zip(&kinds);
        let genuine = records.map(|(record, kind)| written(*kind, &message(" tributary_service", &record)));
        let mut lines: Vec<Vec<u8>> = genuine.map(String::into_bytes).collect();
        for (line, at) in foreign {
            lines.insert(at.index(lines.len() + 1), line);
        }
        let log = reader().read(&lines.join(&b'\n'));
        let expected: Vec<_> = requests.map(|number| ("a", &*number.to_string().leak())).collect();
        prop_assert_eq!(numbers(&log), expected);
        prop_assert_eq!((problems(&log), log.skipped.broken_lines, log.skipped.repeated_lines), (String::new(), 0, 0));
    }

    #[test]
    fn of_a_truncated_log_only_whole_lines_count(cut: prop::sample::Index, lines in 1u64..5) {
        let text = shutdown(lines).join("\n");
        let cut = cut.index(text.len());
        let log = reader().read(&text.as_bytes()[..cut]);
        let whole = text.match_indices('\n').filter(|(at, _)| *at <= cut).count();
        prop_assert_eq!(log.requests.len(), whole);
        prop_assert!(whole == 0 || !problems(&log).is_empty());
    }
}
