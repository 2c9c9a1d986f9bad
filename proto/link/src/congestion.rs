//! The congestion controller under the links: NewReno that never falls below a floor.
//!
//! Media is most of what a link carries, and media is already rate-controlled end to
//! end: browsers and edges run their own bandwidth estimation, and an edge drops
//! layers before it drops packets. A loss-driven window under it makes a second loop
//! that fights the first: at 1 % random loss and 20 ms, plain NewReno or Cubic settles
//! near a dozen packets in flight (the 1.2/√p law), 600 packets a second, and a room's
//! audio queues behind it. BBR ignores such loss, but drains to four packets in flight
//! for 200 ms every ten seconds to re-measure the path, which is heard.
//!
//! So: NewReno for what is bulk (snapshots, gRPC), over a floor that media of an
//! ordinary link never reaches. Real overload still shows as probe loss and delay,
//! and is answered where something can be done about it: fewer layers, fewer rooms.

use std::any::Any;
use std::sync::Arc;
use std::time::Instant;

use quinn::congestion::{Controller, ControllerFactory, ControllerMetrics, NewReno, NewRenoConfig};
use quinn_proto::RttEstimator;

/// Bytes that may always be in flight. 256 KiB is 100 Mbit/s at 20 ms: some forty
/// camera streams at 2.5 Mbit/s, more than two edges share over a long path today,
/// and little enough that a congested port's queue is not ours alone.
const FLOOR_BYTES: u64 = 256 * 1024;

#[derive(Debug, Default)]
pub(crate) struct FlooredNewRenoConfig(Arc<NewRenoConfig>);

impl ControllerFactory for FlooredNewRenoConfig {
    fn build(self: Arc<Self>, now: Instant, current_mtu: u16) -> Box<dyn Controller> {
        Box::new(FlooredNewReno(NewReno::new(self.0.clone(), now, current_mtu)))
    }
}

#[derive(Clone)]
struct FlooredNewReno(NewReno);

impl Controller for FlooredNewReno {
    fn on_ack(&mut self, now: Instant, sent: Instant, bytes: u64, app_limited: bool, rtt: &RttEstimator) {
        self.0.on_ack(now, sent, bytes, app_limited, rtt);
    }

    fn on_congestion_event(&mut self, now: Instant, sent: Instant, is_persistent: bool, lost_bytes: u64) {
        self.0.on_congestion_event(now, sent, is_persistent, lost_bytes);
    }

    fn on_mtu_update(&mut self, new_mtu: u16) {
        self.0.on_mtu_update(new_mtu);
    }

    fn window(&self) -> u64 {
        self.0.window().max(FLOOR_BYTES)
    }

    fn metrics(&self) -> ControllerMetrics {
        let mut metrics = self.0.metrics();
        metrics.congestion_window = self.window();
        metrics
    }

    fn clone_box(&self) -> Box<dyn Controller> {
        Box::new(self.clone())
    }

    fn initial_window(&self) -> u64 {
        self.0.initial_window().max(FLOOR_BYTES)
    }

    fn into_any(self: Box<Self>) -> Box<dyn Any> {
        self
    }
}
