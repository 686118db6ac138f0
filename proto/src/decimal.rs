//! Doubles as text, in every format that is written: JSON, Prometheus text, labels and log lines.

/// A double as the shortest text that reads back as the same double: `0.005`, `1`, `-2.5`, `1e21`.
pub fn text(value: f64) -> String {
    shortest(&mut zmij::Buffer::new(), value).to_owned()
}

/// Appends a double as [`text`].
pub fn write(out: &mut Vec<u8>, value: f64) {
    out.extend_from_slice(shortest(&mut zmij::Buffer::new(), value).as_bytes());
}

fn shortest(buffer: &mut zmij::Buffer, value: f64) -> &str {
    // JSON has no infinities and no NaN, and no sum is any.
    let finite = if value.is_nan() { 0.0 } else { value.clamp(f64::MIN, f64::MAX) };
    let text = buffer.format_finite(finite);
    text.strip_suffix(".0").unwrap_or(text)
}
