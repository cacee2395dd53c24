//! The header of frames on links that resume: `seq, 00 | 01 ack`, both varints of 32 bits.

use crate::varint::{read, write};

/// Length of the longest header: two varints of five bytes, and a byte between them.
pub const LONGEST_HEADER: usize = 11;

/// Bound on a difference of numbers: if it is below, the first one is not behind.
const HALF: u32 = 1 << 31;

/// Append a header.
pub fn write_header(to: &mut Vec<u8>, seq: u32, ack: Option<u32>) {
    write(to, seq.into());
    match ack {
        None => to.push(0),
        Some(ack) => {
            to.push(1);
            write(to, ack.into());
        }
    }
}

/// Return the two numbers of a frame, and its message.
fn read_header(frame: &[u8]) -> Option<(u32, Option<u32>, &[u8])> {
    let (seq, left) = number(frame)?;
    match left.split_first()? {
        (0, message) => Some((seq, None, message)),
        (1, left) => {
            let (ack, message) = number(left)?;
            Some((seq, Some(ack), message))
        }
        _ => None,
    }
}

fn number(from: &[u8]) -> Option<(u32, &[u8])> {
    let (number, left) = read(from, 32)?;
    Some((u32::try_from(number).ok()?, left))
}

/// The numbers of both directions; see `Exchange` and `ReplayBuffer`. Those of sent
/// frames do not wrap around.
pub struct Numbers {
    /// The number of the next frame to receive.
    pub expected: u32,
    /// The number of the first message that is not acknowledged.
    pub first: u64,
    /// The number of the first message that was never sent.
    pub handed: u64,
    /// The number of the first message of all.
    pub start: u64,
}

impl Numbers {
    /// Accept a frame, and return its message; without one if it is a duplicate. None,
    /// and nothing changes, if Python is to look at it: if it is not a frame, or a
    /// goodbye.
    pub fn accept<'a>(&mut self, frame: &'a [u8]) -> Option<Option<&'a [u8]>> {
        let (seq, ack, message) = read_header(frame)?;
        let is_new = seq.wrapping_sub(self.expected) < HALF;
        if is_new && message.is_empty() {
            return None;
        }
        if let Some(ack) = ack {
            self.first = self.after(ack)?;
        }
        if !is_new {
            return Some(None);
        }
        self.expected = seq.wrapping_add(1);
        Some(Some(message))
    }

    /// Return the number of the first message that an acknowledgement leaves; None if no
    /// peer can have received that frame.
    fn after(&self, ack: u32) -> Option<u64> {
        let ahead = ack.wrapping_sub(self.first as u32);
        if u64::from(ahead) < self.handed.saturating_sub(self.first) {
            return Some(self.first + u64::from(ahead) + 1);
        }
        (self.first > self.start && ahead >= HALF).then_some(self.first)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LAST: u32 = u32::MAX;

    fn frame(seq: u32, ack: Option<u32>, message: &[u8]) -> Vec<u8> {
        let mut bytes = Vec::new();
        write_header(&mut bytes, seq, ack);
        assert!(bytes.len() <= LONGEST_HEADER);
        bytes.extend_from_slice(message);
        bytes
    }

    fn numbers(expected: u32, start: u64, handed: u64) -> Numbers {
        let first = start;
        Numbers {
            expected,
            first,
            handed,
            start,
        }
    }

    #[test]
    fn headers_come_back() {
        for number in [0, 127, 128, 1 << 14, 1 << 31, LAST] {
            for ack in [None, Some(0), Some(128), Some(LAST)] {
                let bytes = frame(number, ack, b"x");
                assert_eq!(read_header(&bytes), Some((number, ack, &b"x"[..])));
            }
        }
        assert_eq!(frame(LAST, Some(LAST), b"").len(), LONGEST_HEADER);
    }

    #[test]
    fn what_is_not_a_frame_changes_nothing() {
        let mut numbers = numbers(0, 0, 9);
        let wrong: [&[u8]; 7] = [
            b"",
            b"\0",
            b"\0\x02\0x",
            b"\0\x01",
            b"\0\x01\x80",
            b"\x80\x80\x80\x80\x10\0x",
            b"\0\x01\x05",
        ];
        for payload in wrong {
            assert_eq!(numbers.accept(payload), None);
            assert_eq!((numbers.expected, numbers.first), (0, 0));
        }
    }

    #[test]
    fn numbers_wrap_and_duplicates_have_no_message() {
        let mut numbers = numbers(LAST, LAST.into(), u64::from(LAST) + 3);
        let accepted = frame(LAST, Some(LAST), b"a");
        assert_eq!(numbers.accept(&accepted), Some(Some(&b"a"[..])));
        assert_eq!((numbers.expected, numbers.first), (0, u64::from(LAST) + 1));
        assert_eq!(numbers.accept(&frame(LAST, Some(1), b"b")), Some(None));
        assert_eq!((numbers.expected, numbers.first), (0, u64::from(LAST) + 3));
        assert_eq!(
            numbers.accept(&frame(7, Some(LAST), b"c")),
            Some(Some(&b"c"[..]))
        );
        assert_eq!((numbers.expected, numbers.first), (8, u64::from(LAST) + 3));
    }

    #[test]
    fn what_was_not_sent_cannot_be_acknowledged() {
        let mut numbers = numbers(0, 5, 7);
        for ack in [4, 7, 100, HALF + 5, LAST] {
            assert_eq!(numbers.accept(&frame(0, Some(ack), b"x")), None);
        }
        assert_eq!(
            numbers.accept(&frame(0, Some(5), b"x")),
            Some(Some(&b"x"[..]))
        );
        assert_eq!(
            numbers.accept(&frame(1, Some(4), b"y")),
            Some(Some(&b"y"[..]))
        );
        assert_eq!(numbers.accept(&frame(2, Some(7), b"z")), None);
        assert_eq!(numbers.first, 6);
    }
}
