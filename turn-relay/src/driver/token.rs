//! What an event of the poll speaks of.

use mio::Token;

/// The sources of events of a worker; each kind is numbered from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Source {
    /// Somebody wants the worker's attention.
    Waker,
    /// A UDP socket clients send to.
    Listener(usize),
    /// A TCP socket clients connect to.
    Acceptor(usize),
    /// A relayed transport address.
    Relay(usize),
    /// A client's connection.
    Connection(usize),
    /// A connection with a peer.
    Peer(usize),
}

/// The kind is above it, the number below.
const KIND_SHIFT: u32 = usize::BITS - 4;

impl Source {
    pub(super) fn token(self) -> Token {
        let (kind, index) = match self {
            Self::Waker => (0, 0),
            Self::Listener(index) => (1, index),
            Self::Acceptor(index) => (2, index),
            Self::Relay(index) => (3, index),
            Self::Connection(index) => (4, index),
            Self::Peer(index) => (5, index),
        };
        debug_assert!(index >> KIND_SHIFT == 0, "quotas are u32");
        Token(kind << KIND_SHIFT | index)
    }

    pub(super) fn of(token: Token) -> Self {
        let index = token.0 & !(0xF << KIND_SHIFT);
        match token.0 >> KIND_SHIFT {
            1 => Self::Listener(index),
            2 => Self::Acceptor(index),
            3 => Self::Relay(index),
            4 => Self::Connection(index),
            5 => Self::Peer(index),
            _ => Self::Waker,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_survives_its_token() {
        for index in [0, 1, 0xFFFF_FFFF, 0x1_FFFF_FFFE] {
            for source in [
                Source::Listener(index),
                Source::Acceptor(index),
                Source::Relay(index),
                Source::Connection(index),
                Source::Peer(index),
            ] {
                assert_eq!(Source::of(source.token()), source);
            }
        }
        assert_eq!(Source::of(Source::Waker.token()), Source::Waker);
    }
}
