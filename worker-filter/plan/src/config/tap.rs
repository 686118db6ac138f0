//! `tap`: streams to log while somebody investigates a problem.

use tributary_proto::config::{Section, quoted};

use super::dimension::EXPRESSION_BYTES_MAX;
use crate::plan::{Plan, TapConfig};
use crate::source;

const PER_MINUTE_DEFAULT: u64 = 10;
const PER_MINUTE_MAX: u64 = 1_000;
const BODY_BYTES_DEFAULT: usize = 256;
const BODY_BYTES_MAX: usize = 4_096;
const MASK_MAX: usize = 64;

/// The names of headers that contain secrets.
const MASKED: [&str; 6] =
    ["authorization", "cookie", "set-cookie", "proxy-authorization", "x-api-key", "x-amz-security-token"];

pub(super) fn read(root: &mut Section<'_>, plan: &mut Plan) {
    let is_on = root.has("tap");
    plan.tap = root.section("tap", |section| {
        if is_on {
            section.required();
        }
        let condition = section.text("condition", 1..=EXPRESSION_BYTES_MAX);
        let per_minute = section.number("per_minute", 1..=PER_MINUTE_MAX).unwrap_or(PER_MINUTE_DEFAULT);
        let body_bytes = section.size("body_bytes", 0..=BODY_BYTES_MAX).unwrap_or(BODY_BYTES_DEFAULT);
        let masked = section.list("mask", MASK_MAX, 1..=128);
        for name in masked.iter().flatten().filter(|name| !source::is_header(name)) {
            section.note("mask", &quoted(name), "headers' names in lower case");
        }
        let masked = masked.unwrap_or_else(|| MASKED.map(str::to_owned).into());
        condition.map(|condition| TapConfig { condition, per_minute, body_bytes, masked })
    });
}
