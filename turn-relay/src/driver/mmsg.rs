//! Many datagrams in one system call: `recvmmsg` with GRO, `sendmmsg` with GSO.
//!
//! This is the one module with `unsafe` code of the crate. std has no vectored datagram
//! calls, quinn-udp has no `sendmmsg`, and nix's allocates for control messages; the
//! relay's data path may not.
//!
//! # Proof
//!
//! Two calls cross into the kernel. Each is given an array of `mmsghdr` whose pointers are
//! all written in the same function, right before the call, from
//! * `Box`es and `Vec`s that `self` owns and that nothing touches between the writing and
//!   the call (receiving: names, control buffers, data buffers, each used by one header), or
//! * a control buffer on the stack of the function that makes the call (singly sent segments), or
//! * slices borrowed for longer than the call (sending: the segments' bytes, which the
//!   kernel only reads; their `*mut` is an accident of `iovec`).
//!
//! Lengths come from the same slices. The vectors that headers point into are filled
//! completely before the first pointer into them is taken. The kernel keeps no pointer after
//! the call. What it wrote is read back as plain bytes, with safe code, cut to the lengths it
//! reported and checked against the capacities.
#![allow(unsafe_code, reason = "the module's purpose; see the proof above")]

use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, SocketAddrV4, SocketAddrV6};
use std::ops::AddAssign;
use std::os::fd::{AsRawFd as _, BorrowedFd};
use std::ptr;

use nix::libc::{self, iovec, mmsghdr, msghdr};

/// Largest chain of datagrams GRO hands over.
const BUFFER_BYTES: usize = 65_536;
/// Buffers start this far apart, so that their first lines do not all fall into one cache set.
const BUFFER_STRIDE: usize = BUFFER_BYTES + 37 * 64;
/// Segments in one `sendmmsg`.
const SEGMENTS_MAX: usize = 128;
/// Segments in one GSO send: the limit of older kernels (`UDP_MAX_SEGMENTS`).
const GSO_SEGMENTS_MAX: usize = 64;
/// Longest segment worth a GSO send: what fits an Ethernet frame over IPv6. Longer ones would be
/// refused by the kernel where they could still be fragmented.
const GSO_SEGMENT_BYTES_MAX: usize = 1452;
/// A GSO send is one datagram until the last moment.
const GSO_BYTES_MAX: usize = 65_000;

/// Room for `sockaddr_in6`, aligned for any `sockaddr`.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
struct Name([u8; 32]);

/// Room for control messages: GRO's or GSO's number, and an address.
#[derive(Clone, Copy)]
#[repr(C, align(8))]
struct Control([u8; CONTROL_BYTES]);

/// `CMSG_SPACE` of an `int` and of an `in6_pktinfo`, which is the longer of the two kinds.
const CONTROL_BYTES: usize = CMSG_HEADER + 8 + CMSG_HEADER + 24;

const CMSG_HEADER: usize = size_of::<libc::cmsghdr>();
/// What control messages are aligned to, and their length field is as long as.
const WORD: usize = size_of::<usize>();

impl Name {
    const EMPTY: Self = Self([0; 32]);

