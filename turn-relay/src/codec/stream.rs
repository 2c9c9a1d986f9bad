//! Where one message ends and the next begins on TCP and TLS (RFC 8489 §6.2.2, RFC 8656 §12.5).
//!
//! A reader has one large buffer for all its connections and a [`Framer`] for each, which
//! keeps what a read left behind of an unfinished frame, and nothing between whole ones:
//!
//! ```ignore
//! let kept = framer.resume(&mut buffer);
//! let filled = kept + socket.read(&mut buffer[kept..])?;
//! let mut frames = Frames::new(&buffer[..filled], server.frame_bytes_max(client));
//! while let Some(range) = frames.next()? {
//!     server.handle_input(now, address, listener, &buffer[range]);
//! }
//! framer.suspend(frames.rest());
//! ```
//!
//! A server that splices the connection away in the middle takes `frames.rest()` as the
//! first bytes of what follows.

use std::ops::Range;

use super::{CHANNEL_HEADER_BYTES, HEADER_BYTES, MAGIC_COOKIE, padded};

/// The longest frame there can be: a STUN message whose length field is at its largest
/// multiple of four. A read buffer must be larger than this.
pub const FRAME_BYTES_MAX: usize = HEADER_BYTES + 0xFFFC;

/// Why a stream cannot be read on: nobody can tell where the next message starts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum FrameError {
    /// Neither a STUN message nor channel data.
    #[error("not STUN and not channel data")]
    Foreign,
    /// A STUN message whose length is not a multiple of four.
    #[error("wrong length")]
    Length,
    /// Longer than this client may send.
    #[error("frame too long")]
    TooLong,
}

/// The frames at the start of some bytes of a stream.
#[derive(Clone, Debug)]
pub struct Frames<'a> {
    bytes: &'a [u8],
    at: usize,
    bytes_max: usize,
}

impl<'a> Frames<'a> {
    /// Frames of `bytes`, none of them longer than `bytes_max` with its padding.
    #[must_use]
    pub fn new(bytes: &'a [u8], bytes_max: usize) -> Self {
        Self {
            bytes,
            at: 0,
            bytes_max,
        }
    }

    /// The next whole frame, without padding behind it: where it is in the bytes. `None`: read more.
    ///
    /// # Errors
    /// See [`FrameError`]; the connection is to be closed.
    #[expect(
        clippy::should_implement_trait,
        reason = "it ends with an error, not with an item"
    )]
    pub fn next(&mut self) -> Result<Option<Range<usize>>, FrameError> {
        let rest = &self.bytes[self.at..];
        let Some(length) = frame_bytes(rest, self.bytes_max)? else {
            return Ok(None);
        };
        if rest.len() < padded(length) {
            return Ok(None);
        }
        let start = self.at;
        self.at += padded(length);
        Ok(Some(start..start + length))
    }

    /// What follows the last frame.
    #[must_use]
    pub fn rest(&self) -> &'a [u8] {
        &self.bytes[self.at..]
    }
}

/// The length of the frame that `bytes` begin with, once enough of them are there to say.
/// What cannot become a frame is an error with its first wrong byte.
fn frame_bytes(bytes: &[u8], bytes_max: usize) -> Result<Option<usize>, FrameError> {
    let Some(&first) = bytes.first() else {
        return Ok(None);
    };
    let header = match first >> 6 {
        0b00 => HEADER_BYTES,
        0b01 => CHANNEL_HEADER_BYTES,
        _ => return Err(FrameError::Foreign),
    };
    let Some(&[_, _, l1, l0]) = bytes.first_chunk() else {
        return Ok(None);
    };
    let length = usize::from(u16::from_be_bytes([l1, l0]));
    if padded(header + length) > bytes_max {
        return Err(FrameError::TooLong);
    }
    if header == HEADER_BYTES {
        if !length.is_multiple_of(4) {
            return Err(FrameError::Length);
        }
        let cookie = MAGIC_COOKIE.to_be_bytes();
        if bytes[4..]
            .iter()
            .zip(&cookie)
            .any(|(seen, expected)| seen != expected)
        {
            return Err(FrameError::Foreign);
        }
    }
    Ok(Some(header + length))
}

/// What one connection keeps between reads. Its memory is that of the longest unfinished
/// frame it has had to keep; a connection that sends whole frames has none.
#[derive(Clone, Debug, Default)]
pub struct Framer {
    unfinished: Vec<u8>,
}

impl Framer {
    /// Nothing kept.
    #[must_use]
    pub const fn new() -> Self {
        Self {
            unfinished: Vec::new(),
        }
    }

    /// Puts what was kept at the start of `buffer`; returns how much that is. The next bytes
    /// of the connection go behind it.
    ///
    /// # Panics
    /// If `buffer` is not longer than [`FRAME_BYTES_MAX`].
    pub fn resume(&mut self, buffer: &mut [u8]) -> usize {
        assert!(
            buffer.len() > FRAME_BYTES_MAX,
            "there is room for a frame and more"
        );
        let kept = self.unfinished.len();
        buffer[..kept].copy_from_slice(&self.unfinished);
        self.unfinished.clear();
        kept
    }

    /// Keeps what the last read left over, which [`Frames::rest`] tells.
    ///
    /// # Panics
    /// If that is a frame or more.
    pub fn suspend(&mut self, rest: &[u8]) {
        assert!(rest.len() < FRAME_BYTES_MAX, "whole frames are not left over");
        self.unfinished.clear();
        self.unfinished.extend_from_slice(rest);
    }
}
