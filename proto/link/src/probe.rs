//! Round trip, jitter and loss of a path, from probe datagrams. Pure: the clock is an argument.

use std::collections::VecDeque;

use crate::datagram::Probe;

/// Probes that loss and round trip are measured over: ten seconds at ten a second.
const WINDOW_PROBES: usize = 100;

/// A probe not back after this long counts as lost, in microseconds.
const LOST_AFTER_US: u64 = 1_000_000;

/// Weight of a new sample in the smoothed round trip (RFC 6298 section 2).
const RTT_GAIN: f64 = 1.0 / 8.0;

/// Weight of a new sample in the jitter (RFC 3550 section 6.4.1).
const JITTER_GAIN: f64 = 1.0 / 16.0;

/// A path as measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PathQuality {
    /// Smoothed round trip in microseconds; 0 while nothing has come back.
    pub rtt_us: u32,
    /// Mean deviation between successive round trips in microseconds (RFC 3550's estimator).
    pub jitter_us: u32,
    /// Lost probes per million of those sent in the window and due.
    pub loss_ppm: u32,
    /// Probes this rests on.
    pub samples: u32,
}

#[derive(Clone, Copy, Debug)]
struct Sent {
    probe: Probe,
    returned: bool,
}

/// Makes probes, takes their echoes, knows the path.
#[derive(Clone, Debug, Default)]
pub struct ProbeTracker {
    sequence: u32,
    window: VecDeque<Sent>,
    rtt_us: Option<f64>,
    last_rtt_us: f64,
    jitter_us: f64,
}

impl ProbeTracker {
    /// A path nothing is known of.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// The next probe to send, at `now_us` of any steady clock.
    pub fn next_probe(&mut self, now_us: u64) -> Probe {
        let probe = Probe {
            sequence: self.sequence,
            clock_us: now_us,
        };
        self.sequence = self.sequence.wrapping_add(1);
        if self.window.len() == WINDOW_PROBES {
            self.window.pop_front();
        }
        self.window.push_back(Sent {
            probe,
            returned: false,
        });
        probe
    }

    /// Takes an echo; false when it is not one of ours, came twice, or came too late.
    pub fn handle_echo(&mut self, echo: Probe, now_us: u64) -> bool {
        let Some(sent) = self
            .window
            .iter_mut()
            .find(|sent| sent.probe == echo && !sent.returned)
        else {
            return false;
        };
        let rtt_us = now_us.saturating_sub(echo.clock_us);
        if rtt_us > LOST_AFTER_US {
            return false;
        }
        sent.returned = true;
        // At most LOST_AFTER_US, far below 2^53: exact.
        let rtt = rtt_us as f64;
        if let Some(smoothed) = self.rtt_us {
            let deviation = (rtt - self.last_rtt_us).abs();
            self.jitter_us += (deviation - self.jitter_us) * JITTER_GAIN;
            self.rtt_us = Some(smoothed + (rtt - smoothed) * RTT_GAIN);
        } else {
            self.rtt_us = Some(rtt);
        }
        self.last_rtt_us = rtt;
        true
    }

    /// What is known at `now_us`.
    #[must_use]
    pub fn quality(&self, now_us: u64) -> PathQuality {
        let due = self
            .window
            .iter()
            .filter(|sent| sent.returned || now_us.saturating_sub(sent.probe.clock_us) > LOST_AFTER_US);
        let (mut samples, mut lost) = (0_u32, 0_u32);
        for sent in due {
            samples += 1;
            lost += u32::from(!sent.returned);
        }
        PathQuality {
            rtt_us: self.rtt_us.unwrap_or(0.0) as u32,
            jitter_us: self.jitter_us as u32,
            // At most WINDOW_PROBES × 10^6, which fits.
            loss_ppm: (lost * 1_000_000).checked_div(samples).unwrap_or(0),
            samples,
        }
    }
}
