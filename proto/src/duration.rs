//! Durations in a configuration: `250ms`, `1s`, `1.5s`, `2m`, `1h`.

use std::time::Duration;

/// The units, with their milliseconds.
const UNITS: [(&str, u64); 4] = [("h", 3_600_000), ("m", 60_000), ("s", 1_000), ("ms", 1)];

/// Parses a duration with a precision of one millisecond. Returns `None` if the text is not a duration.
pub fn parse(text: &str) -> Option<Duration> {
    let digits = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let (number, unit) = text.split_at_checked(digits)?;
    let (_, unit_ms) = UNITS.iter().copied().find(|(name, _)| *name == unit)?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, "0"));
    let whole_ms = whole.parse::<u64>().ok()?.checked_mul(unit_ms)?;
    let scale = 10u64.checked_pow(u32::try_from(fraction.len()).ok()?)?;
    let fraction_ms = fraction.parse::<u64>().ok()?.checked_mul(unit_ms)?.checked_div(scale)?;
    Some(Duration::from_millis(whole_ms.checked_add(fraction_ms)?))
}

/// Converts a duration to nanoseconds in 64 bits, which suffice for 584 years. The standard library uses
/// 128 bits, which are slow and large in Wasm.
pub fn as_ns(duration: Duration) -> u64 {
    duration.as_secs().saturating_mul(1_000_000_000).saturating_add(duration.subsec_nanos().into())
}

/// Formats a duration so that [`parse`] can read it.
pub fn format(duration: Duration) -> String {
    let ms = as_ms(duration);
    let is_whole = |(_, unit_ms): &(&str, u64)| ms > 0 && ms.is_multiple_of(*unit_ms);
    let (unit, unit_ms) = UNITS.iter().copied().find(is_whole).unwrap_or(("s", 1_000));
    format!("{}{unit}", ms / unit_ms)
}

/// Converts a duration to milliseconds.
fn as_ms(duration: Duration) -> u64 {
    duration.as_secs().saturating_mul(1_000).saturating_add(duration.subsec_millis().into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_parsed() {
        for (text, expected_ms) in [
            ("250ms", Some(250)),
            ("1s", Some(1_000)),
            ("1.5s", Some(1_500)),
            ("0.25s", Some(250)),
            ("2m", Some(120_000)),
            ("1h", Some(3_600_000)),
            ("0s", Some(0)),
            ("", None),
            ("1", None),
            ("s", None),
            ("-1s", None),
            ("1.2.3s", None),
            ("1 s", None),
            ("1d", None),
            ("99999999999999999999s", None),
            ("18446744073709551615h", None),
        ] {
            assert_eq!(parse(text), expected_ms.map(Duration::from_millis), "{text:?}");
        }
    }

    #[test]
    fn conversions_agree_with_the_standard_library_and_saturate() {
        for duration in [Duration::ZERO, Duration::from_nanos(1_999_999), Duration::new(12, 345_678_901)] {
            assert_eq!(u128::from(as_ns(duration)), duration.as_nanos());
            assert_eq!(u128::from(as_ms(duration)), duration.as_millis());
        }
        assert_eq!((as_ns(Duration::MAX), as_ms(Duration::MAX)), (u64::MAX, u64::MAX));
    }

    #[test]
    fn a_formatted_duration_can_be_parsed() {
        for ms in [0, 1, 999, 1_000, 1_500, 60_000, 90_000, 3_600_000] {
            let duration = Duration::from_millis(ms);
            assert_eq!(parse(&format(duration)), Some(duration), "{ms}");
        }
    }
}
