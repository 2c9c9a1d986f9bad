//! Receiving.

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::os::fd::BorrowedFd;
use std::ptr;

use nix::libc::{self, iovec, mmsghdr};

use super::control::{CONTROL_BYTES, Control, Name};
use super::{empty_header, recvmmsg};

/// Largest chain of datagrams GRO hands over.
const BUFFER_BYTES: usize = 65_536;
/// Buffers start this far apart, so that their first lines do not all fall into one cache set.
const BUFFER_STRIDE: usize = BUFFER_BYTES + 37 * 64;

/// Datagrams from one source, possibly several in one buffer.
#[derive(Clone, Copy, Debug)]
pub(in crate::driver) struct Received<'a> {
    /// Where they came from.
    pub(in crate::driver) source: SocketAddr,
    /// All of them.
    pub(in crate::driver) bytes: &'a [u8],
    /// The length of each; the last may be shorter.
    pub(in crate::driver) segment: usize,
    /// The address they were sent to, where the socket asks for it.
    pub(in crate::driver) local: Option<IpAddr>,
}

impl<'a> Received<'a> {
    /// The datagrams with where they start. An empty datagram is one datagram.
    pub(in crate::driver) fn datagrams(self) -> impl Iterator<Item = (usize, &'a [u8])> {
        let segment = self.segment.max(1);
        let count = self.bytes.len().div_ceil(segment).max(1);
        (0..count).map(move |index| {
            let start = index * segment;
            (start, &self.bytes[start..self.bytes.len().min(start + segment)])
        })
    }
}

/// Room for some messages; filled by one or more calls of [`RecvBatch::receive`].
pub(in crate::driver) struct RecvBatch {
    data: Box<[u8]>,
    names: Box<[Name]>,
    controls: Box<[Control]>,
    iovecs: Box<[iovec]>,
    headers: Box<[mmsghdr]>,
    filled: usize,
}

impl RecvBatch {
    pub(in crate::driver) fn new(messages: usize) -> Self {
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

    pub(in crate::driver) fn clear(&mut self) {
        self.filled = 0;
    }

    /// Messages there is room for.
    pub(in crate::driver) fn room(&self) -> usize {
        self.headers.len() - self.filled
    }

    pub(in crate::driver) fn len(&self) -> usize {
        self.filled
    }

    /// Takes up to `max` messages behind those already there; says how many came. Fewer than
    /// asked for means that there were no more.
    pub(in crate::driver) fn receive(&mut self, socket: BorrowedFd<'_>, max: usize) -> io::Result<usize> {
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
        let count = recvmmsg(socket, &mut self.headers[from..to])?;
        self.filled += count;
        Ok(count)
    }

    /// A message that was received. `None` for one that came from no internet address.
    pub(in crate::driver) fn get(&self, index: usize) -> Option<Received<'_>> {
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
    pub(in crate::driver) fn slice(&self, index: usize, range: std::ops::Range<usize>) -> &[u8] {
        &self.data[index * BUFFER_STRIDE..][..BUFFER_BYTES][range]
    }
}
