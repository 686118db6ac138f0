//! Parses callgrind's files: the instructions of one thread, by the origin of the code.

use std::collections::HashMap;
use std::ops::Range;

use anyhow::{Context, Result, ensure};

/// Executed instructions, by the origin of the code.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Cost {
    /// The allocator in Envoy's binary.
    pub(crate) allocator: u64,
    /// Code generated at run time: compiled Wasm and Lua.
    pub(crate) generated: u64,
    /// Envoy's own code, without the allocator, and system libraries.
    pub(crate) other: u64,
}

/// Envoy's binary in the memory of a process.
#[derive(Clone, Debug)]
pub(crate) struct Binary {
    /// The addresses of its executable code.
    pub(crate) code: Range<u64>,
    /// The addresses of the allocator, a part of `code`.
    pub(crate) allocator: Range<u64>,
}

/// callgrind's name for code without a file: generated code, and the sections of a binary other than `.text`,
/// with their addresses in memory (valgrind 3.19).
const NO_OBJECT: &str = "???";

impl Cost {
    /// Returns the sum without the allocator. Valgrind has no restartable sequences, so under valgrind
    /// Envoy's tcmalloc takes a slow path that it does not take in production.
    pub(crate) fn without_allocator(&self) -> u64 {
        self.generated + self.other
    }

    /// Returns the sum of two costs.
    pub(crate) fn plus(&self, other: &Self) -> Self {
        Self {
            allocator: self.allocator + other.allocator,
            generated: self.generated + other.generated,
            other: self.other + other.other,
        }
    }
}

/// Parses a file that callgrind wrote with `--dump-instr=yes --dump-line=no --compress-pos=no`.
///
/// # Errors
/// The file has another format, or its lines do not add up to its total.
pub(crate) fn read(text: &str, binary: &Binary) -> Result<Cost> {
    let mut objects: HashMap<&str, &str> = HashMap::new();
    let mut cost = Cost::default();
    let mut total = 0;
    let (mut object, mut inclusive) = ("", false);
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("ob=").or_else(|| line.strip_prefix("cob=")) {
            // An object is given by its number. The first occurrence also contains its name.
            let (number, name) = name.split_once(' ').unwrap_or((name, ""));
            if !name.is_empty() {
                objects.insert(number, name);
            }
            if line.starts_with("ob=") {
                object =
                    objects.get(number).copied().with_context(|| format!("object {number} has no name"))?;
            }
        } else if line.starts_with("calls=") {
            // The next line is the inclusive cost of the call. It is ignored, because the lines of the
            // called function already contain this cost.
            inclusive = true;
        } else if let Some(position) = line.strip_prefix("0x") {
            if std::mem::take(&mut inclusive) {
                continue;
            }
            let (address, count) =
                position.split_once(' ').with_context(|| format!("no cost in {line:?}"))?;
            let address =
                u64::from_str_radix(address, 16).with_context(|| format!("no address in {line:?}"))?;
            let count: u64 = count.trim().parse().with_context(|| format!("no cost in {line:?}"))?;
            total += count;
            match object {
                NO_OBJECT if binary.allocator.contains(&address) => cost.allocator += count,
                NO_OBJECT if !binary.code.contains(&address) => cost.generated += count,
                _ => cost.other += count,
            }
        }
    }
    let expected = self::total(text)?;
    ensure!(expected == total, "the lines add up to {total} instructions, but the total is {expected}");
    Ok(cost)
}

/// Returns the total of a file that callgrind wrote.
pub(super) fn total(text: &str) -> Result<u64> {
    let total = text.lines().find_map(|line| line.strip_prefix("totals: "));
    Ok(total.context("callgrind's file has no total: is the dump complete?")?.trim().parse()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FILE: &str = "positions: instr\nevents: Ir\nsummary: 47\n\n\
        ob=(1) /bin/envoy\nfn=(1) 0x10\n0x10 1\n0x20 2\ncob=(2) /lib/libc.so\ncfn=(2) memcpy\ncalls=3 0x5 \n0x24 1000\n0x30 4\n\n\
        ob=(2)\nfn=(2)\n0x120 8\n\n\
        ob=(3) ???\nfn=(3) 0x120\n0x120 16\n0x130 32\n\n\
        ob=(3)\nfn=(4) 0x210\n0x210 64\n\n\
        ob=(1)\nfn=(1)\n0x11 128\n\ntotals: 255\n";

    fn binary() -> Binary {
        Binary { code: 0x100..0x200, allocator: 0x120..0x130 }
    }

    #[test]
    fn instructions_are_grouped_by_the_origin_of_the_code() {
        let cost = read(FILE, &binary()).unwrap();
        assert_eq!(cost, Cost { allocator: 16, generated: 64, other: 1 + 2 + 4 + 8 + 32 + 128 });
        assert_eq!(cost.without_allocator(), 255 - 16);
    }

    #[test]
    fn a_truncated_dump_is_an_error() {
        assert!(read(FILE.trim_end_matches("totals: 255\n"), &binary()).is_err());
        let error = read(&FILE.replace("totals: 255", "totals: 256"), &binary()).unwrap_err();
        assert_eq!(error.to_string(), "the lines add up to 255 instructions, but the total is 256");
    }
}
