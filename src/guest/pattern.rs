//! Bytes that follow from a number: what is written can be told from what is
//! read back without keeping it.

/// The steps of `SplitMix64` (Steele, Lea, Flood 2014): a counter by the golden
/// ratio, and a mixer whose output has no visible structure.
const GOLDEN: u64 = 0x9e37_79b9_7f4a_7c15;

/// Mixes one number into another.
#[must_use]
pub fn mix(a: u64, b: u64) -> u64 {
    let mut z = a
        .wrapping_add(GOLDEN)
        .wrapping_add(b.wrapping_mul(0xd6e8_feb8_6659_fd93));
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// Fills `bytes` with the pattern `seed` as it is at byte `offset` of a file.
pub fn fill(seed: u64, offset: u64, bytes: &mut [u8]) {
    let mut at = offset;
    let mut rest = bytes;
    while !rest.is_empty() {
        let word = mix(seed, at / 8).to_le_bytes();
        let skip = (at % 8) as usize;
        let length = rest.len().min(8 - skip);
        let (now, later) = rest.split_at_mut(length);
        now.copy_from_slice(&word[skip..skip + length]);
        at += length as u64;
        rest = later;
    }
}

/// The offset of the first byte that is not the pattern's.
#[must_use]
pub fn first_difference(seed: u64, offset: u64, bytes: &[u8]) -> Option<u64> {
    let mut expected = vec![0; bytes.len()];
    fill(seed, offset, &mut expected);
    let at = bytes.iter().zip(&expected).position(|(a, b)| a != b)?;
    Some(offset + at as u64)
}

/// A sequence of numbers from a seed: the same everywhere, always.
#[derive(Debug, Clone)]
pub struct Sequence {
    seed: u64,
    count: u64,
}

impl Sequence {
    /// The sequence of this seed.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self { seed, count: 0 }
    }

    /// The next number.
    pub fn next_number(&mut self) -> u64 {
        self.count += 1;
        mix(self.seed, self.count)
    }

    /// A number below `limit`, which is above 0. The bias of the remainder
    /// does not matter here: limits are tiny.
    pub fn below(&mut self, limit: u64) -> u64 {
        self.next_number() % limit.max(1)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_part_is_the_same_as_in_the_whole() {
        let mut whole = [0; 64];
        fill(7, 0, &mut whole);
        for start in 0..20 {
            let mut part = [0; 17];
            fill(7, start as u64, &mut part);
            assert_eq!(part, whole[start..start + 17]);
        }
        assert_eq!(first_difference(7, 3, &whole[3..40]), None);
        whole[20] ^= 1;
        assert_eq!(first_difference(7, 3, &whole[3..40]), Some(20));
        assert_ne!(first_difference(8, 0, &whole), None);
    }
}
