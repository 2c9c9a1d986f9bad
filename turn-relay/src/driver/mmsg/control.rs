//! Addresses and control messages as the kernel reads and writes them, in plain bytes.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};

use nix::libc;

/// Room for `sockaddr_in6`, aligned for any `sockaddr`.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
pub(super) struct Name(pub(super) [u8; 32]);

/// Room for control messages: GRO's or GSO's number, and an address.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
pub(super) struct Control(pub(super) [u8; CONTROL_BYTES]);

/// `CMSG_SPACE` of an `int` and of an `in6_pktinfo`, which is the longer of the two kinds.
pub(super) const CONTROL_BYTES: usize = CMSG_HEADER + 8 + CMSG_HEADER + 24;

const CMSG_HEADER: usize = size_of::<libc::cmsghdr>();
/// What control messages are aligned to, and their length field is as long as.
pub(super) const WORD: usize = size_of::<usize>();

impl Name {
    pub(super) const EMPTY: Self = Self([0; 32]);

    /// The bytes of a `sockaddr_in` or `sockaddr_in6` and how many they are.
    pub(super) fn encode(address: SocketAddr) -> (Self, libc::socklen_t) {
        let mut name = Self::EMPTY;
        let bytes = &mut name.0;
        bytes[2..4].copy_from_slice(&address.port().to_be_bytes());
        let (family, length) = match address {
            SocketAddr::V4(v4) => {
                bytes[4..8].copy_from_slice(&v4.ip().octets());
                (libc::AF_INET, size_of::<libc::sockaddr_in>())
            }
            SocketAddr::V6(v6) => {
                bytes[8..24].copy_from_slice(&v6.ip().octets());
                bytes[24..28].copy_from_slice(&v6.scope_id().to_ne_bytes());
                (libc::AF_INET6, size_of::<libc::sockaddr_in6>())
            }
        };
        bytes[..2].copy_from_slice(&(family as libc::sa_family_t).to_ne_bytes());
        (name, length as libc::socklen_t)
    }

    pub(super) fn decode(&self) -> Option<SocketAddr> {
        let bytes = &self.0;
        let port = u16::from_be_bytes([bytes[2], bytes[3]]);
        match i32::from(libc::sa_family_t::from_ne_bytes([bytes[0], bytes[1]])) {
            libc::AF_INET => {
                let ip = Ipv4Addr::from_octets(*bytes[4..].first_chunk()?);
                Some(SocketAddrV4::new(ip, port).into())
            }
            libc::AF_INET6 => {
                let ip = Ipv6Addr::from_octets(*bytes[8..].first_chunk()?);
                // A link-local client is answered on its own link.
                let scope = u32::from_ne_bytes(*bytes[24..].first_chunk()?);
                Some(SocketAddrV6::new(ip, port, 0, scope).into())
            }
            _ => None,
        }
    }
}

impl Control {
    pub(super) const EMPTY: Self = Self([0; CONTROL_BYTES]);

    /// Adds a control message behind the first `length` bytes; returns how many there are then.
    pub(super) fn push(
        &mut self,
        length: usize,
        level: libc::c_int,
        kind: libc::c_int,
        data: &[u8],
    ) -> usize {
        let bytes = &mut self.0[length..];
        bytes[..WORD].copy_from_slice(&(CMSG_HEADER + data.len()).to_ne_bytes());
        bytes[WORD..WORD + 4].copy_from_slice(&level.to_ne_bytes());
        bytes[WORD + 4..WORD + 8].copy_from_slice(&kind.to_ne_bytes());
        bytes[CMSG_HEADER..CMSG_HEADER + data.len()].copy_from_slice(data);
        length + (CMSG_HEADER + data.len()).next_multiple_of(WORD)
    }

    /// The messages in the first `length` bytes: level, type, data. It ends with the first that
    /// does not fit.
    pub(super) fn messages(&self, length: usize) -> impl Iterator<Item = (libc::c_int, libc::c_int, &[u8])> {
        let mut rest = &self.0[..length.min(CONTROL_BYTES)];
        std::iter::from_fn(move || {
            let whole = usize::from_ne_bytes(*rest.first_chunk()?);
            let int = |at: usize| Some(i32::from_ne_bytes(*rest.get(at..)?.first_chunk()?));
            let (level, kind) = (int(WORD)?, int(WORD + 4)?);
            let data = rest.get(CMSG_HEADER..whole)?;
            rest = rest.get(whole.next_multiple_of(WORD)..).unwrap_or_default();
            Some((level, kind, data))
        })
    }

    /// `UDP_SEGMENT`, the length of each segment, and the address to send from.
    pub(super) fn sending(segment: Option<u16>, from: Option<IpAddr>) -> (Self, usize) {
        let mut control = Self::EMPTY;
        let mut length = 0;
        if let Some(segment) = segment {
            length = control.push(length, libc::SOL_UDP, libc::UDP_SEGMENT, &segment.to_ne_bytes());
        }
        match from {
            None => {}
            Some(IpAddr::V4(ip)) => {
                // `in_pktinfo`: interface (any), source, destination (ignored).
                let mut info = [0; size_of::<libc::in_pktinfo>()];
                info[4..8].copy_from_slice(&ip.octets());
                length = control.push(length, libc::IPPROTO_IP, libc::IP_PKTINFO, &info);
            }
            Some(IpAddr::V6(ip)) => {
                // `in6_pktinfo`: source, interface (any).
                let mut info = [0; size_of::<libc::in6_pktinfo>()];
                info[..16].copy_from_slice(&ip.octets());
                length = control.push(length, libc::IPPROTO_IPV6, libc::IPV6_PKTINFO, &info);
            }
        }
        (control, length)
    }

    /// What `length` bytes of control messages tell: the length of each segment under GRO, and
    /// the address that was sent to, where the socket asks for it.
    pub(super) fn received(&self, length: usize) -> (Option<usize>, Option<IpAddr>) {
        let (mut segment, mut local) = (None, None);
        for (level, kind, data) in self.messages(length) {
            match (level, kind) {
                (libc::SOL_UDP, libc::UDP_GRO) => {
                    let size = data.first_chunk().map(|bytes| i32::from_ne_bytes(*bytes));
                    segment = size.and_then(|size| usize::try_from(size).ok());
                }
                (libc::IPPROTO_IP, libc::IP_PKTINFO) => {
                    let ip = data.get(4..).and_then(|bytes| bytes.first_chunk());
                    local = ip.map(|octets| Ipv4Addr::from_octets(*octets).into());
                }
                (libc::IPPROTO_IPV6, libc::IPV6_PKTINFO) => {
                    let ip = data.first_chunk();
                    local = ip.map(|octets| Ipv6Addr::from_octets(*octets).into());
                }
                _ => {}
            }
        }
        (segment, local)
    }
}