    /// The bytes of a `sockaddr_in` or `sockaddr_in6` and how many they are.
    fn encode(address: SocketAddr) -> (Self, libc::socklen_t) {
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

    fn decode(&self) -> Option<SocketAddr> {
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
    const EMPTY: Self = Self([0; CONTROL_BYTES]);

    /// Adds a control message behind the first `length` bytes; returns how many there are then.
    fn push(&mut self, length: usize, level: libc::c_int, kind: libc::c_int, data: &[u8]) -> usize {
        let bytes = &mut self.0[length..];
        bytes[..WORD].copy_from_slice(&(CMSG_HEADER + data.len()).to_ne_bytes());
        bytes[WORD..WORD + 4].copy_from_slice(&level.to_ne_bytes());
        bytes[WORD + 4..WORD + 8].copy_from_slice(&kind.to_ne_bytes());
        bytes[CMSG_HEADER..CMSG_HEADER + data.len()].copy_from_slice(data);
        length + (CMSG_HEADER + data.len()).next_multiple_of(WORD)
    }

    /// The messages in the first `length` bytes: level, type, data. It ends with the first that
    /// does not fit.
    fn messages(&self, length: usize) -> impl Iterator<Item = (libc::c_int, libc::c_int, &[u8])> {
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
    fn sending(segment: Option<u16>, from: Option<IpAddr>) -> (Self, usize) {
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
    fn received(&self, length: usize) -> (Option<usize>, Option<IpAddr>) {
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

const fn empty_header() -> mmsghdr {
    let msg_hdr = msghdr {
        msg_name: ptr::null_mut(),
        msg_namelen: 0,
        msg_iov: ptr::null_mut(),
        msg_iovlen: 0,
        msg_control: ptr::null_mut(),
        msg_controllen: 0,
        msg_flags: 0,
    };
    mmsghdr { msg_hdr, msg_len: 0 }
}

/// Datagrams from one source, possibly several in one buffer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Received<'a> {
    /// Where they came from.
    pub(super) source: SocketAddr,
    /// All of them.
    pub(super) bytes: &'a [u8],
    /// The length of each; the last may be shorter.
    pub(super) segment: usize,
    /// The address they were sent to, where the socket asks for it.
    pub(super) local: Option<IpAddr>,
}

impl<'a> Received<'a> {
    /// The datagrams with where they start. An empty datagram is one datagram.
    pub(super) fn datagrams(self) -> impl Iterator<Item = (usize, &'a [u8])> {
        let segment = self.segment.max(1);
        let count = self.bytes.len().div_ceil(segment).max(1);
        (0..count).map(move |index| {
            let start = index * segment;
            (start, &self.bytes[start..self.bytes.len().min(start + segment)])
        })
    }
}

/// Room for some messages; filled by one or more calls of [`RecvBatch::receive`].
pub(super) struct RecvBatch {
    data: Box<[u8]>,
    names: Box<[Name]>,
    controls: Box<[Control]>,
    iovecs: Box<[iovec]>,
    headers: Box<[mmsghdr]>,
    filled: usize,
}

impl RecvBatch {
    pub(super) fn new(messages: usize) -> Self {
        let empty = iovec {
            iov_base: ptr::null_mut(),
            iov_len: 0,
        };
        Self {
            data: vec![0; messages * BUFFER_STRIDE].into_boxed_slice(),
            names: vec![Name::EMPTY; messages].into_boxed_slice(),
            controls: vec![Control::EMPTY; messages].into_boxed_slice(),
            iovecs: vec![empty; messages].into_boxed_slice(),
            headers: vec![empty_header(); messages].into_boxed_slice(),
            filled: 0,
        }
    }

    pub(super) fn clear(&mut self) {
        self.filled = 0;
    }

    /// Messages there is room for.
    pub(super) fn room(&self) -> usize {
        self.headers.len() - self.filled
    }

    pub(super) fn len(&self) -> usize {
        self.filled
    }

    /// Takes up to `max` messages behind those already there; says how many came. Fewer than
    /// asked for means that there were no more.
    pub(super) fn receive(&mut self, socket: BorrowedFd<'_>, max: usize) -> io::Result<usize> {
        let from = self.filled;
        let to = from + max.min(self.room());
        let buffers = self.data.chunks_exact_mut(BUFFER_STRIDE).zip(&mut self.iovecs);
        let headers = self
            .headers
            .iter_mut()
            .zip(&mut self.names)
            .zip(&mut self.controls);
        for ((buffer, iovec), ((header, name), control)) in buffers.zip(headers).take(to).skip(from) {
            iovec.iov_base = buffer.as_mut_ptr().cast();
            iovec.iov_len = BUFFER_BYTES;
            let header = &mut header.msg_hdr;
            header.msg_name = name.0.as_mut_ptr().cast();
            header.msg_namelen = size_of::<Name>() as libc::socklen_t;
            header.msg_iov = iovec;
            header.msg_iovlen = 1;
            header.msg_control = control.0.as_mut_ptr().cast();
            header.msg_controllen = CONTROL_BYTES;
            header.msg_flags = 0;
        }
        let headers = &mut self.headers[from..to];
        // SAFETY: see the proof at the top; no timeout is passed.
        let count = unsafe {
            libc::recvmmsg(
                socket.as_raw_fd(),
                headers.as_mut_ptr(),
                headers.len() as libc::c_uint,
                libc::MSG_DONTWAIT,
                ptr::null_mut(),
            )
        };
        let count = usize::try_from(count).map_err(|_| io::Error::last_os_error())?;
        self.filled += count;
        Ok(count)
    }

    /// A message that was received. `None` for one that came from no internet address.
    pub(super) fn get(&self, index: usize) -> Option<Received<'_>> {
        let header = &self.headers[..self.filled][index];
        let length = (header.msg_len as usize).min(BUFFER_BYTES);
        let bytes = &self.data[index * BUFFER_STRIDE..][..length];
        let (segment, local) = self.controls[index].received(header.msg_hdr.msg_controllen);
        Some(Received {
            source: self.names[index].decode()?,
            bytes,
            segment: segment.unwrap_or(length),
            local,
        })
    }

    /// Bytes of a message that was received.
    pub(super) fn slice(&self, index: usize, range: std::ops::Range<usize>) -> &[u8] {
        &self.data[index * BUFFER_STRIDE..][..BUFFER_BYTES][range]
    }
}

/// One datagram to send: `prefix`, `data`, then `padding`.
#[derive(Clone, Copy, Debug)]
pub(super) struct Segment<'a> {
    pub(super) to: SocketAddr,
    pub(super) prefix: &'a [u8],
    pub(super) data: &'a [u8],
    pub(super) padding: &'a [u8],
}

impl Segment<'_> {
    fn length(&self) -> usize {
        self.prefix.len() + self.data.len() + self.padding.len()
    }
}

/// Datagrams that were not sent, by why.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Unsent {
    /// The socket's buffer was full.
    pub(super) buffer_full: u64,
    /// The kernel refused them.
    pub(super) failed: u64,
}

impl AddAssign for Unsent {
    fn add_assign(&mut self, other: Self) {
        self.buffer_full += other.buffer_full;
        self.failed += other.failed;
    }
}

/// Consecutive segments that leave in one message.
#[derive(Clone, Copy)]
struct Run {
    to: SocketAddr,
    /// Length of each segment; the last may be shorter, and then ends the run.
    segment: usize,
    segments: usize,
    bytes: usize,
    open: bool,
}

impl Run {
    fn of(segment: &Segment<'_>) -> Self {
        let length = segment.length();
        let open = length > 0 && length <= GSO_SEGMENT_BYTES_MAX;
        Self {
            to: segment.to,
            segment: length,
            segments: 1,
            bytes: length,
            open,
        }
    }

