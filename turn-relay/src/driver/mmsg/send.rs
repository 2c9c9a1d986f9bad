//! Sending.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::ops::AddAssign;
use std::os::fd::BorrowedFd;

use nix::libc::{self, iovec, mmsghdr};

use super::control::{Control, Name};
use super::{empty_header, sendmmsg};

/// Segments in one `sendmmsg`.
const SEGMENTS_MAX: usize = 128;
/// Segments in one GSO send: the limit of older kernels (`UDP_MAX_SEGMENTS`).
const GSO_SEGMENTS_MAX: usize = 64;
/// Longest segment worth a GSO send: what fits an Ethernet frame over IPv6. Longer ones would be
/// refused by the kernel where they could still be fragmented.
const GSO_SEGMENT_BYTES_MAX: usize = 1452;
/// A GSO send is one datagram until the last moment.
const GSO_BYTES_MAX: usize = 65_000;

/// One datagram to send: `prefix`, `data`, then `padding`.
#[derive(Clone, Copy, Debug)]
pub(in crate::driver) struct Segment<'a> {
    pub(in crate::driver) to: SocketAddr,
    pub(in crate::driver) prefix: &'a [u8],
    pub(in crate::driver) data: &'a [u8],
    pub(in crate::driver) padding: &'a [u8],
}

impl Segment<'_> {
    fn length(&self) -> usize {
        self.prefix.len() + self.data.len() + self.padding.len()
    }
}

/// Datagrams that were not sent, by why.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(in crate::driver) struct Unsent {
    /// The socket's buffer was full.
    pub(in crate::driver) buffer_full: u64,
    /// The kernel refused them.
    pub(in crate::driver) failed: u64,
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
pub(in crate::driver) struct SendBatch {
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
    pub(in crate::driver) fn new() -> Self {
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
    pub(in crate::driver) fn send<'a>(
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
        let mut repeated = None;
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
                    // An ICMP error for what was sent before is reported once, by whatever is called
                    // next; this run has not been tried then.
                    if repeated.replace(done) == Some(done) {
                        self.one_by_one(socket, done, &error, unsent);
                        done += 1;
                    }
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
