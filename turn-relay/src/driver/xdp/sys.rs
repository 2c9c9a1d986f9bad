//! `bpf(2)`: maps, programs, links, as values that close themselves.
//!
//! This is the second module of the crate with `unsafe` code, beside [`super::super::mmsg`].
//! There is no crate for it that neither brings its own loader and object format nor wants
//! clang at build time, and what is needed are eight calls. (And the clock that programs read, which nix
//! would give at the price of one more feature.)
//!
//! # Proof
//!
//! One call crosses into the kernel (and `clock_gettime`, which fills in a struct on the stack), in [`bpf`]: `syscall(SYS_bpf, command, attribute, size)`. The
//! attribute is an array of bytes on the stack of the caller, as long as `size` says, which
//! the kernel reads and, for a test run, writes its results into. What the kernel is pointed to from there are
//! * slices borrowed by the function that makes the call, for longer than the call; of those it
//!   only reads (instructions, keys, values, licence, packets) the length stands in the same
//!   attribute, or is the map's own: [`Map`] has it in its type and made the map with it;
//! * buffers on the stack or in a `Vec` of that function which it writes, and which nothing else
//!   touches before the call has returned: the log (length in the attribute), a value (as long as
//!   the type of the map says; none of our maps is per CPU, where the kernel would write one value
//!   for each), the packet of a test run, what there is to say of a link (lengths in the attribute).
//!
//! The kernel keeps no pointer after the call. A descriptor that a call returns is new and nobody
//! else's, so it is owned from there on.
#![allow(unsafe_code, reason = "the module's purpose; see the proof above")]

use std::io;
use std::os::fd::{AsRawFd as _, FromRawFd as _, OwnedFd, RawFd};
use std::time::Duration;

use nix::libc;

const MAP_CREATE: libc::c_int = 0;
const MAP_LOOKUP: libc::c_int = 1;
const MAP_UPDATE: libc::c_int = 2;
const MAP_DELETE: libc::c_int = 3;
const PROGRAM_LOAD: libc::c_int = 5;
const PROGRAM_TEST_RUN: libc::c_int = 10;
const OBJECT_INFO: libc::c_int = 15;
const LINK_CREATE: libc::c_int = 28;

const MAP_TYPE_HASH: u32 = 1;
const MAP_TYPE_ARRAY: u32 = 2;
/// Entries are allocated when they are made: an empty table takes no memory.
const NO_PREALLOCATION: u32 = 1;
const PROGRAM_TYPE_XDP: u32 = 6;
const ATTACH_XDP: u32 = 37;
/// As long as any command's attribute here; what is behind a command's own is zero, as the kernel asks.
const ATTRIBUTE_BYTES: usize = 128;
/// What the kernel says about a program it refuses.
const LOG_BYTES: usize = 256 << 10;
/// Shortest frame the kernel runs a program over: an Ethernet header.
const FRAME_BYTES_MIN: usize = 14;
/// `struct bpf_link_info` as far as the interface of an XDP link, and where that stands.
const LINK_INFO_BYTES: usize = 20;
const LINK_INTERFACE: usize = 16;
/// Names are 15 bytes and a zero.
const NAME_BYTES: usize = 16;

/// A `union bpf_attr`.
#[repr(C, align(8))]
struct Attribute([u8; ATTRIBUTE_BYTES]);

impl Attribute {
    const fn new() -> Self {
        Self([0; ATTRIBUTE_BYTES])
    }

    fn u32(mut self, at: usize, value: u32) -> Self {
        self.0[at..at + 4].copy_from_slice(&value.to_ne_bytes());
        self
    }

    fn u64(mut self, at: usize, value: u64) -> Self {
        self.0[at..at + 8].copy_from_slice(&value.to_ne_bytes());
        self
    }

    fn fd(self, at: usize, fd: RawFd) -> Self {
        self.u32(at, fd.cast_unsigned())
    }

    fn read_from(self, at: usize, bytes: &[u8]) -> Self {
        self.u64(at, bytes.as_ptr().expose_provenance() as u64)
    }

    fn written_to(self, at: usize, bytes: &mut [u8]) -> Self {
        self.u64(at, bytes.as_mut_ptr().expose_provenance() as u64)
    }

    fn name(mut self, at: usize, name: &str) -> Self {
        let length = name.len().min(NAME_BYTES - 1);
        self.0[at..at + length].copy_from_slice(&name.as_bytes()[..length]);
        self
    }

