//! The trace of a request, from its header `traceparent` (W3C Trace Context, version 00).

use tributary_proto::exemplar::Exemplar;

/// The bit of the flags that marks a trace as recorded.
const SAMPLED: u8 = 1;

/// Creates an exemplar of a value from the header. Returns `None` if the header is invalid or its trace is
/// not recorded.
pub fn exemplar(traceparent: &[u8], value: u64, time_unix_nano: u64) -> Option<Exemplar> {
    let mut fields = traceparent.split(|byte| *byte == b'-');
    let (version, trace_id, span_id, flags) =
        (fields.next()?, fields.next()?, fields.next()?, fields.next()?);
    // A later version starts with the same four fields (section 4.3). Version ff is invalid.
    let [version] = hex::<1>(version)?;
    let is_valid = version != 0xff && (version > 0 || fields.next().is_none());
    let [flags] = hex::<1>(flags)?;
    if !is_valid || flags & SAMPLED == 0 {
        return None;
    }
    Exemplar::new(value, time_unix_nano, hex(trace_id)?, hex(span_id)?)
}

/// Parses exactly `N` bytes of lower-case hexadecimal digits.
fn hex<const N: usize>(digits: &[u8]) -> Option<[u8; N]> {
    let mut bytes = [0; N];
    if digits.len() != N.checked_mul(2)? {
        return None;
    }
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        for digit in pair {
            let digit = match digit {
                b'0'..=b'9' => digit - b'0',
                b'a'..=b'f' => digit - b'a' + 10,
                _ => return None,
            };
            *byte = *byte << 4 | digit;
        }
    }
    Some(bytes)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const TRACE: &str = "0af7651916cd43dd8448eb211c80319c";
    const SPAN: &str = "b7ad6b7169203331";

    #[test]
    fn a_recorded_trace_is_read() {
        let exemplar = exemplar(format!("00-{TRACE}-{SPAN}-01").as_bytes(), 7, 9).unwrap();
        assert_eq!((exemplar.value(), exemplar.time_unix_nano()), (7, 9));
        assert_eq!(exemplar.trace_id()[..2], [0x0a, 0xf7]);
        assert_eq!(exemplar.span_id()[7], 0x31);
    }

    #[test]
    fn a_header_without_a_recorded_trace_gives_no_exemplar() {
        for header in [
            String::new(),
            format!("00-{TRACE}-{SPAN}-00"),
            format!("00-{TRACE}-{SPAN}-01-more"),
            format!("00-{TRACE}-{SPAN}"),
            format!("ff-{TRACE}-{SPAN}-01"),
            format!("00-{}-{SPAN}-01", TRACE.to_uppercase()),
            format!("00-{}-{SPAN}-01", "0".repeat(32)),
            format!("00-{TRACE}-{}-01", "0".repeat(16)),
            format!("00-{TRACE}-{SPAN}-1"),
        ] {
            assert_eq!(exemplar(header.as_bytes(), 1, 1), None, "{header}");
        }
        assert!(exemplar(format!("01-{TRACE}-{SPAN}-01-more").as_bytes(), 1, 1).is_some(), "a later version");
    }

    proptest! {
        #[test]
        fn no_header_panics(header in prop::collection::vec(any::<u8>(), 0..80)) {
            let _ = exemplar(&header, 1, 1);
        }
    }
}
