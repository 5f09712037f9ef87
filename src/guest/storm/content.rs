//! What a block of a storm's file contains: it says itself whose it is.

use crate::guest::pattern;
use crate::step::BLOCK;

/// The first word of every block that a storm wrote.
const MAGIC: u64 = 0x6b76_6574_2073_746d;

/// Bytes of the words before the filling.
const HEADER: usize = 32;

/// A block's length as the type that slices want.
#[expect(clippy::cast_possible_truncation, reason = "it is 4096")]
pub(super) const SIZE: usize = BLOCK as usize;

/// Whose a block is, and where it belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    /// The writer, by the seed of its operations.
    pub(super) owner: u64,
    /// The file: writers count the files they make.
    pub(super) serial: u32,
    /// The block's index in the file.
    pub(super) index: u32,
}

/// What a block was found to contain.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Found {
    /// Zeros: a hole, or never written.
    Zeros,
    /// What was written here with this version.
    Version(u32),
    /// A block that belongs somewhere else.
    Elsewhere,
    /// No block of a storm's, or one in parts.
    Torn,
}

impl Place {
    fn words(self, version: u32) -> [u64; 4] {
        let file = u64::from(self.serial) << 32 | u64::from(version);
        [MAGIC, self.owner, file, u64::from(self.index)]
    }

    /// The bytes of one version of the block here.
    pub(super) fn fill(self, version: u32, block: &mut [u8]) {
        let words = self.words(version);
        let seed = words.iter().fold(0, |seed, word| pattern::mix(seed, *word));
        pattern::fill(seed, 0, block);
        for (to, word) in block.chunks_exact_mut(8).zip(words) {
            to.copy_from_slice(&word.to_le_bytes());
        }
    }

    /// What is in a block that was read from here.
    pub(super) fn recognise(self, block: &[u8]) -> Found {
        if block.iter().all(|byte| *byte == 0) {
            return Found::Zeros;
        }
        let mut words = [0; 4];
        for (word, from) in words.iter_mut().zip(block.chunks_exact(8)) {
            *word = from.try_into().map(u64::from_le_bytes).unwrap_or_default();
        }
        if block.len() < HEADER || words[0] != MAGIC {
            return Found::Torn;
        }
        let [_, owner, file, index] = words;
        let (Ok(serial), Ok(version), Ok(index)) = (
            u32::try_from(file >> 32),
            u32::try_from(file & 0xffff_ffff),
            u32::try_from(index),
        ) else {
            return Found::Torn;
        };
        let claimed = Self {
            owner,
            serial,
            index,
        };
        let mut expected = vec![0; block.len()];
        claimed.fill(version, &mut expected);
        if expected != block {
            Found::Torn
        } else if claimed == self {
            Found::Version(version)
        } else {
            Found::Elsewhere
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HERE: Place = Place {
        owner: 0x1234_5678_9abc,
        serial: 3,
        index: 7,
    };

    #[test]
    fn a_block_tells_its_version_and_its_place() {
        let mut block = vec![0; SIZE];
        assert_eq!(HERE.recognise(&block), Found::Zeros);
        HERE.fill(42, &mut block);
        assert_eq!(HERE.recognise(&block), Found::Version(42));
        for other in [
            Place { index: 8, ..HERE },
            Place { serial: 4, ..HERE },
            Place { owner: 1, ..HERE },
        ] {
            assert_eq!(other.recognise(&block), Found::Elsewhere);
        }
    }

    #[test]
    fn halves_of_two_versions_are_torn() {
        let mut block = vec![0; SIZE];
        HERE.fill(42, &mut block);
        let mut newer = vec![0; SIZE];
        HERE.fill(43, &mut newer);
        block[2048..].copy_from_slice(&newer[2048..]);
        assert_eq!(HERE.recognise(&block), Found::Torn);
        HERE.fill(42, &mut block);
        block[4095] ^= 1;
        assert_eq!(HERE.recognise(&block), Found::Torn);
        block[..2048].fill(0);
        assert_eq!(HERE.recognise(&block), Found::Torn);
    }
}
