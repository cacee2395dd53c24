//! Varints: seven bits per byte, low bits first, the high bit set if more bytes follow.

/// Append a number.
#[inline]
pub fn write(to: &mut Vec<u8>, mut number: u64) {
    while number > 0x7f {
        to.push(number as u8 | 0x80);
        number >>= 7;
    }
    to.push(number as u8);
}

/// Append a number of up to 128 bits.
pub fn write_wide(to: &mut Vec<u8>, mut number: u128) {
    while number > 0x7f {
        to.push(number as u8 | 0x80);
        number >>= 7;
    }
    to.push(number as u8);
}

/// Return a number of at most `bits` bits, and the bytes after it.
///
/// None if the bytes end early, if the number is larger, or if it has more bytes than
/// `bits` bits can need.
#[inline]
pub fn read(from: &[u8], bits: u32) -> Option<(u64, &[u8])> {
    let (&first, rest) = from.split_first()?;
    if first < 0x80 {
        return Some((u64::from(first), rest));
    }
    let mut number = u64::from(first & 0x7f);
    let mut shift = 7u32;
    for (index, &byte) in rest.iter().enumerate() {
        let part = u64::from(byte & 0x7f);
        let room = bits.checked_sub(shift).filter(|&room| room > 0)?;
        if room < 7 && part >> room != 0 {
            return None;
        }
        number |= part << shift;
        if byte < 0x80 {
            return Some((number, rest.get(index + 1..)?));
        }
        shift += 7;
    }
    None
}

/// As `read`, for up to 128 bits.
pub fn read_wide(from: &[u8], bits: u32) -> Option<(u128, &[u8])> {
    let mut number = 0u128;
    let mut shift = 0u32;
    for (index, &byte) in from.iter().enumerate() {
        let part = u128::from(byte & 0x7f);
        let room = bits.checked_sub(shift).filter(|&room| room > 0)?;
        if room < 7 && part >> room != 0 {
            return None;
        }
        number |= part << shift;
        if byte < 0x80 {
            return Some((number, from.get(index + 1..)?));
        }
        shift += 7;
    }
    None
}

/// Map a signed number to an unsigned one.
#[inline]
pub fn zigzag(number: i64) -> u64 {
    ((number << 1) ^ (number >> 63)) as u64
}

/// Undo `zigzag`.
#[inline]
pub fn unzigzag(number: u64) -> i64 {
    (number >> 1) as i64 ^ -((number & 1) as i64)
}

/// As `zigzag`, for 128 bits.
pub fn zigzag_wide(number: i128) -> u128 {
    ((number << 1) ^ (number >> 127)) as u128
}

/// Undo `zigzag_wide`.
pub fn unzigzag_wide(number: u128) -> i128 {
    (number >> 1) as i128 ^ -((number & 1) as i128)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(number: u128) -> Vec<u8> {
        let mut bytes = Vec::new();
        write_wide(&mut bytes, number);
        bytes
    }

    #[test]
    fn numbers_come_back() {
        for bits in [16, 32, 64, 128] {
            for shift in 0..bits {
                for number in [1u128 << shift, (1 << shift) - 1, 1 << shift | 1] {
                    let mut bytes = written(number);
                    bytes.push(0xff);
                    let rest = &[0xff][..];
                    assert_eq!(read_wide(&bytes, bits), Some((number, rest)));
                    if bits <= 64 {
                        let mut short = Vec::new();
                        write(&mut short, number as u64);
                        assert_eq!(short, bytes[..short.len()]);
                        assert_eq!(read(&bytes, bits), Some((number as u64, rest)));
                    }
                }
            }
        }
    }

    #[test]
    fn larger_numbers_are_refused() {
        for bits in [16, 32, 64] {
            let too_large = written(1 << bits);
            assert_eq!(read(&too_large, bits), None);
            assert!(read(&written((1 << bits) - 1), bits).is_some());
        }
        let mut longest = vec![0xff; 18];
        longest.push(3);
        assert_eq!(read_wide(&longest, 128), Some((u128::MAX, &[][..])));
        longest[18] = 4;
        assert_eq!(read_wide(&longest, 128), None);
    }

    #[test]
    fn varints_of_too_many_bytes_are_refused() {
        for (bits, most) in [(16, 3), (32, 5), (64, 10), (128, 19)] {
            let mut zeros = vec![0x80; most - 1];
            zeros.push(0);
            assert_eq!(read_wide(&zeros, bits), Some((0, &[][..])));
            zeros.insert(0, 0x80);
            assert_eq!(read_wide(&zeros, bits), None);
        }
    }

    #[test]
    fn numbers_that_end_early_are_refused() {
        assert_eq!(read(&[], 64), None);
        assert_eq!(read(&[0x80], 64), None);
    }

    #[test]
    fn signed_numbers_come_back() {
        for number in [0, 1, -1, 63, -64, i64::MAX, i64::MIN] {
            assert_eq!(unzigzag(zigzag(number)), number);
            assert_eq!(zigzag_wide(number.into()), zigzag(number).into());
        }
        for number in [0, i128::MAX, i128::MIN] {
            assert_eq!(unzigzag_wide(zigzag_wide(number)), number);
        }
    }
}
