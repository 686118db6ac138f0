//! The CEL list that reads everything a plan wants in one host call, and the form in which the host answers it.

use crate::observation::Observation;
use tributary_plan::plan::SOURCES_MAX;
use tributary_proto::pairs::Pairs;

/// The list expression of `items`, in their order.
pub fn list<'a>(items: impl Iterator<Item = &'a str>) -> String {
    format!("[{}]", items.collect::<Vec<_>>().join(", "))
}

/// Puts the values in the host's answer to a list of `count` sources into the observation; false if the answer has another form.
///
/// A list crosses the boundary as pairs whose names are the items and whose values are empty (Envoy 1.40).
#[must_use]
pub fn read<'a>(answer: &'a [u8], count: usize, observation: &mut Observation<'a>) -> bool {
    read_into(answer, count, observation).is_some()
}

fn read_into<'a>(answer: &'a [u8], count: usize, observation: &mut Observation<'a>) -> Option<()> {
    let mut pairs = Pairs::read(answer)?;
    if pairs.announced() != count || count > SOURCES_MAX {
        return None;
    }
    for place in observation.places_mut().iter_mut().take(count) {
        let (item, _) = pairs.next()?;
        *place = Some(item);
    }
    Some(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// An answer as Envoy 1.40 gave it to `['ab', 7, '']`.
    const ANSWER: &[u8] =
        b"\x03\0\0\0\x02\0\0\0\0\0\0\0\x08\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0ab\0\0\x07\0\0\0\0\0\0\0\0\0\0\0";

    #[test]
    fn a_list_is_written_and_its_answer_read() {
        assert_eq!(list(["request.method", "7"].into_iter()), "[request.method, 7]");
        let mut observation = Observation::default();
        assert!(read(ANSWER, 3, &mut observation));
        assert_eq!(observation.bytes(0), b"ab");
        assert_eq!(observation.integer(1), Some(7));
        assert_eq!([observation.bytes(2), observation.bytes(3)], [b"", b""]);
    }

    #[test]
    fn an_answer_of_another_form_is_none() {
        let refused = |answer, count| !read(answer, count, &mut Observation::default());
        assert!(refused(ANSWER, 2), "fewer items than asked for");
        for length in 0..ANSWER.len() {
            assert!(refused(&ANSWER[..length], 3), "cut after {length} bytes");
        }
    }

    proptest! {
        #[test]
        fn no_answer_does_harm(bytes in prop::collection::vec(any::<u8>(), 0..200), count in 0usize..60) {
            let _ = read(&bytes, count, &mut Observation::default());
        }
    }
}
