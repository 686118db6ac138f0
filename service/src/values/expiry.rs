//! The expiry of a value, from the value itself or from the response.

use std::time::Duration;

use tributary_proto::duration::as_ns;
use tributary_proto::json;

/// How the expiry of a value is determined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expiry {
    /// The value does not expire: it is fetched at its interval.
    Never,
    /// The claim `exp` of the value, a JWT (RFC 7519 section 4.1.4).
    Jwt,
    /// `cache-control: max-age` of the response (RFC 9111 section 5.2.2.1).
    MaxAge,
}

impl Expiry {
    /// Returns when a value that was fetched now expires, in Unix nanoseconds, if that is known.
    pub fn of(self, value: &[u8], cache_control: Option<&[u8]>, now_unix_nano: u64) -> Option<u64> {
        match self {
            Self::Never => None,
            Self::Jwt => Some(expiration(value)?.saturating_mul(1_000_000_000)),
            Self::MaxAge => {
                let age = Duration::from_secs(max_age(cache_control?)?);
                Some(now_unix_nano.saturating_add(as_ns(age)))
            }
        }
    }
}

/// Returns the claim `exp` of a JWT, in Unix seconds. The signature is not checked: the configuration trusts
/// the endpoint.
fn expiration(token: &[u8]) -> Option<u64> {
    let claims = token.split(|byte| *byte == b'.').nth(1)?;
    json::whole(json::read(&base64url(claims)?).ok()?.get("exp")?)
}

/// Decodes base64url without padding (RFC 4648 section 5).
fn base64url(text: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let (mut bits, mut held) = (0_u32, 0_u32);
    for letter in text {
        let six = match letter {
            b'A'..=b'Z' => letter - b'A',
            b'a'..=b'z' => letter - b'a' + 26,
            b'0'..=b'9' => letter - b'0' + 52,
            b'-' => 62,
            b'_' => 63,
            _ => return None,
        };
        held = (held << 6 | u32::from(six)) & 0x3fff;
        bits = bits.saturating_add(6);
        if bits >= 8 {
            bits = bits.saturating_sub(8);
            bytes.push(u8::try_from(held >> bits & 0xff).ok()?);
        }
    }
    Some(bytes)
}

fn max_age(cache_control: &[u8]) -> Option<u64> {
    let text = std::str::from_utf8(cache_control).ok()?;
    let mut directives = text.split(',').map(str::trim);
    directives.find_map(|directive| directive.strip_prefix("max-age=")?.trim_matches('"').parse().ok())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// `{"alg":"none"}` . `{"sub":"shop","exp":2000000000}` .
    const TOKEN: &[u8] = b"eyJhbGciOiJub25lIn0.eyJzdWIiOiJzaG9wIiwiZXhwIjoyMDAwMDAwMDAwfQ.";

    #[test]
    fn a_token_has_its_expiry() {
        assert_eq!(Expiry::Jwt.of(TOKEN, None, 1), Some(2_000_000_000_000_000_000));
        for token in [&b"no token"[..], b"a.b.c", b"a.!.c", b"", b"eyJ9.e30."] {
            assert_eq!(Expiry::Jwt.of(token, None, 1), None, "{token:?}");
        }
    }

    #[test]
    fn a_response_has_the_maximum_age_of_its_value() {
        let of = |header: &str| Expiry::MaxAge.of(b"", Some(header.as_bytes()), 5);
        assert_eq!(of("private, max-age=2"), Some(2_000_000_005));
        assert_eq!(of("max-age=\"2\""), Some(2_000_000_005));
        assert_eq!((of("no-store"), of("max-age=x")), (None, None));
        assert_eq!(Expiry::MaxAge.of(b"", None, 5), None);
        assert_eq!(Expiry::Never.of(TOKEN, Some(b"max-age=2"), 5), None);
    }

    proptest! {
        #[test]
        fn no_value_panics(value in prop::collection::vec(any::<u8>(), 0..99)) {
            let _ = Expiry::Jwt.of(&value, None, 1);
            let _ = Expiry::MaxAge.of(b"", Some(&value), 1);
        }

        #[test]
        fn base64url_is_decoded(bytes in prop::collection::vec(any::<u8>(), 0..40)) {
            const LETTERS: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";
            let bits: Vec<u8> = bytes.iter().flat_map(|byte| (0..8).rev().map(move |bit| byte >> bit & 1)).collect();
            let text: Vec<u8> = bits.chunks(6).map(|six| {
                let number = (0..6).fold(0_usize, |sum, at| sum << 1 | usize::from(six.get(at).copied().unwrap_or(0)));
                LETTERS[number]
            }).collect();
            prop_assert_eq!(base64url(&text), Some(bytes));
        }
    }
}
