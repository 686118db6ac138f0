//! `headers`: what is written into requests and responses.

use tributary_proto::config::{Section, quoted};

use crate::plan::{Action, HeaderRule, Missing, Plan, RuleSide, Streams};
use crate::source;
use crate::template::{self, Template};

const RULES_MAX: usize = 64;
const NAME_BYTES_MAX: usize = 128;
const VALUE_BYTES_MAX: usize = 1024;

/// Headers that frame a message: to change them is to break it.
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
    let side = if side == Some("response") { RuleSide::Response } else { RuleSide::Request };
    let action = match action {
        Some("append") => Action::Append,
        Some("remove") => Action::Remove,
        _ => Action::Set,
    };
    let name = name?;
    if !source::is_header(&name) || FRAMING.contains(&name.as_str()) {
        let allowed = "a header's name in lower case, none that frames a message";
        section.note("name", &quoted(&name), allowed);
    }
    let template = match (&value, action) {
        (None, Action::Remove) => Template::default(),
        (Some(value), Action::Set | Action::Append) => match Template::parse(value) {
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
        (Some(_), Action::Remove) => {
            section.note("value", "a value", "none: what is removed needs none");
            return None;
        }
    };
    let missing = if missing == Some("deny") { Missing::Deny } else { Missing::Skip };
    if missing == Missing::Deny && side == RuleSide::Response {
        section.note("if_missing", "\"deny\"", "only on requests");
    }
    Some(HeaderRule { side, action, name, template, missing })
}
