//! A stream that only who has the key can read or make: encrypted and authenticated in frames, so that neither side holds
//! more than one of them. Frames cannot be swapped, repeated or left out, and an end that was cut off is no end: the STREAM
//! construction (Hoang, Reyhanitabar, Rogaway, Vizár: Online Authenticated-Encryption and its Nonce-Reuse
//! Misuse-Resistance, CRYPTO 2015) with XChaCha20-Poly1305.
//!
//! A frame is its length (four bytes, the high byte first; the highest bit marks the last one) and the sealed bytes. The
//! file's header goes into each frame as associated data.

use std::io::{self, BufRead, ErrorKind, Read, Write};

use chacha20poly1305::aead::AeadInOut;
use chacha20poly1305::{KeyInit, XChaCha20Poly1305, XNonce};

use super::key::SealKey;

/// What a frame holds, at most, in bytes.
const FRAME: usize = 64 << 10;
/// What sealing adds to it (the tag of Poly1305).
const TAG: usize = 16;
/// Marks the last frame in its length.
const LAST: u32 = 1 << 31;

/// What is drawn at random for each stream; the rest of a frame's nonce is its number and whether it is the last.
pub(super) const SALT: usize = 19;

/// Seals frames, and opens them, in their order.
struct Frames {
    cipher: XChaCha20Poly1305,
    salt: [u8; SALT],
    header: Vec<u8>,
    number: u32,
}

impl Frames {
    fn new(key: &SealKey, salt: [u8; SALT], header: Vec<u8>) -> Self {
        Self {
            cipher: XChaCha20Poly1305::new(key.as_bytes().into()),
            salt,
            header,
            number: 0,
        }
    }

    /// The nonce of the next frame. No two frames under one salt have the same.
    fn nonce(&mut self, last: bool) -> io::Result<XNonce> {
        let mut nonce = [0; 24];
        nonce[..SALT].copy_from_slice(&self.salt);
        nonce[SALT..23].copy_from_slice(&self.number.to_be_bytes());
        nonce[23] = u8::from(last);
        let next = self.number.checked_add(1);
        self.number = next.ok_or_else(|| io::Error::other("there are too many frames"))?;
        Ok(nonce.into())
    }
}

/// Seals what is written to it. Ends with [`Sealing::finish`].
pub(super) struct Sealing<W> {
    frames: Frames,
    /// Has room for a frame and its tag.
    frame: Vec<u8>,
    to: W,
}

impl<W: Write> Sealing<W> {
    pub(super) fn new(key: &SealKey, salt: [u8; SALT], header: Vec<u8>, to: W) -> Self {
        Self {
            frames: Frames::new(key, salt, header),
            frame: Vec::with_capacity(FRAME + TAG),
            to,
        }
    }

    /// Seals what is left as the last frame.
    pub(super) fn finish(mut self) -> io::Result<W> {
        self.seal(true)?;
        Ok(self.to)
    }

    fn seal(&mut self, last: bool) -> io::Result<()> {
        let nonce = self.frames.nonce(last)?;
        self.frames
            .cipher
            .encrypt_in_place(&nonce, &self.frames.header, &mut self.frame)
            .map_err(|_| io::Error::other("a frame cannot be sealed"))?;
        #[expect(clippy::cast_possible_truncation, reason = "64 KiB and a tag")]
        let length = self.frame.len() as u32 | if last { LAST } else { 0 };
        self.to.write_all(&length.to_be_bytes())?;
        self.to.write_all(&self.frame)?;
        self.frame.clear();
        Ok(())
    }
}

impl<W: Write> Write for Sealing<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // Only now is it known that the full frame is not the last one.
        if self.frame.len() == FRAME {
            self.seal(false)?;
        }
        let taken = bytes.len().min(FRAME - self.frame.len());
        self.frame.extend_from_slice(&bytes[..taken]);
        Ok(taken)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Opens what [`Sealing`] made. What is not that is an error of kind `InvalidData`, before a byte of its frame is shown.
pub(super) struct Opening<R> {
    frames: Frames,
    frame: Vec<u8>,
    read: usize,
    ended: bool,
    from: R,
}

impl<R: Read> Opening<R> {
    pub(super) fn new(key: &SealKey, salt: [u8; SALT], header: Vec<u8>, from: R) -> Self {
        Self {
            frames: Frames::new(key, salt, header),
            frame: Vec::new(),
            read: 0,
            ended: false,
            from,
        }
    }