    fn takes(&self, segment: &Segment<'_>) -> bool {
        let length = segment.length();
        self.open
            && segment.to == self.to
            && length > 0
            && length <= self.segment
            && self.segments < GSO_SEGMENTS_MAX
            && self.bytes + length <= GSO_BYTES_MAX
    }

    fn push(&mut self, length: usize) {
        self.segments += 1;
        self.bytes += length;
        self.open = length == self.segment;
    }
}

/// Sends segments, runs to one destination by GSO.
pub(super) struct SendBatch {
    gso: bool,
    from: Option<IpAddr>,
    runs: Vec<Run>,
    iovecs: Vec<iovec>,
    /// Where the vectors of each segment end.
    ends: Vec<usize>,
    names: Vec<(Name, libc::socklen_t)>,
    controls: Vec<(Control, usize)>,
    headers: Vec<mmsghdr>,
}

impl SendBatch {
    pub(super) fn new() -> Self {
        Self {
            gso: true,
            from: None,
            runs: Vec::with_capacity(SEGMENTS_MAX),
            iovecs: Vec::with_capacity(3 * SEGMENTS_MAX),
            ends: Vec::with_capacity(SEGMENTS_MAX),
            names: Vec::with_capacity(SEGMENTS_MAX),
            controls: Vec::with_capacity(SEGMENTS_MAX),
            headers: Vec::with_capacity(SEGMENTS_MAX),
        }
    }

    /// Sends every segment, in order, as far as the kernel takes them without waiting. `from`:
    /// the address to send from, on a socket of the wildcard address.
    pub(super) fn send<'a>(
        &mut self,
        socket: BorrowedFd<'_>,
        from: Option<IpAddr>,
        segments: impl IntoIterator<Item = Segment<'a>>,
    ) -> Unsent {
        self.from = from;
        let mut unsent = Unsent::default();
        let mut segments = segments.into_iter().peekable();
        while segments.peek().is_some() {
            // The borrows of this chunk end with the call.
            self.gather(segments.by_ref().take(SEGMENTS_MAX));
            self.flush(socket, &mut unsent);
        }
        unsent
    }

