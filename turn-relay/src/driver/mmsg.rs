//! Many datagrams in one system call: `recvmmsg` with GRO, `sendmmsg` with GSO.
//!
//! One of two modules with `unsafe` code, beside [`super::xdp`]'s calls of the kernel. std has no vectored datagram
//! calls, quinn-udp has no `sendmmsg`, and nix's allocates for control messages; the
//! relay's data path may not.
//!
//! # Proof
//!
//! Three calls cross into the kernel. `setsockopt` is given the address and the length of an
//! `int` on the stack, which it only reads. The two others are given an array of `mmsghdr` whose pointers are
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

mod control;
mod receive;
mod send;

use std::io;
use std::os::fd::{AsRawFd as _, BorrowedFd};
use std::ptr;

use nix::libc::{self, mmsghdr, msghdr};

pub(super) use receive::{Received, RecvBatch};
pub(super) use send::{Segment, SendBatch, Unsent};

/// Forbids the kernel to fragment what a socket of a family sends, or allows it again.
///
/// Where it is forbidden, what is longer than the path takes is refused by the kernel or by a
/// router, and the socket's error queue says so.
pub(super) fn set_dont_fragment(socket: BorrowedFd<'_>, v6: bool, on: bool) -> io::Result<()> {
    let (level, option, forbidden, allowed) = if v6 {
        (
            libc::IPPROTO_IPV6,
            libc::IPV6_MTU_DISCOVER,
            libc::IPV6_PMTUDISC_DO,
            libc::IPV6_PMTUDISC_WANT,
        )
    } else {
        (
            libc::IPPROTO_IP,
            libc::IP_MTU_DISCOVER,
            libc::IP_PMTUDISC_DO,
            libc::IP_PMTUDISC_WANT,
        )
    };
    set_int(socket, level, option, if on { forbidden } else { allowed })?;
    if v6 {
        // Without it the kernel makes fragments of what the first link does not take.
        set_int(socket, level, libc::IPV6_DONTFRAG, i32::from(on))?;
    }
    Ok(())
}

fn set_int(
    socket: BorrowedFd<'_>,
    level: libc::c_int,
    option: libc::c_int,
    value: libc::c_int,
) -> io::Result<()> {
    // SAFETY: see the proof at the top.
    let result = unsafe {
        libc::setsockopt(
            socket.as_raw_fd(),
            level,
            option,
            (&raw const value).cast(),
            size_of::<libc::c_int>() as libc::socklen_t,
        )
    };
    if result == 0 {
        Ok(())
    } else {
        Err(io::Error::last_os_error())
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

fn recvmmsg(socket: BorrowedFd<'_>, headers: &mut [mmsghdr]) -> io::Result<usize> {
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
    usize::try_from(count).map_err(|_| io::Error::last_os_error())
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
