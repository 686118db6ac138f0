//! `headers`: changes of headers in requests and responses.

use tributary_proto::config::{Section, quoted};

use crate::plan::{HeaderAction, HeaderRule, IfMissing, Plan, Side, Streams};
use crate::source;
use crate::template::{self, HeaderTemplate};

const RULES_MAX: usize = 64;
const NAME_BYTES_MAX: usize = 128;
const VALUE_BYTES_MAX: usize = 1024;

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
    let side = section.word("on", &["request", "response"]);
    let action = section.word("action", &["set", "append", "remove"]);
    let name = section.required().text("name", 1..=NAME_BYTES_MAX);
    let value = section.text("value", 1..=VALUE_BYTES_MAX);
    let missing = section.word("if_missing", &["skip", "deny"]);
    let side = if side == Some("response") { Side::Response } else { Side::Request };
    let action = match action {
        Some("append") => HeaderAction::Append,
        Some("remove") => HeaderAction::Remove,
        _ => HeaderAction::Set,
    };
    let name = name?;
    if !source::is_header(&name) || FRAMING.contains(&name.as_str()) {
        let allowed =
            "a header's name in lower case, except content-length, transfer-encoding, connection and host";
        section.note("name", &quoted(&name), allowed);
    }
    let template = match (&value, action) {
        (None, HeaderAction::Remove) => HeaderTemplate::default(),
        (Some(value), HeaderAction::Set | HeaderAction::Append) => match HeaderTemplate::parse(value) {
            Some(template) => template,
            None => {
                section.note("value", &quoted(value), template::ALLOWED);
                return None;
            }
        },
        (None, _) => {
            section.note("value", "nothing", template::ALLOWED);
            return None;
        }
        (Some(_), HeaderAction::Remove) => {
            section.note("value", "a value", "no value with action \"remove\"");
            return None;
        }
    };
    let missing = if missing == Some("deny") { IfMissing::Deny } else { IfMissing::Skip };
    if missing == IfMissing::Deny && side == Side::Response {
        section.note("if_missing", "\"deny\"", "only on requests");
    }
    Some(HeaderRule { side, action, name, template, missing })
}