    fn u32_at(&self, at: usize) -> u32 {
        u32::from_ne_bytes(*self.0[at..].first_chunk().expect("inside the attribute"))
    }
}

fn bpf(command: libc::c_int, attribute: &mut Attribute) -> io::Result<libc::c_int> {
    // SAFETY: see the proof at the top.
    let result = unsafe {
        libc::syscall(
            libc::SYS_bpf,
            command,
            attribute.0.as_mut_ptr(),
            ATTRIBUTE_BYTES as libc::c_uint,
        )
    };
    if result < 0 {
        return Err(io::Error::last_os_error());
    }
    libc::c_int::try_from(result).map_err(io::Error::other)
}

fn descriptor(command: libc::c_int, attribute: &mut Attribute) -> io::Result<OwnedFd> {
    let fd = bpf(command, attribute)?;
    // SAFETY: see the proof at the top: the kernel has just opened it for us.
    Ok(unsafe { OwnedFd::from_raw_fd(fd) })
}

/// A map from `K` bytes to `V` bytes.
#[derive(Debug)]
pub(super) struct Map<const K: usize, const V: usize>(OwnedFd);

impl<const V: usize> Map<4, V> {
    /// An array, by index; all zero.
    pub(super) fn array(name: &str, entries: u32) -> io::Result<Self> {
        Self::create(name, MAP_TYPE_ARRAY, entries, 0)
    }
}

impl<const K: usize, const V: usize> Map<K, V> {
    /// A hash table of at most `entries`.
    pub(super) fn hash(name: &str, entries: u32) -> io::Result<Self> {
        Self::create(name, MAP_TYPE_HASH, entries, NO_PREALLOCATION)
    }

    fn create(name: &str, kind: u32, entries: u32, flags: u32) -> io::Result<Self> {
        let mut attribute = Attribute::new()
            .u32(0, kind)
            .u32(4, K as u32)
            .u32(8, V as u32)
            .u32(12, entries)
            .u32(16, flags)
            .name(28, name);
        descriptor(MAP_CREATE, &mut attribute).map(Self)
    }

    /// Puts a value in the place of whatever was there.
    pub(super) fn insert(&self, key: &[u8; K], value: &[u8; V]) -> io::Result<()> {
        let attribute = self.element(key);
        bpf(MAP_UPDATE, &mut attribute.read_from(16, value)).map(drop)
    }

    /// Takes a value out. `NotFound`: there was none.
    pub(super) fn remove(&self, key: &[u8; K]) -> io::Result<()> {
        bpf(MAP_DELETE, &mut self.element(key)).map(drop)
    }

    pub(super) fn get(&self, key: &[u8; K]) -> io::Result<[u8; V]> {
        let mut value = [0; V];
        let attribute = self.element(key);
        bpf(MAP_LOOKUP, &mut attribute.written_to(16, &mut value))?;
        Ok(value)
    }

    fn element(&self, key: &[u8; K]) -> Attribute {
        Attribute::new().fd(0, self.0.as_raw_fd()).read_from(8, key)
    }

    pub(super) fn as_raw_fd(&self) -> RawFd {
        self.0.as_raw_fd()
    }
}

/// Why the kernel does not take a program.
#[derive(Debug, thiserror::Error)]
#[error("{error}{}{log}", if log.is_empty() { "" } else { ": " })]
pub(super) struct Refused {
    #[source]
    pub(super) error: io::Error,
    /// The end of what it said.
    pub(super) log: String,
}

/// A loaded XDP program.
#[derive(Debug)]
pub(super) struct Program(OwnedFd);

impl Program {
    /// Has the kernel check and translate `instructions`.
    pub(super) fn load(name: &str, instructions: &[[u8; 8]]) -> Result<Self, Refused> {
        let quiet = || {
            let licence = c"GPL";
            let count = u32::try_from(instructions.len()).unwrap_or(u32::MAX);
            Attribute::new()
                .u32(0, PROGRAM_TYPE_XDP)
                .u32(4, count)
                .read_from(8, instructions.as_flattened())
                .read_from(16, licence.to_bytes_with_nul())
                .name(48, name)
                .u32(68, ATTACH_XDP)
        };
        let refusal = match descriptor(PROGRAM_LOAD, &mut quiet()) {
            Ok(fd) => return Ok(Self(fd)),
            Err(error) => error,
        };
        // Once more for the reason: the log costs memory that a good program does not need.
        let mut log = vec![0; LOG_BYTES];
        let mut loud = quiet()
            .u32(24, 1)
            .u32(28, LOG_BYTES as u32)
            .written_to(32, &mut log);
        if let Ok(fd) = descriptor(PROGRAM_LOAD, &mut loud) {
            return Ok(Self(fd));
        }
        let length = log.iter().position(|byte| *byte == 0).unwrap_or(LOG_BYTES);
        let text = String::from_utf8_lossy(&log[..length]);
        let mut last: Vec<&str> = text.trim_end().lines().rev().take(4).collect();
        last.reverse();
        Err(Refused {
            error: refusal,
            log: last.join(" | "),
        })
    }