    fn open(&mut self) -> io::Result<()> {
        let mut length = [0; 4];
        self.from.read_exact(&mut length).map_err(cut_off)?;
        let length = u32::from_be_bytes(length);
        let (last, length) = (length & LAST != 0, (length & !LAST) as usize);
        if length > FRAME + TAG {
            return Err(damaged("a frame is longer than any"));
        }
        self.frame.resize(length, 0);
        self.from.read_exact(&mut self.frame).map_err(cut_off)?;
        let nonce = self.frames.nonce(last)?;
        let opened =
            self.frames
                .cipher
                .decrypt_in_place(&nonce, &self.frames.header, &mut self.frame);
        opened.map_err(|_| damaged("it is not as it was written"))?;
        if last && self.from.read(&mut [0])? != 0 {
            return Err(damaged("there is more behind its end"));
        }
        (self.read, self.ended) = (0, last);
        Ok(())
    }
}

impl<R: Read> BufRead for Opening<R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        while self.read == self.frame.len() && !self.ended {
            self.open()?;
        }
        Ok(&self.frame[self.read..])
    }

    fn consume(&mut self, amount: usize) {
        self.read = self.frame.len().min(self.read + amount);
    }
}

impl<R: Read> Read for Opening<R> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        let mut there = self.fill_buf()?;
        let read = there.read(into)?;
        self.consume(read);
        Ok(read)
    }
}

fn damaged(why: &'static str) -> io::Error {
    io::Error::new(ErrorKind::InvalidData, why)
}

fn cut_off(error: io::Error) -> io::Error {
    if error.kind() == ErrorKind::UnexpectedEof {
        return damaged("it ends too early");
    }
    error
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn key(byte: u8) -> SealKey {
        SealKey::from_bytes([byte; 32])
    }

    fn sealed(content: &[u8]) -> Vec<u8> {
        let mut sealing = Sealing::new(&key(1), [7; SALT], b"header".to_vec(), Vec::new());
        sealing.write_all(content).unwrap();
        sealing.finish().unwrap()
    }

    fn opened(key: &SealKey, header: &[u8], sealed: &[u8]) -> io::Result<Vec<u8>> {
        let mut content = Vec::new();
        Opening::new(key, [7; SALT], header.to_vec(), sealed).read_to_end(&mut content)?;
        Ok(content)
    }

    #[test]
    fn what_was_sealed_is_opened_whatever_its_size() {
        for size in [0, 1, FRAME - 1, FRAME, FRAME + 1, 3 * FRAME] {
            let content = vec![5; size];
            let sealed = sealed(&content);
            assert_eq!(opened(&key(1), b"header", &sealed).unwrap(), content);
            assert!(!sealed.windows(8).any(|window| window == [5; 8]), "{size}");
        }
    }

    #[test]
    fn another_key_or_header_opens_nothing() {
        let sealed = sealed(b"secret");
        for (key, header) in [(key(2), &b"header"[..]), (key(1), b"headed")] {
            let refused = opened(&key, header, &sealed).unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::InvalidData);
        }
    }

    #[test]
    fn frames_that_are_left_out_swapped_or_added_are_refused() {
        let whole = sealed(&vec![5; 3 * FRAME]);
        let frame = 4 + FRAME + TAG;
        let (first, second) = (&whole[..frame], &whole[frame..2 * frame]);
        let rest = &whole[2 * frame..];
        for wrong in [
            [second, rest].concat(),
            [second, first, rest].concat(),
            [first, first, second, rest].concat(),
            [first, second].concat(),
            [&whole[..], &[0]].concat(),
        ] {
            let refused = opened(&key(1), b"header", &wrong).unwrap_err();
            assert_eq!(refused.kind(), ErrorKind::InvalidData);
        }
    }

    proptest! {
        #[test]
        fn no_byte_can_be_changed_and_no_end_cut_off(
            content in prop::collection::vec(any::<u8>(), 0..200), at in any::<prop::sample::Index>(), bit in 0..8u8
        ) {
            let whole = sealed(&content);
            let mut changed = whole.clone();
            changed[at.index(whole.len())] ^= 1u8 << bit;
            prop_assert!(opened(&key(1), b"header", &changed).is_err());
            prop_assert!(opened(&key(1), b"header", &whole[..at.index(whole.len())]).is_err());
        }
    }
}
