//! Almost valid inputs for tests without libFuzzer: seeds with a few mutations.

/// The generator SplitMix64 (Steele, Lea and Flood, 2014): the same seed gives the same inputs on every
/// machine.
#[derive(Clone, Debug)]
pub struct Mutator {
    state: u64,
    seeds: Vec<Vec<u8>>,
    bytes_max: usize,
}

/// Numbers at which signs, lengths or limits change.
const EDGES: [u64; 10] = [0, 1, 0x7f, 0x80, 0xff, 0xffff, 0x7fff_ffff, 0xffff_ffff, u64::MAX / 2, u64::MAX];

impl Mutator {
    /// Makes a generator of inputs of at most `bytes_max` bytes from `seeds`.
    pub fn new(seed: u64, seeds: Vec<Vec<u8>>, bytes_max: usize) -> Self {
        Self { state: seed, seeds, bytes_max }
    }

    /// Generates the next input.
    pub fn input(&mut self) -> Vec<u8> {
        let mut input = self.seed();
        for _ in 0..self.below(6) {
            self.mutate(&mut input);
        }
        input.truncate(self.bytes_max);
        input
    }

    fn mutate(&mut self, input: &mut Vec<u8>) {
        let at = self.below(input.len());
        let to = at.saturating_add(self.below(17)).min(input.len());
        match self.below(7) {
            0 => {
                if let Some(byte) = input.get_mut(at) {
                    *byte ^= self.byte() | 1;
                }
            }
            1 => drop(input.drain(at..to)),
            2 => {
                let random: Vec<u8> = (at..to).map(|_| self.byte()).collect();
                input.splice(at..at, random);
            }
            3 => {
                let copy: Vec<u8> = input.get(at..to).unwrap_or_default().to_vec();
                let place = self.below(input.len());
                input.splice(place..place, copy);
            }
            4 => {
                let edge = EDGES.get(self.below(EDGES.len())).copied().unwrap_or_default().to_le_bytes();
                let edge = edge.get(..[1, 2, 4, 8].get(self.below(4)).copied().unwrap_or(8)).unwrap_or(&edge);
                let end = at.saturating_add(edge.len()).min(input.len());
                input.splice(at..end, edge.iter().copied());
            }
            5 => {
                let other = self.seed();
                let from = self.below(other.len());
                input.truncate(at);
                input.extend(other.into_iter().skip(from));
            }
            _ => input.truncate(at),
        }
    }

    fn seed(&mut self) -> Vec<u8> {
        let at = self.below(self.seeds.len());
        self.seeds.get(at).cloned().unwrap_or_default()
    }

    fn byte(&mut self) -> u8 {
        self.next().to_le_bytes().first().copied().unwrap_or_default()
    }

    /// Draws a number from 0 to `end - 1`; 0 if `end` is 0.
    fn below(&mut self, end: usize) -> usize {
        let end = u64::try_from(end).unwrap_or(u64::MAX);
        usize::try_from(self.next().checked_rem(end).unwrap_or(0)).unwrap_or(0)
    }

    fn next(&mut self) -> u64 {
        self.state = self.state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let z = (self.state ^ (self.state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_gives_the_same_inputs_and_none_is_too_long() {
        let seeds = vec![b"one".to_vec(), vec![7; 100], Vec::new()];
        let inputs = |seed| {
            let mut mutator = Mutator::new(seed, seeds.clone(), 50);
            (0..500).map(|_| mutator.input()).collect::<Vec<_>>()
        };
        assert_eq!(inputs(1), inputs(1));
        assert_ne!(inputs(1), inputs(2));
        assert!(inputs(1).iter().all(|input| input.len() <= 50));
        let distinct: std::collections::BTreeSet<_> = inputs(1).into_iter().collect();
        assert!(distinct.len() > 100, "{}", distinct.len());
    }
}