    fn gather<'a>(&mut self, segments: impl Iterator<Item = Segment<'a>>) {
        self.runs.clear();
        self.iovecs.clear();
        self.ends.clear();
        for segment in segments {
            match self.runs.last_mut().filter(|run| self.gso && run.takes(&segment)) {
                Some(run) => run.push(segment.length()),
                None => self.runs.push(Run::of(&segment)),
            }
            for part in [segment.prefix, segment.data, segment.padding] {
                if !part.is_empty() {
                    let iov_base = part.as_ptr().cast_mut().cast();
                    self.iovecs.push(iovec {
                        iov_base,
                        iov_len: part.len(),
                    });
                }
            }
            self.ends.push(self.iovecs.len());
        }
        self.names.clear();
        self.names
            .extend(self.runs.iter().map(|run| Name::encode(run.to)));
        self.controls.clear();
        let from = self.from;
        self.controls.extend(self.runs.iter().map(|run| {
            let length = u16::try_from(run.segment).ok();
            Control::sending(length.filter(|_| run.segments > 1), from)
        }));
    }

    fn flush(&mut self, socket: BorrowedFd<'_>, unsent: &mut Unsent) {
        let mut done = 0;
        while done < self.runs.len() {
            self.build(done);
            match self.drive(socket) {
                Ok(()) => return,
                Err((sent, error)) => {
                    done += sent;
                    if matches!(error.raw_os_error(), Some(libc::EAGAIN | libc::ENOBUFS)) {
                        unsent.buffer_full += self.runs[done..]
                            .iter()
                            .map(|run| run.segments as u64)
                            .sum::<u64>();
                        return;
                    }
                    self.one_by_one(socket, done, &error, unsent);
                    done += 1;
                }
            }
        }
    }

    /// Writes the headers of the runs from `first` on.
    fn build(&mut self, first: usize) {
        self.headers.clear();
        let mut segment: usize = self.runs[..first].iter().map(|run| run.segments).sum();
        let mut start = if segment == 0 { 0 } else { self.ends[segment - 1] };
        let mut vectors = &mut self.iovecs[start..];
        let parts = self
            .runs
            .iter()
            .zip(&mut self.names)
            .zip(&mut self.controls)
            .skip(first);
        for ((run, (name, name_length)), (control, control_length)) in parts {
            segment += run.segments;
            let end = self.ends[segment - 1];
            let (own, rest) = vectors.split_at_mut(end - start);
            (vectors, start) = (rest, end);
            let mut header = empty_header();
            header.msg_hdr.msg_name = name.0.as_mut_ptr().cast();
            header.msg_hdr.msg_namelen = *name_length;
            header.msg_hdr.msg_iov = own.as_mut_ptr();
            header.msg_hdr.msg_iovlen = own.len();
            if *control_length > 0 {
                header.msg_hdr.msg_control = control.0.as_mut_ptr().cast();
                header.msg_hdr.msg_controllen = *control_length;
            }
            self.headers.push(header);
        }
    }

    /// Sends what [`SendBatch::build`] wrote. An error comes with how many were sent before it.
    fn drive(&mut self, socket: BorrowedFd<'_>) -> Result<(), (usize, io::Error)> {
        let mut sent = 0;
        while sent < self.headers.len() {
            match sendmmsg(socket, &mut self.headers[sent..]) {
                Ok(count) => sent += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err((sent, error)),
            }
        }
        Ok(())
    }

    /// The kernel refused a run: the path may be too narrow for it as one, or the device
    /// cannot do GSO. Its segments go out singly.
    fn one_by_one(&mut self, socket: BorrowedFd<'_>, run: usize, error: &io::Error, unsent: &mut Unsent) {
        let segments = self.runs[run].segments;
        if segments == 1 {
            unsent.failed += 1;
            return;
        }
        if error.raw_os_error() == Some(libc::EIO) {
            tracing::warn!("no segmentation offload here; sending datagrams singly");
            self.gso = false;
        }
        let first: usize = self.runs[..run].iter().map(|run| run.segments).sum();
        let (mut control, control_length) = Control::sending(None, self.from);
        for segment in first..first + segments {
            let start = if segment == 0 { 0 } else { self.ends[segment - 1] };
            let vectors = &mut self.iovecs[start..self.ends[segment]];
            let (name, name_length) = &mut self.names[run];
            let mut header = empty_header();
            header.msg_hdr.msg_name = name.0.as_mut_ptr().cast();
            header.msg_hdr.msg_namelen = *name_length;
            header.msg_hdr.msg_iov = vectors.as_mut_ptr();
            header.msg_hdr.msg_iovlen = vectors.len();
            if control_length > 0 {
                header.msg_hdr.msg_control = control.0.as_mut_ptr().cast();
                header.msg_hdr.msg_controllen = control_length;
            }
            match sendmmsg(socket, std::slice::from_mut(&mut header)) {
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => unsent.buffer_full += 1,
                Err(_) => unsent.failed += 1,
            }
        }
    }
}

fn sendmmsg(socket: BorrowedFd<'_>, headers: &mut [mmsghdr]) -> io::Result<usize> {
    // SAFETY: see the proof at the top.
    let count = unsafe {
        libc::sendmmsg(
            socket.as_raw_fd(),
            headers.as_mut_ptr(),
            headers.len() as libc::c_uint,
            libc::MSG_DONTWAIT | libc::MSG_NOSIGNAL,
        )
    };
    usize::try_from(count).map_err(|_| io::Error::last_os_error())
}

#[cfg(test)]
mod tests;