    /// Runs the program before everything else that comes in on an interface, for as long as the
    /// returned link is open. `flags`: `XDP_FLAGS_…`.
    pub(super) fn attach(&self, interface: u32, flags: u32) -> io::Result<Link> {
        let mut attribute = Attribute::new()
            .fd(0, self.0.as_raw_fd())
            .u32(4, interface)
            .u32(8, ATTACH_XDP)
            .u32(12, flags);
        descriptor(LINK_CREATE, &mut attribute).map(Link)
    }

    /// What it says to an empty frame.
    pub(super) fn verdict(&self) -> io::Result<u32> {
        let frame = [0; FRAME_BYTES_MIN];
        let mut attribute = Attribute::new()
            .fd(0, self.0.as_raw_fd())
            .u32(8, FRAME_BYTES_MIN as u32)
            .read_from(16, &frame)
            .u32(32, 1);
        bpf(PROGRAM_TEST_RUN, &mut attribute)?;
        Ok(attribute.u32_at(4))
    }

    /// Runs it once over a packet that came in on `interface`: its verdict, and the packet afterwards.
    #[cfg(test)]
    pub(super) fn run(&self, packet: &[u8], interface: u32) -> io::Result<(u32, Vec<u8>)> {
        // Room for what a program may put in front.
        let mut out = vec![0; packet.len() + 256];
        // `struct xdp_md`: data, data_end, data_meta, ingress_ifindex, rx_queue_index, egress_ifindex.
        let mut context = [0; 24];
        let length = u32::try_from(packet.len()).map_err(io::Error::other)?;
        context[4..8].copy_from_slice(&length.to_ne_bytes());
        context[12..16].copy_from_slice(&interface.to_ne_bytes());
        let mut attribute = Attribute::new()
            .fd(0, self.0.as_raw_fd())
            .u32(8, length)
            .u32(12, length + 256)
            .read_from(16, packet)
            .written_to(24, &mut out)
            .u32(32, 1)
            .u32(40, 24)
            .read_from(48, &context);
        bpf(PROGRAM_TEST_RUN, &mut attribute)?;
        out.truncate(attribute.u32_at(12) as usize);
        Ok((attribute.u32_at(4), out))
    }
}

/// A program's place on an interface; closed, the program is gone from there.
#[derive(Debug)]
pub(super) struct Link(OwnedFd);

impl Link {
    /// Whether the interface is still there: when it goes, its program goes, and the link stays behind.
    pub(super) fn stands(&self) -> io::Result<bool> {
        let mut info = [0; LINK_INFO_BYTES];
        let mut attribute = Attribute::new()
            .fd(0, self.0.as_raw_fd())
            .u32(4, LINK_INFO_BYTES as u32)
            .written_to(8, &mut info);
        bpf(OBJECT_INFO, &mut attribute)?;
        Ok(info[LINK_INTERFACE..] != [0; 4])
    }
}

impl From<Link> for OwnedFd {
    fn from(link: Link) -> Self {
        link.0
    }
}

/// The clock the kernel's programs read, which is also that of [`std::time::Instant`].
pub(super) fn monotonic() -> io::Result<Duration> {
    let mut time = libc::timespec {
        tv_sec: 0,
        tv_nsec: 0,
    };
    // SAFETY: the kernel writes one `timespec` to the address of one, and keeps nothing.
    if unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) } != 0 {
        return Err(io::Error::last_os_error());
    }
    let seconds = u64::try_from(time.tv_sec).map_err(io::Error::other)?;
    let nanos = u32::try_from(time.tv_nsec).map_err(io::Error::other)?;
    Ok(Duration::new(seconds, nanos))
}
