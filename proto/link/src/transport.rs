//! How links use QUIC: every number with its reason.

use std::sync::Arc;
use std::time::Duration;

use quinn::{IdleTimeout, MtuDiscoveryConfig, TransportConfig, VarInt};

use crate::congestion::FlooredNewRenoConfig;

/// A peer that says nothing for this long is dead. With [`KEEP_ALIVE`] that is four
/// lost packets in a row, which a path good enough for a visit does not lose.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(2);

/// Quiet sessions are kept alive this often.
pub const KEEP_ALIVE: Duration = Duration::from_millis(450);

/// First guess of the round trip, before it is measured. The default, 333 ms, retries a
/// lost first packet after a second; a spurious retry on a longer path costs one packet.
const INITIAL_RTT: Duration = Duration::from_millis(60);

/// A 1200 B RTP payload with our header and QUIC's must fit before path discovery has
/// finished; fleet paths carry Ethernet's 1500 less a tunnel's headers. Where they do
/// not, quinn's black-hole detection falls back to 1200 and senders get `TooBig`.
const INITIAL_MTU: u16 = 1400;

/// 1500 less IPv4 (20) or IPv6 (40) and UDP (8): more would be fragmented on Ethernet.
const MTU_MAX: u16 = 1452;

/// Streams a peer may have open: four gRPC classes and one mesh stream in use, the
/// rest for reconnecting ones that overlap.
pub(crate) const STREAMS_MAX: u32 = 64;

/// Unread bytes per stream and per session: enough for 1 Gbit/s at 10 ms, and a bound on
/// what a peer can make us hold.
const STREAM_WINDOW_BYTES: u32 = 1_250_000;
const SESSION_WINDOW_BYTES: u32 = 16 * 1024 * 1024;

/// Datagrams received and not yet read. Half a second of 60 Mbit/s: what a busy shard may lag.
const DATAGRAM_RECEIVE_BYTES: usize = 4 * 1024 * 1024;

/// Datagrams accepted and not yet sent: 40 ms at 100 Mbit/s. Media older than that is
/// better asked for again than delivered.
pub(crate) const DATAGRAM_SEND_BYTES: usize = 512 * 1024;

fn base() -> TransportConfig {
    let mut config = TransportConfig::default();
    let mut discovery = MtuDiscoveryConfig::default();
    discovery.upper_bound(MTU_MAX);
    config
        .max_idle_timeout(Some(
            IdleTimeout::try_from(IDLE_TIMEOUT).expect("two seconds fit a QUIC idle timeout"),
        ))
        .keep_alive_interval(Some(KEEP_ALIVE))
        .initial_rtt(INITIAL_RTT)
        .initial_mtu(INITIAL_MTU)
        .mtu_discovery_config(Some(discovery))
        .stream_receive_window(VarInt::from_u32(STREAM_WINDOW_BYTES))
        .receive_window(VarInt::from_u32(SESSION_WINDOW_BYTES))
        .send_window(u64::from(SESSION_WINDOW_BYTES))
        .datagram_receive_buffer_size(Some(DATAGRAM_RECEIVE_BYTES))
        .datagram_send_buffer_size(DATAGRAM_SEND_BYTES)
        .max_concurrent_uni_streams(VarInt::from_u32(0))
        .congestion_controller_factory(Arc::new(FlooredNewRenoConfig::default()));
    config
}

/// The side that was dialled: streams are opened towards it.
pub(crate) fn accepting() -> Arc<TransportConfig> {
    let mut config = base();
    config.max_concurrent_bidi_streams(VarInt::from_u32(STREAMS_MAX));
    Arc::new(config)
}

/// The side that dials: nobody opens streams towards it.
pub(crate) fn dialing() -> Arc<TransportConfig> {
    let mut config = base();
    config.max_concurrent_bidi_streams(VarInt::from_u32(0));
    Arc::new(config)
}
