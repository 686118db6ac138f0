//! The CEL list that reads all values of a plan in one host call, and the wire format of its result.

use crate::observation::Observation;
use tributary_plan::plan::SOURCES_MAX;
use tributary_proto::pairs::Pairs;

/// Writes the list expression of `items`.
pub fn list<'a>(items: impl Iterator<Item = &'a str>) -> String {
    format!("[{}]", items.collect::<Vec<_>>().join(", "))
}

/// Reads the result of a list of `count` sources into an observation. Returns false if it has another format.
///
/// Envoy 1.40 encodes a list as pairs: their names are the items, their values are empty.
#[must_use]
pub fn read<'a>(result: &'a [u8], count: usize, observation: &mut Observation<'a>) -> bool {
    let Some(mut pairs) = Pairs::read(result) else { return false };
    if pairs.announced() != count || count > SOURCES_MAX {
        return false;
    }
    observation.values_mut().iter_mut().take(count).all(|value| {
        *value = pairs.next_name();
        value.is_some()
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// The result of `['ab', 7, '']` in Envoy 1.40.
    const RESULT: &[u8] =
        b"\x03\0\0\0\x02\0\0\0\0\0\0\0\x08\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0ab\0\0\x07\0\0\0\0\0\0\0\0\0\0\0";

    #[test]
    fn a_list_is_written_and_its_result_is_read() {
        assert_eq!(list(["request.method", "7"].into_iter()), "[request.method, 7]");
        let mut observation = Observation::default();
        assert!(read(RESULT, 3, &mut observation));
        assert_eq!(observation.bytes(0), b"ab");
        assert_eq!(observation.integer(1), Some(7));
        assert_eq!([observation.bytes(2), observation.bytes(3)], [b"", b""]);
    }

    #[test]
    fn a_result_in_another_format_is_rejected() {
        let rejected = |result, count| !read(result, count, &mut Observation::default());
        assert!(rejected(RESULT, 2), "more items than sources");
        for length in 0..RESULT.len() {
            assert!(rejected(&RESULT[..length], 3), "cut after {length} bytes");
        }
    }

    proptest! {
        #[test]
        fn no_result_panics(bytes in prop::collection::vec(any::<u8>(), 0..200), count in 0usize..60) {
            let _ = read(&bytes, count, &mut Observation::default());
        }
    }
}
