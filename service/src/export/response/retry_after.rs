//! `Retry-After` (RFC 9110 section 10.2.3): a number of seconds or a date, which `httpdate` reads.

use std::time::{Duration, UNIX_EPOCH};

/// The maximum wait. A collector that asks for a longer wait, such as a year, is probably wrong.
const LONGEST: Duration = Duration::from_secs(600);

/// Returns how long to wait from now; `None` if `text` is neither a number nor a date.
pub(super) fn parse(text: &[u8], now_unix_nano: u64) -> Option<Duration> {
    let text = std::str::from_utf8(text).ok()?.trim();
    let wait = match text.parse::<u64>() {
        Ok(seconds) => Duration::from_secs(seconds),
        Err(_) => unix_time(text)?.saturating_sub(Duration::from_nanos(now_unix_nano)),
    };
    Some(wait.min(LONGEST))
}

/// Reads a date in one of the three forms of RFC 9110 section 5.6.7, as the time since the Unix epoch.
/// Only uses the arithmetic of `SystemTime`: its clock, `SystemTime::now`, panics on this target.
fn unix_time(date: &str) -> Option<Duration> {
    httpdate::parse_http_date(date).ok()?.duration_since(UNIX_EPOCH).ok()
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
            ("Fri, 31 Dec 9999 23:59:59 GMT", Some(253_402_300_799)),
            ("Sunday, 06-Nov-94 08:49:37 GMT", Some(784_111_777)),
            ("Sun Nov  6 08:49:37 1994", Some(784_111_777)),
            ("Sun, 06 Nov 1994 08:49:37", None),
            ("Mon, 06 Nov 1994 08:49:37 GMT", None),
            ("Tue, 31 Feb 2024 00:00:00 GMT", None),
            ("Wed, 31 Dec 1969 23:59:59 GMT", None),
            ("Sun, 06 Nov 1994 25:49:37 GMT", None),
            ("Sun, 00 Nov 1994 08:49:37 GMT", None),
            ("Sun, 06 Foo 1994 08:49:37 GMT", None),
            ("", None),
        ] {
            assert_eq!(unix_time(text), expected.map(Duration::from_secs), "{text:?}");
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
        fn no_text_panics(
            text in prop::collection::vec(any::<u8>(), 0..60),
            imf in "(Mon|Tue|Sun), [0-9]{2} (Jan|Feb|Dec) [0-9]{4} [0-9]{2}:[0-9]{2}:[0-9]{2} GMT",
            rfc850 in "(Mon|Tues|Wednes|Satur)day, [0-9]{2}-(Jan|Feb|Dec)-[0-9]{2} [0-9]{2}:[0-9]{2}:[0-9]{2} GMT",
            asctime in "(Mon|Tue|Sun) (Jan|Feb|Dec) [ 0-9][0-9] [0-9]{2}:[0-9]{2}:[0-9]{2} [0-9]{4}",
            cut in 0usize..40,
        ) {
            let _ = parse(&text, 0);
            for date in [imf, rfc850, asctime] {
                let _ = parse(date.as_bytes(), 0);
                let _ = parse(date.get(cut..).unwrap_or_default().as_bytes(), 0);
                let _ = parse(date.get(..cut).unwrap_or_default().as_bytes(), 0);
            }
        }

        #[test]
        fn every_second_up_to_the_last_year_is_read(seconds in 0u64..253_402_300_800) {
            let date = httpdate::fmt_http_date(UNIX_EPOCH + Duration::from_secs(seconds));
            prop_assert_eq!(unix_time(&date), Some(Duration::from_secs(seconds)), "{}", date);
        }
    }
}
