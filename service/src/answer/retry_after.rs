//! `Retry-After` (RFC 9110 section 10.2.3): a number of seconds, or a date.

use std::time::Duration;

/// The longest that a collector is left alone: one that asks for more is tried all the same, as one that asks for a year is
/// more likely wrong than right.
pub const LONGEST: Duration = Duration::from_secs(600);

const MONTHS: [&str; 12] =
    ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];

/// How long to wait from now; none if `text` says neither a number nor a date.
pub(super) fn parse(text: &[u8], now_unix_nano: u64) -> Option<Duration> {
    let text = std::str::from_utf8(text).ok()?.trim();
    let wait = match text.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => {
            let date = Duration::from_secs(unix_seconds(text)?);
            date.saturating_sub(Duration::from_nanos(now_unix_nano))
        }
    };
    Some(wait.min(LONGEST))
}

/// An IMF-fixdate such as `Sun, 06 Nov 1994 08:49:37 GMT`; the two obsolete forms are no longer sent.
fn unix_seconds(date: &str) -> Option<u64> {
    let rest = date.split_once(',')?.1.strip_prefix(' ')?;
    let mut words = rest.split(' ');
    let day = words.next()?.parse::<u64>().ok().filter(|day| (1..=31).contains(day))?;
    let month_name = words.next()?;
    let month = u64::try_from(MONTHS.iter().position(|name| *name == month_name)?).ok()?;
    let year = words.next()?.parse::<u64>().ok().filter(|year| (1970..=9999).contains(year))?;
    let mut time =
        words.next()?.splitn(3, ':').map(|part| part.parse::<u64>().ok().filter(|part| *part <= 60));
    let (hour, minute, second) = (time.next()??, time.next()??, time.next()??);
    if words.next()? != "GMT" || words.next().is_some() || hour > 23 {
        return None;
    }
    // Days since the epoch, with years that begin in March, so that the leap day is the last of its year
    // (H. Hinnant, "chrono-compatible low-level date algorithms", `days_from_civil`).
    let (year, month) = if month < 2 { (year - 1, month + 10) } else { (year, month - 2) };
    let (era, year_of_era) = (year / 400, year % 400);
    let day_of_year = (153 * month + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    let days = (era * 146_097 + day_of_era).checked_sub(719_468)?;
    Some(days * 86_400 + hour * 3_600 + minute * 60 + second)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn seconds_and_dates_are_read() {
        for (text, expected) in [
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(784_111_777)),
            ("Thu, 01 Jan 1970 00:00:00 GMT", Some(0)),
            ("Thu, 29 Feb 2024 23:59:59 GMT", Some(1_709_251_199)),
            ("Fri, 01 Mar 2024 00:00:00 GMT", Some(1_709_251_200)),
            ("Sat, 21 Nov 2026 00:00:00 GMT", Some(1_795_219_200)),
            ("Sunday, 06-Nov-94 08:49:37 GMT", None),
            ("Sun, 06 Nov 1994 08:49:37", None),
            ("Sun, 06 Nov 1994 25:49:37 GMT", None),
            ("Sun, 00 Nov 1994 08:49:37 GMT", None),
            ("Sun, 06 Foo 1994 08:49:37 GMT", None),
            ("", None),
        ] {
            assert_eq!(unix_seconds(text), expected, "{text:?}");
        }
        let minute_before = 784_111_717 * 1_000_000_000;
        assert_eq!(parse(b"Sun, 06 Nov 1994 08:49:37 GMT", minute_before), Some(Duration::from_secs(60)));
        assert_eq!(
            parse(b"Sun, 06 Nov 1994 08:49:37 GMT", u64::MAX),
            Some(Duration::ZERO),
            "a date that has passed"
        );
        assert_eq!(parse(b" 120 ", 0), Some(Duration::from_secs(120)));
        assert_eq!(parse(b"31536000", 0), Some(LONGEST));
        assert_eq!(parse(b"-1", 0), None);
        assert_eq!(parse(b"1.5", 0), None);
    }

    proptest! {
        #[test]
        fn no_text_does_harm(text in prop::collection::vec(any::<u8>(), 0..60), date in "[A-Z][a-z]{2}, [0-9]{1,20} [A-Z][a-z]{2} [0-9]{1,20} [0-9:]{1,30} GMT") {
            let _ = parse(&text, 0);
            let _ = parse(date.as_bytes(), 0);
        }
    }
}
