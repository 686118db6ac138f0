//! The text of doubles, in all formats: JSON, Prometheus text, labels and log lines.

/// Formats a double as the shortest text that parses to the same double: `0.005`, `1`, `-2.5`, `1e21`.
pub fn text(value: f64) -> String {
    shortest(&mut zmij::Buffer::new(), value).to_owned()
}

/// Appends the [`text`] of a double.
pub fn write(out: &mut Vec<u8>, value: f64) {
    out.extend_from_slice(shortest(&mut zmij::Buffer::new(), value).as_bytes());
}

fn shortest(buffer: &mut zmij::Buffer, value: f64) -> &str {
    // JSON has no infinities and no NaN, and no sum has these values.
    let finite = if value.is_nan() { 0.0 } else { value.clamp(f64::MIN, f64::MAX) };
    let text = buffer.format_finite(finite);
    text.strip_suffix(".0").unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn ordinary_numbers_have_no_exponent_and_integers_no_point() {
        for (value, expected) in [
            (0.0, "0"),
            (1.0, "1"),
            (-3.0, "-3"),
            (2.5, "2.5"),
            (0.005, "0.005"),
            (0.00001, "0.00001"),
            (0.1 + 0.2, "0.30000000000000004"),
            (123_456.789, "123456.789"),
            (9_007_199_254_740_992.0, "9007199254740992"),
            (1e15, "1000000000000000"),
            (1e16, "1e+16"),
            (1.5e-7, "1.5e-7"),
            (-1e300, "-1e+300"),
        ] {
            assert_eq!(text(value), expected);
        }
    }

    #[test]
    fn between_two_shortest_texts_each_is_right() {
        // This double is exactly halfway between the two texts, and both parse to it.
        let double = 8_829_775_192_507.312;
        assert_eq!(double, 8_829_775_192_507.313);
        assert!(["8829775192507.312", "8829775192507.313"].contains(&&*text(double)));
    }

    #[test]
    fn every_double_is_a_number() {
        assert_eq!(text(f64::INFINITY), text(f64::MAX));
        assert_eq!(text(f64::NEG_INFINITY), text(f64::MIN));
        assert_eq!(text(f64::NAN), "0");
    }

    proptest! {
        #[test]
        fn any_double_can_be_parsed(bits: u64) {
            let value = f64::from_bits(bits);
            let mut bytes = Vec::new();
            write(&mut bytes, value);
            let written = text(value);
            prop_assert_eq!(&bytes, written.as_bytes());
            if value.is_finite() {
                prop_assert_eq!(written.parse(), Ok(value));
            }
            prop_assert!(serde_json::from_str::<f64>(&written).is_ok(), "{} is JSON", written);
        }

        #[test]
        fn sums_and_bounds_are_as_short_as_in_the_standard_library(
            value in 1u64..1 << 53,
            divisor in prop::sample::select(vec![1u32, 1_000, 1_000_000]),
        ) {
            #[expect(clippy::cast_precision_loss, reason = "in range")]
            let double = value as f64 / f64::from(divisor);
            // Outside this range, `text` writes an exponent, and the standard library does not.
            prop_assume!((1e-5..1e16).contains(&double));
            let (written, standard) = (text(double), double.to_string());
            prop_assert_eq!(written.len(), standard.len(), "{} is {}", standard, written);
        }
    }
}
