//! Doubles as text: the fewest digits that mean the same double, without an exponent.
//!
//! By hand, and only for the doubles that there are here, which are integers over integers: what the standard library and
//! serde have for all doubles weighs ten times as much in a module, most of it tables.

/// The most digits that are needed to tell a double.
const DIGITS_MAX: usize = 17;

/// The largest that is written: no sum gets there, even of nanoseconds, and up to it 128 bits are enough to compute with.
const GREATEST: f64 = 9.999_999_999_999_999e35;
/// The least that is not written as 0: the least value over the greatest divisor is 2^-64.
const LEAST: f64 = 5e-20;

const MANTISSA_BITS: u32 = f64::MANTISSA_DIGITS - 1;
/// What the exponent in a double's bits is more than that of its mantissa as an integer.
const EXPONENT_BIAS: i32 = f64::MAX_EXP - 1 + 52;

/// The digits of a number, and how many of them are before the point.
struct Decimal {
    digits: [u8; DIGITS_MAX],
    count: usize,
    point: i32,
}

/// A double as text, such as `0.005`, `1` or `-2.5`.
pub fn text(value: f64) -> String {
    let mut bytes = Vec::new();
    write(&mut bytes, value);
    bytes.into_iter().map(char::from).collect()
}

/// Appends a double as [`text`].
pub fn write(out: &mut Vec<u8>, value: f64) {
    if value < 0.0 {
        out.push(b'-');
    }
    let size = value.abs().min(GREATEST);
    if size < LEAST {
        out.push(b'0');
        return;
    }
    let Decimal { digits, count, point } = shortest(size);
    let digits = digits.get(..count).unwrap_or_default();
    match usize::try_from(point) {
        Ok(0) | Err(_) => {
            out.extend_from_slice(b"0.");
            out.extend((point..0).map(|_| b'0'));
            out.extend_from_slice(digits);
        }
        Ok(point) => {
            let (whole, fraction) = digits.split_at_checked(point).unwrap_or((digits, &[]));
            out.extend_from_slice(whole);
            out.extend((whole.len()..point).map(|_| b'0'));
            if !fraction.is_empty() {
                out.push(b'.');
                out.extend_from_slice(fraction);
            }
        }
    }
}

/// The fewest digits that are nearer to `value`, from [`LEAST`] to [`GREATEST`], than to any other double; of those with
/// as few, the nearest.
///
/// Steele's and White's algorithm, as Burger and Dybvig have it ("Printing Floating-Point Numbers Quickly and Accurately",
/// 1996): the number is `rest / scale`, and what is less than `below` under it or `above` over it means the same.
fn shortest(value: f64) -> Decimal {
    let bits = value.to_bits();
    let fraction = bits & ((1 << MANTISSA_BITS) - 1);
    let mantissa = fraction | 1 << MANTISSA_BITS;
    let exponent = i32::try_from(bits >> MANTISSA_BITS).unwrap_or(0) - EXPONENT_BIAS;
    // Doubles lie half as far apart below a power of two as above it.
    let (mut rest, mut scale, mut above) = (u128::from(mantissa) << 2, 4_u128, 2_u128);
    let mut below = if fraction == 0 { 1_u128 } else { 2 };
    if exponent < 0 {
        scale <<= exponent.unsigned_abs();
    } else {
        (rest, above, below) = (rest << exponent, above << exponent, below << exponent);
    }
    // A tie is read as the even one of two doubles.
    let even = mantissa.is_multiple_of(2);
    let reaches = |sum: u128, scale: u128| sum > scale || even && sum == scale;

    let mut point = 0;
    while reaches(rest + above, scale) {
        scale *= 10;
        point += 1;
    }
    while !reaches((rest + above) * 10, scale) {
        (rest, above, below) = (rest * 10, above * 10, below * 10);
        point -= 1;
    }
    let mut decimal = Decimal { digits: [0; DIGITS_MAX], count: 0, point };
    for place in &mut decimal.digits {
        (rest, above, below) = (rest * 10, above * 10, below * 10);
        let mut digit = b'0';
        while rest >= scale {
            rest -= scale;
            digit += 1;
        }
        decimal.count += 1;
        let (down, up) = (reaches(below, rest), reaches(rest + above, scale));
        let nearer_above = rest * 2 >= scale;
        *place = if up && (!down || nearer_above) { digit + 1 } else { digit };
        if down || up {
            break;
        }
    }
    decimal
}

#[cfg(test)]
#[expect(clippy::cast_precision_loss, reason = "any double will do")]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn doubles_are_written_without_exponents() {
        for value in [
            0.0,
            0.005,
            0.25,
            1.0,
            10.0,
            2.5,
            1e-9,
            1.5e-7,
            1e15,
            1e16,
            1.25e20,
            123456.789,
            -0.5,
            -3.0,
            0.1,
            0.3,
            5e-20,
            1e22,
            1e23,
            9_007_199_254_740_993.0,
            GREATEST,
            4.35,
            8.5e-14,
        ] {
            assert_eq!(text(value), value.to_string());
        }
    }

    #[test]
    fn what_no_sum_can_be_is_cut() {
        assert_eq!(text(1e-30), "0");
        assert_eq!(text(f64::INFINITY), GREATEST.to_string());
        assert_eq!(text(-1e300), (-GREATEST).to_string());
    }

    #[test]
    fn powers_of_two_have_nearer_neighbours_below() {
        for power in -64..=120 {
            let value = 2_f64.powi(power);
            for value in [value, value.next_down(), value.next_up()] {
                if (LEAST..=GREATEST).contains(&value) {
                    assert_eq!(text(value), value.to_string());
                }
            }
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]

        #[test]
        fn any_integer_over_any_other_is_written_as_the_standard_library_does(
            (value, value_shift) in (any::<u128>(), 8u32..128),
            (divisor, divisor_shift) in (1..=u64::MAX, 0u32..64),
        ) {
            let double = (value >> value_shift) as f64 / (divisor >> divisor_shift).max(1) as f64;
            let double = double.min(GREATEST);
            prop_assert_eq!(text(double), double.to_string());
        }

        #[test]
        fn any_double_in_range_is_written_as_the_standard_library_does(bits: u64, exponent in 959u64..1142u64) {
            let double = f64::from_bits(bits >> 12 | exponent << 52).min(GREATEST);
            prop_assert_eq!(text(double), double.to_string());
        }

        #[test]
        fn nanoseconds_are_written_as_the_standard_library_does(value: u64, shift in 0u32..64) {
            let seconds = (value >> shift) as f64 / 1e9;
            prop_assert_eq!(text(seconds), seconds.to_string());
        }
    }
}
