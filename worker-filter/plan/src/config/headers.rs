//! `headers`: changes of headers in requests and responses.

use tributary_proto::config::{Section, quoted};

use crate::plan::{HeaderAction, HeaderRule, Plan, Side, Streams};
use crate::source;
use crate::template::{self, HeaderTemplate};

const RULES_MAX: usize = 64;
const NAME_BYTES_MAX: usize = 128;
const VALUE_BYTES_MAX: usize = 1024;

const ACTIONS: [(&str, HeaderAction); 3] =
    [("set", HeaderAction::Set), ("append", HeaderAction::Append), ("remove", HeaderAction::Remove)];

/// Headers that frame a message, which a change would break.
const FRAMING: [&str; 4] = ["content-length", "transfer-encoding", "connection", "host"];

pub(super) fn read(root: &mut Section<'_>, plan: &mut Plan) {
    let rules = root.sections("headers", 0..=RULES_MAX, read_one);
    plan.rules = rules.into_iter().flatten().flatten().collect();
    if plan.streams == Streams::Http {
        return;
    }
    const ALLOWED: &str = "none for TCP connections, which have no headers";
    if !plan.rules.is_empty() {
        root.note("headers", "headers", ALLOWED);
    }
    if plan.counters.iter().any(|counter| counter.response_header.is_some()) {
        root.note("counters", "a response_header", ALLOWED);
    }
}

fn read_one(section: &mut Section<'_>) -> Option<HeaderRule> {
    let side = section.choice("on", &[("request", Side::Request), ("response", Side::Response)]);
    let action = section.choice("action", &ACTIONS).unwrap_or(HeaderAction::Set);
    let name = section.required().text("name", 1..=NAME_BYTES_MAX);
    let value = section.text("value", 1..=VALUE_BYTES_MAX);
    let denies = section.choice("if_missing", &[("skip", false), ("deny", true)]).unwrap_or(false);
    let side = side.unwrap_or(Side::Request);
    let name = name?;
    if !source::is_header(&name) || FRAMING.contains(&name.as_str()) {
        let allowed =
            "a header's name in lower case, except content-length, transfer-encoding, connection and host";
        section.note("name", &quoted(&name), allowed);
    }
    let removes = action == HeaderAction::Remove;
    let template = match value {
        None if removes => HeaderTemplate::default(),
        Some(_) if removes => {
            section.note("value", "a value", "no value with action \"remove\"");
            return None;
        }
        value => {
            let template = value.as_deref().and_then(HeaderTemplate::parse);
            if template.is_none() {
                let found = value.map_or_else(|| "nothing".to_owned(), |value| quoted(&value));
                section.note("value", &found, template::ALLOWED);
            }
            template?
        }
    };
    if denies && side == Side::Response {
        section.note("if_missing", "\"deny\"", "only on requests");
    }
    Some(HeaderRule { side, action, name, template, denies })
}
