//! Applies the header rules to requests and responses: sets, appends or removes headers.

use proxy_wasm::types::{self, MapType};
use tributary_host::shared_data::HostSharedData;
use tributary_host::stats::Counter;
use tributary_host::{attributes, counter, headers};
use tributary_plan::plan::{HeaderAction, HeaderRule, Side};
use tributary_plan::source::Type;
use tributary_plan::template::{HeaderTemplate, Piece};
use tributary_plan::transform;
use tributary_proto::counter::shared_key;
use tributary_proto::value;

use crate::values::CachedValues;

/// The header rules of one worker.
#[derive(Debug)]
pub struct Headers {
    rules: Vec<HeaderRule>,
    values: CachedValues,
    /// The number of headers that were left out because a part of their value is missing.
    skipped: Counter,
    /// The number of requests that were rejected because a part of a header's value is missing.
    denied: Counter,
}

impl Headers {
    /// Creates the state for these rules and reads the shared values that they use.
    pub fn new(rules: Vec<HeaderRule>) -> Self {
        let mut values = CachedValues::new(rules.iter().flat_map(|rule| rule.template.values()));
        values.refresh(&mut HostSharedData);
        Self {
            rules,
            values,
            skipped: Counter::define("tributary_headers_skipped"),
            denied: Counter::define("tributary_requests_denied"),
        }
    }

    /// Reads the shared values again if the service has published a new generation.
    pub fn refresh(&mut self) {
        self.values.refresh(&mut HostSharedData);
    }

    /// Applies the request rules to the current request. Returns `Action::Pause` if a header that the
    /// request must have cannot be written: the request is then rejected with HTTP 503.
    pub fn request(&self) -> types::Action {
        for rule in self.rules.iter().filter(|rule| rule.side == Side::Request) {
            if !self.apply(rule, MapType::HttpRequestHeaders) && rule.denies {
                self.denied.add(1);
                let body = format!("the header {} cannot be written yet: a value is missing\n", rule.name);
                let headers = [("content-type", "text/plain; charset=utf-8")];
                // If Envoy rejects the response, the request is forwarded without the header.
                if headers::respond(503, &headers, body.as_bytes(), "tributary_value_missing").is_ok() {
                    return types::Action::Pause;
                }
            }
        }
        types::Action::Continue
    }

    /// Applies the rules to the current response.
    pub fn response(&self) {
        for rule in self.rules.iter().filter(|rule| rule.side == Side::Response) {
            self.apply(rule, MapType::HttpResponseHeaders);
        }
    }

    /// Applies a rule to the headers in `map`. Returns false if a part of the header's value is missing,
    /// the value is not valid in a header, or Envoy rejects the header.
    fn apply(&self, rule: &HeaderRule, map: MapType) -> bool {
        if rule.action == HeaderAction::Remove {
            let _ = headers::remove(map, &rule.name);
            return true;
        }
        let Some(value) = self.render(&rule.template) else {
            self.skipped.add(1);
            return false;
        };
        let write = if rule.action == HeaderAction::Append { headers::append } else { headers::set };
        write(map, &rule.name, &value).is_ok()
    }

    fn render(&self, template: &HeaderTemplate) -> Option<Vec<u8>> {
        let mut text = Vec::new();
        for piece in &template.0 {
            match piece {
                Piece::Text(piece) => text.extend_from_slice(piece.as_bytes()),
                Piece::Value(name) => text.extend_from_slice(self.values.get(name)?),
                Piece::Counter(key) => {
                    let count = counter::read(&mut HostSharedData, &shared_key(key)).ok().flatten()?;
                    text.extend_from_slice(count.to_string().as_bytes());
                }
                Piece::Attribute(path, kind) => write_attribute(path, *kind, &mut text)?,
            }
        }
        value::is_header_value(&text).then_some(text)
    }
}

