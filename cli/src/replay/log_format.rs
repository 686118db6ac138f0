//! Recognises the application log lines of Envoy in a log. A line must have the format of such a line from
//! its first byte.

use std::collections::BTreeMap;
use std::sync::LazyLock;

use anyhow::{Context, Result, bail, ensure};
use regex::Regex;
use serde_json::{Map, Value};

/// The text formats that are recognised by default: Envoy's, Envoy's with fine-grain logging, and Istio's.
const DEFAULTS: [&str; 3] = [
    "[%Y-%m-%d %T.%e][%t][%l][%n] [%g:%#] %v",
    "[%Y-%m-%d %T.%e][%t][%l] [%g:%#] %v",
    "%Y-%m-%dT%T.%fZ\t%l\tenvoy %n %g:%#\t%v\tthread=%t",
];

/// A format of application log lines.
#[derive(Clone, Debug)]
pub(crate) enum LogFormat {
    Text(Pattern),
    /// A JSON object with exactly these members.
    Json {
        message: (String, Pattern),
        others: BTreeMap<String, Regex>,
    },
    /// Any JSON object. Besides the message, all its values must be of the kinds that Envoy writes into
    /// application logs; an access log has other values.
    AnyJson,
}

/// The parts of a format before and after the message, as regular expressions.
#[derive(Clone, Debug)]
pub(crate) struct Pattern {
    before: Regex,
    after: Regex,
}

impl Pattern {
    /// Returns `text` from the start of the message; `None` if `text` does not match the part before it.
    fn message<'a>(&self, text: &'a str) -> Option<&'a str> {
        text.get(self.before.find(text)?.end()..)
    }

    /// Returns whether `text` matches the part of the format after the message.
    pub(crate) fn is_end(&self, text: &str) -> bool {
        self.after.is_match(text)
    }
}

impl LogFormat {
    /// Returns the formats that are recognised without `--log-format`.
    pub(crate) fn defaults() -> Result<Vec<Self>> {
        let texts = DEFAULTS.map(Self::parse).into_iter();
        texts.chain([Ok(Self::AnyJson)]).collect()
    }

    /// Parses the value of Envoy's option `--log-format`, or of its field `text_format` or `json_format`.
    pub(crate) fn parse(format: &str) -> Result<Self> {
        let Ok(object) = serde_json::from_str::<BTreeMap<String, String>>(format) else {
            let pattern = pattern(format, &["%v", "%_"])?;
            return Ok(Self::Text(pattern.context("the log format has no %v: it must contain the message")?));
        };
        let (mut message, mut others) = (None, BTreeMap::new());
        for (key, value) in object {
            if let Some(pattern) = pattern(&value, &["%j"])? {
                ensure!(message.is_none(), "the log format has several %j");
                message = Some((key, pattern));
            } else {
                others.insert(key, Regex::new(&format!("^{}$", expression(&value)?))?);
            }
        }
        let message = message.context("the log format has no %j: one member must be the message")?;
        Ok(Self::Json { message, others })
    }

    /// Returns the text of a line from the start of its message to the end of the line or JSON value,
    /// with the pattern for the end of that text; `None` if the line does not have this format.
    pub(crate) fn message(&self, line: &str) -> Option<(String, &Pattern)> {
        static WHOLE: LazyLock<Option<Pattern>> = LazyLock::new(|| pattern("%j", &["%j"]).ok().flatten());
        match self {
            Self::Text(pattern) => Some((pattern.message(line)?.to_owned(), pattern)),
            Self::Json { message: (key, pattern), others } => {
                let object = object(line)?;
                let is_other = |(key, regex): (&String, &Regex)| {
                    object.get(key).and_then(Value::as_str).is_some_and(|value| regex.is_match(value))
                };
                let is_complete = object.len() == others.len() + 1 && others.iter().all(is_other);
                let text = object.get(key).filter(|_| is_complete)?.as_str()?;
                Some((pattern.message(text)?.to_owned(), pattern))
            }
            Self::AnyJson => Some((message_of_any_json(line)?, WHOLE.as_ref()?)),
        }
    }
}

/// Parses a line as a JSON object that starts at the first byte; `None` if the line is anything else.
fn object(line: &str) -> Option<Map<String, Value>> {
    line.starts_with('{').then(|| serde_json::from_str(line).ok())?
}

