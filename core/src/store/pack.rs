//! Bytes in which much is told in little room: numbers that take as many bytes as they need, times as differences, texts
//! with their lengths, and a checksum over all of a row. What they tell is not known here.

/// How many bytes the checksum takes.
const SEAL: usize = 4;

/// Appends a number, seven bits in each byte, the lowest first; the last byte has no highest bit.
pub(super) fn number(out: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        out.push(number as u8 | 0x80);
        number >>= 7;
    }
    out.push(number as u8);
}

/// Appends a time as the difference to the one before it.
pub(super) fn time(out: &mut Vec<u8>, at: i64, before: &mut i64) {
    let difference = at.wrapping_sub(*before);
    *before = at;
    // The sign goes into the lowest bit: what is a little earlier is as short as what is a little later.
    number(out, ((difference << 1) ^ (difference >> 63)).cast_unsigned());
}

/// Appends a text.
pub(super) fn text(out: &mut Vec<u8>, text: &str) {
    number(out, text.len() as u64);
    out.extend_from_slice(text.as_bytes());
}

/// Completes a row.
pub(super) fn seal(out: &mut Vec<u8>) {
    let crc = crc32fast::hash(out);
    out.extend_from_slice(&crc.to_le_bytes());
}

/// What was sealed; `None` where that is not what is there.
pub(super) fn unseal(row: &[u8]) -> Option<&[u8]> {
    let (packed, crc) = row.split_last_chunk::<SEAL>()?;
    (crc32fast::hash(packed).to_le_bytes() == *crc).then_some(packed)
}

/// Takes apart what was packed; each function gives `None` where something else is there.
#[derive(Debug, Clone, Copy)]
pub(super) struct Unpacked<'a>(pub(super) &'a [u8]);

impl<'a> Unpacked<'a> {
    pub(super) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub(super) fn number(&mut self) -> Option<u64> {
        let (mut number, mut shift) = (0, 0);
        while shift < u64::BITS {
            let (&byte, rest) = self.0.split_first()?;
            self.0 = rest;
            number |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                return Some(number);
            }
            shift += 7;
        }
        None
    }

    pub(super) fn time(&mut self, before: &mut i64) -> Option<i64> {
        let number = self.number()?;
        let difference = (number >> 1).cast_signed() ^ -(number & 1).cast_signed();
        *before = before.wrapping_add(difference);
        Some(*before)
    }

    pub(super) fn bytes(&mut self, length: u64) -> Option<&'a [u8]> {
        let (bytes, rest) = self.0.split_at_checked(usize::try_from(length).ok()?)?;
        self.0 = rest;
        Some(bytes)
    }

    pub(super) fn text(&mut self) -> Option<&'a str> {
        let length = self.number()?;
        std::str::from_utf8(self.bytes(length)?).ok()
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn what_is_packed_is_unpacked(
            numbers in proptest::collection::vec(prop_oneof![any::<u64>(), 0..300_u64], 0..9),
            times in proptest::collection::vec(prop_oneof![any::<i64>(), -300..300_i64], 0..9),
            words in ".{0,200}",
        ) {
            let (mut row, mut before) = (Vec::new(), 5);
            numbers.iter().for_each(|&n| number(&mut row, n));
            times.iter().for_each(|&at| time(&mut row, at, &mut before));
            text(&mut row, &words);
            seal(&mut row);
            let mut unpacked = Unpacked(unseal(&row).unwrap());
            for n in numbers {
                prop_assert_eq!(unpacked.number(), Some(n));
            }
            let mut before = 5;
            for at in times {
                prop_assert_eq!(unpacked.time(&mut before), Some(at));
            }
            prop_assert_eq!(unpacked.text(), Some(words.as_str()));
            prop_assert!(unpacked.is_empty());
        }

        #[test]
        fn a_row_that_was_changed_is_not_taken_for_one(byte in 0..24_usize, bit in 0..8_u8) {
            let mut row = b"twenty bytes, and no".to_vec();
            seal(&mut row);
            row[byte] ^= 1 << bit;
            prop_assert_eq!(unseal(&row), None);
        }
    }

    #[test]
    fn small_numbers_and_differences_take_a_byte() {
        let (mut out, mut before) = (Vec::new(), 1_000_000);
        number(&mut out, 127);
        time(&mut out, 1_000_063, &mut before);
        time(&mut out, 1_000_000, &mut before);
        assert_eq!(out.len(), 3);
    }
}