fn write_attribute(path: &[u8], kind: Type, text: &mut Vec<u8>) -> Option<()> {
    let bytes = attributes::property(path).ok().filter(|bytes| !bytes.is_empty())?;
    match kind {
        Type::Text => text.extend_from_slice(&bytes),
        Type::Integer | Type::Duration => {
            text.extend_from_slice(transform::integer(&bytes)?.to_string().as_bytes());
        }
        Type::Boolean => text.extend_from_slice(if bytes == [1] { b"true" } else { b"false" }),
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use tributary_host::fake;
    use tributary_proto::value::GENERATION_KEY;

    use super::*;

    fn rule(name: &str, template: &str) -> HeaderRule {
        HeaderRule {
            side: Side::Request,
            action: HeaderAction::Set,
            name: name.to_owned(),
            template: HeaderTemplate::parse(template).unwrap(),
            denies: false,
        }
    }

    fn publish(name: &str, bytes: &[u8]) {
        fake::with(|host| {
            host.store.set(&value::shared_key(name), bytes, 0).unwrap();
            host.store.set(GENERATION_KEY, bytes, 0).unwrap();
        });
    }

    fn request() -> Vec<(String, String)> {
        fake::with(|host| host.headers(MapType::HttpRequestHeaders).to_vec())
    }

    #[test]
    fn a_header_can_contain_text_values_counters_and_attributes() {
        fake::reset();
        publish("jwt", b"abc");
        fake::with(|host| {
            host.store.set(&shared_key("hits"), &7_u64.to_le_bytes(), 0).unwrap();
            host.streams.begin([
                ("request.size", 12_i64.to_le_bytes().to_vec()),
                ("connection.mtls", vec![1]),
                ("request.id", b"r1".to_vec()),
            ]);
            host.set_headers(
                MapType::HttpRequestHeaders,
                vec![("authorization".into(), "forged".into()), ("x-b".into(), "1".into())],
            );
        });
        let all =
            "{counter:hits} {attribute:request.size} {attribute:connection.mtls} {attribute:request.id}";
        let append = HeaderRule { action: HeaderAction::Append, ..rule("x-b", "2") };
        let remove = HeaderRule { action: HeaderAction::Remove, ..rule("x-c", "") };
        let headers =
            Headers::new(vec![rule("authorization", "Bearer {value:jwt}"), rule("x-a", all), append, remove]);
        assert_eq!(headers.request(), types::Action::Continue);
        let expected = [("x-b", "1"), ("authorization", "Bearer abc"), ("x-a", "7 12 true r1"), ("x-b", "2")];
        assert_eq!(request(), expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
        assert_eq!(fake::with(|host| host.stat("tributary_headers_skipped")), 0);
    }

    #[test]
    fn a_header_with_a_missing_value_is_skipped_or_the_request_denied() {
        fake::reset();
        let mut headers = Headers::new(vec![
            rule("x-id", "{attribute:request.id}"),
            HeaderRule { denies: true, ..rule("authorization", "Bearer {value:jwt}") },
        ]);
        assert_eq!(headers.request(), types::Action::Pause);
        let responses = fake::with(|host| std::mem::take(&mut host.responses));
        let body = "the header authorization cannot be written yet: a value is missing\n";
        assert_eq!(responses, [(503, body.to_owned())]);
        publish("jwt", b"abc");
        headers.refresh();
        assert_eq!(headers.request(), types::Action::Continue);
        assert_eq!(request(), [("authorization".to_owned(), "Bearer abc".to_owned())]);
        assert_eq!(
            fake::with(|host| (
                host.stat("tributary_headers_skipped"),
                host.stat("tributary_requests_denied")
            )),
            (3, 1)
        );
    }

    #[test]
    fn an_attribute_with_a_line_break_is_not_written() {
        fake::reset();
        fake::with(|host| host.streams.begin([("request.path", b"/a\r\nx: y".to_vec())]));
        let headers = Headers::new(vec![rule("x-path", "{attribute:request.path}")]);
        headers.request();
        assert_eq!(request(), []);
    }
}