/// Returns the message of a JSON object if one of its values is the level `warning`, and if Envoy writes
/// values like its other values into application logs: a time, a number, a source file or the name of the
/// logger.
fn message_of_any_json(line: &str) -> Option<String> {
    static OTHER: LazyLock<Option<Regex>> = LazyLock::new(|| {
        let time = r"[0-9]{4}-[0-9]{2}-[0-9]{2}[T ][0-9:]{8}(?:[.,][0-9]{1,9})?(?:Z|[+-][0-9]{2}:?[0-9]{2})?";
        let file = r"(?:\./)?(?:external|source)/[\w./-]+\.cc(?::[0-9]+)?";
        Regex::new(&format!("^(?:warning|(?:envoy )?wasm|[0-9]{{1,12}}|{time}|{file})$")).ok()
    });
    let object = object(line)?;
    let mut message = None;
    let mut has_level = false;
    for value in object.values() {
        let text = value.as_str()?;
        if text.starts_with("wasm log ") && message.is_none() {
            message = Some(text.to_owned());
        } else if !OTHER.as_ref()?.is_match(text) {
            return None;
        }
        has_level |= text == "warning";
    }
    message.filter(|_| has_level)
}

/// Compiles the parts of a format before and after the first of `flags` that the format contains; `None`
/// if it contains none of the flags.
fn pattern(format: &str, flags: &[&str]) -> Result<Option<Pattern>> {
    let Some((before, after)) = flags.iter().find_map(|flag| format.split_once(flag)) else {
        return Ok(None);
    };
    let before = Regex::new(&format!("^{}", expression(before)?))?;
    let after = Regex::new(&format!("^{}$", expression(after)?))?;
    Ok(Some(Pattern { before, after }))
}

