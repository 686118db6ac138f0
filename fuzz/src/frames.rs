//! Inputs that consist of several pieces. Each piece follows its length, which takes two bytes,
//! little-endian. Every input can be split into pieces.

/// Splits an input into at most `count_max` pieces; the last piece may be shorter than the length before
/// it.
pub fn split(input: &[u8], count_max: usize) -> impl Iterator<Item = &[u8]> {
    let mut rest = input;
    let next = move || {
        let (length, after) = rest.split_first_chunk::<2>()?;
        let length = usize::from(u16::from_le_bytes(*length)).min(after.len());
        let (piece, after) = after.split_at_checked(length)?;
        rest = after;
        Some(piece)
    };
    std::iter::from_fn(next).take(count_max)
}

/// Joins pieces into one input, the reverse of [`split`].
pub fn join<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
    let mut input = Vec::new();
    for piece in pieces {
        let length = u16::try_from(piece.len()).unwrap_or(u16::MAX);
        input.extend_from_slice(&length.to_le_bytes());
        input.extend(piece.iter().take(usize::from(length)));
    }
    input
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn joined_pieces_are_split_again() {
        let pieces: [&[u8]; 3] = [b"one", b"", b"three"];
        let input = join(pieces);
        assert_eq!(split(&input, 9).collect::<Vec<_>>(), pieces);
        assert_eq!(split(&input, 2).count(), 2);
        assert_eq!(split(b"\xff\xffrest", 9).collect::<Vec<_>>(), [b"rest"]);
        assert_eq!(split(b"x", 9).count(), 0);
    }
}