/// Converts a format of spdlog, Envoy's logging library, into a regular expression for lines of the shutdown
/// log: the level is `warning` and the logger is `wasm`.
fn expression(format: &str) -> Result<String> {
    let mut expression = String::new();
    let mut letters = format.chars();
    while let Some(letter) = letters.next() {
        if letter != '%' {
            expression.push_str(&regex::escape(letter.encode_utf8(&mut [0; 4])));
            continue;
        }
        expression.push_str(match letters.next() {
            Some('Y') => r"[0-9]{4}",
            Some('C' | 'm' | 'd' | 'H' | 'I' | 'M' | 'S') => "[0-9]{2}",
            Some('e') => "[0-9]{3}",
            Some('f') => "[0-9]{6}",
            Some('F') => "[0-9]{9}",
            Some('E' | 't' | 'P' | '#') => "[0-9]+",
            Some('T' | 'X') => "[0-9]{2}:[0-9]{2}:[0-9]{2}",
            Some('R') => "[0-9]{2}:[0-9]{2}",
            Some('D' | 'x') => "[0-9]{2}/[0-9]{2}/[0-9]{2}",
            Some('z') => "[+-][0-9]{2}:[0-9]{2}",
            Some('p') => "[AP]M",
            Some('a' | 'A' | 'b' | 'B' | 'h') => "[A-Za-z]+",
            Some('l') => "warning",
            Some('L') => "W",
            Some('n') => "wasm",
            Some('g' | 's') => r"[\w./-]+",
            Some('@') => r"[\w./-]+:[0-9]+",
            Some('!') => r"[\w:~<>]*",
            Some('^' | '$') => "",
            Some('%') => "%",
            Some(other) => bail!("the log format has %{other}, which tributary replay does not know"),
            None => bail!("the log format ends with %"),
        });
    }
    Ok(expression)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ENVOY: &str = "[2026-11-28 02:31:11.123][1234][warning][wasm] \
                         [source/extensions/common/wasm/context.cc:1198] wasm log a";
    const ISTIO: &str = "2026-11-28T02:31:11.123456Z\twarning\tenvoy wasm \
                         external/envoy/source/extensions/common/wasm/context.cc:1198\twasm log a\tthread=25";
    const ISTIO_JSON: &str = concat!(
        r#"{"level":"warning","time":"2026-11-28T02:31:11.123456Z","scope":"envoy wasm","msg":"wasm log \"a\"","#,
        r#""caller":"source/extensions/common/wasm/context.cc:1198","thread":"25"}"#
    );

    fn found(formats: &[LogFormat], line: &str) -> Option<String> {
        formats.iter().find_map(|format| Some(format.message(line)?.0))
    }

    #[test]
    fn lines_of_envoy_and_istio_are_known() {
        let defaults = LogFormat::defaults().unwrap();
        assert_eq!(found(&defaults, ENVOY).as_deref(), Some("wasm log a"));
        assert_eq!(found(&defaults, &ENVOY.replace("[wasm]", "")).as_deref(), Some("wasm log a"));
        assert_eq!(found(&defaults, ISTIO).as_deref(), Some("wasm log a\tthread=25"));
        assert_eq!(found(&defaults, ISTIO_JSON).as_deref(), Some(r#"wasm log "a""#));
        let minimal = r#"{"level": "warning", "message": "wasm log a"}"#;
        assert_eq!(found(&defaults, minimal).as_deref(), Some("wasm log a"));
    }

    #[test]
    fn what_follows_the_message_must_fit_the_format() {
        let istio = LogFormat::parse(DEFAULTS[2]).unwrap();
        let (_, pattern) = istio.message(ISTIO).unwrap();
        assert_eq!(
            ["\tthread=25", "\tthread=25 ", "", "\tthread=x"].map(|end| pattern.is_end(end)),
            [true, false, false, false]
        );
        let envoy = LogFormat::parse(DEFAULTS[0]).unwrap();
        let (_, pattern) = envoy.message(ENVOY).unwrap();
        assert_eq!(["", " "].map(|end| pattern.is_end(end)), [true, false]);
    }

    #[test]
    fn access_logs_with_a_whole_line_in_a_value_are_foreign() {
        let defaults = LogFormat::defaults().unwrap();
        for line in [ENVOY, ISTIO, ISTIO_JSON] {
            for access_log in [
                format!("[2026-11-28T02:31:11.123Z] \"GET / HTTP/1.1\" 200 - \"{line}\""),
                format!("2026-11-28T02:31:11.123Z\t{line}"),
                format!(" {line}"),
                format!("\"{line}\""),
                Value::from_iter([("user_agent", line), ("path", "/")]).to_string(),
                Value::from_iter([("user_agent", line)]).to_string(),
                Value::from_iter([("user_agent", "wasm log a"), ("path", "/"), ("x", "warning")]).to_string(),
                Value::from_iter([("user_agent", "wasm log a"), ("flags", "-"), ("x", "warning")])
                    .to_string(),
                Value::from_iter([("user_agent", "wasm log a"), ("time", "2026")]).to_string(),
                Value::from_iter([("ua", "wasm log a"), ("x", "warning"), ("path", "/1")]).to_string(),
                Value::from_iter([("ua", "wasm log a"), ("x", "warning"), ("a", "10.1.2.3:5000")])
                    .to_string(),
                r#"{"user_agent": "wasm log a", "x": "warning", "code": 200}"#.to_owned(),
                r#"{"user_agent": "wasm log a", "referer": "wasm log a", "x": "warning"}"#.to_owned(),
            ] {
                assert_eq!(found(&defaults, &access_log), None, "{access_log}");
            }
        }
    }

    #[test]
    fn other_formats_are_given_as_in_envoy() {
        let text = LogFormat::parse("%L %D %R 100%% edge: %v <%P>").unwrap();
        let (message, pattern) = text.message("W 11/28/26 02:31 100% edge: wasm log a <7>").unwrap();
        assert_eq!((message.as_str(), pattern.is_end(" <7>")), ("wasm log a <7>", true));
        assert!(text.message("I 11/28/26 02:31 100% edge: wasm log a <7>").is_none());

        let json = LogFormat::parse(r#"{"Level": "%l", "Service": "edge", "Message": "edge: %j"}"#).unwrap();
        let line = r#"{"Message":"edge: wasm log a","Service":"edge","Level":"warning"}"#;
        assert_eq!(json.message(line).unwrap().0, "wasm log a");
        for other in [
            r#"{"Message":"edge: wasm log a","Service":"edge","Level":"warning","Path":"/"}"#,
            r#"{"Message":"edge: wasm log a","Service":"other","Level":"warning"}"#,
            r#"{"Message":"wasm log a","Service":"edge","Level":"warning"}"#,
            r#"{"Message":"edge: wasm log a","Level":"warning"}"#,
        ] {
            assert!(json.message(other).is_none(), "{other}");
        }
    }

    #[test]
    fn an_unusable_format_is_an_error() {
        for (format, expected) in [
            ("%l", "the log format has no %v: it must contain the message"),
            ("%Q %v", "the log format has %Q, which tributary replay does not know"),
            ("%v %", "the log format ends with %"),
            (r#"{"a": "%l"}"#, "the log format has no %j: one member must be the message"),
            (r#"{"a": "%j", "b": "%j"}"#, "the log format has several %j"),
        ] {
            assert_eq!(LogFormat::parse(format).unwrap_err().to_string(), expected);
        }
    }
}
