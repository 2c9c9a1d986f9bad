//! Who sees what, at which size: pure choices, no state.

use std::time::Duration;

/// Share of the estimate that media may use; the rest is for repairs and RTCP.
const USABLE: f64 = 0.95;
/// What an audio slot is taken to need, bits per second: Opus with overhead.
pub(crate) const AUDIO_BPS: u64 = 50_000;
/// A larger layer has to fit with this much to spare, so that it does not flap.
const UPGRADE_MARGIN: f64 = 1.15;
/// After a step down by lack of bandwidth, no step up for so long; twice as long each
/// time a step up did not last.
pub(crate) const HOLD_MIN: Duration = Duration::from_secs(3);
pub(crate) const HOLD_MAX: Duration = Duration::from_secs(30);
/// A step up has lasted when nothing was taken back for so long.
pub(crate) const LASTING: Duration = Duration::from_secs(15);

/// A layer as the choice sees it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LayerOffer {
    pub(crate) bitrate_bps: u64,
    pub(crate) height: u32,
    pub(crate) live: bool,
}

/// A video slot that shows something, in order of importance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Demand {
    /// Lowest first.
    pub(crate) layers: Vec<LayerOffer>,
    /// Height the subscriber has use for.
    pub(crate) height: u32,
    pub(crate) current: Option<u8>,
    /// Stopped by lack of bandwidth, not new.
    pub(crate) paused: bool,
}

impl Demand {
    /// The smallest live layer that fills the tile, else the largest live one.
    pub(crate) fn ideal(&self) -> Option<u8> {
        let mut live = self.layers.iter().enumerate().filter(|(_, l)| l.live);
        live.clone()
            .find(|(_, l)| l.height >= self.height)
            .or_else(|| live.next_back())
            .map(|(i, _)| i as u8)
    }

    fn lowest(&self) -> Option<u8> {
        self.layers.iter().position(|l| l.live).map(|i| i as u8)
    }

    fn cost(&self, layer: u8) -> u64 {
        self.layers[usize::from(layer)].bitrate_bps
    }
}

/// What was chosen for a subscriber.
#[derive(Clone, Debug, PartialEq, Eq, Default)]
pub(crate) struct Allocation {
    /// One per demand.
    pub(crate) layers: Vec<Option<u8>>,
    /// Bandwidth, not layout, kept at least one demand below its ideal.
    pub(crate) limited: bool,
    /// Rate of the ideal.
    pub(crate) desired_bps: u64,
}

/// Spends the estimate: audio first, then the lowest layer of every picture in order
/// of importance, then larger layers in the same order. `hold` forbids steps up.
pub(crate) fn allocate(estimate_bps: u64, audio_slots: u64, demands: &[Demand], hold: bool) -> Allocation {
    let audio = audio_slots * AUDIO_BPS;
    let mut left = ((estimate_bps as f64 * USABLE) as u64).saturating_sub(audio);
    let mut layers: Vec<Option<u8>> = vec![None; demands.len()];
    for (chosen, demand) in layers.iter_mut().zip(demands) {
        let Some(lowest) = demand.lowest() else { continue };
        let cost = demand.cost(lowest);
        if fits(cost, left, demand.current.is_none(), hold && demand.paused) {
            *chosen = Some(lowest);
            left -= cost.min(left);
        }
    }
    let mut limited = false;
    for (chosen, demand) in layers.iter_mut().zip(demands) {
        let Some(ideal) = demand.ideal() else { continue };
        let Some(start) = *chosen else {
            limited = true;
            continue;
        };
        for layer in start + 1..=ideal {
            if !demand.layers[usize::from(layer)].live {
                continue;
            }
            let now = chosen.unwrap_or(start);
            let extra = demand.cost(layer).saturating_sub(demand.cost(now));
            let upgrade = demand.current.is_none_or(|c| layer > c);
            if !fits(extra, left, upgrade, hold && demand.current.is_some()) {
                limited = true;
                break;
            }
            *chosen = Some(layer);
            left -= extra.min(left);
        }
    }
    let ideal: u64 = audio
        + demands
            .iter()
            .filter_map(|d| d.ideal().map(|l| d.cost(l)))
            .sum::<u64>();
    Allocation {
        limited,
        desired_bps: (ideal as f64 * UPGRADE_MARGIN / USABLE) as u64,
        layers,
    }
}

fn fits(cost: u64, left: u64, upgrade: bool, hold: bool) -> bool {
    if !upgrade {
        return cost <= left;
    }
    !hold && (cost as f64 * UPGRADE_MARGIN) as u64 <= left
}

/// Puts `wanted` (most important first) into slots: what is shown already keeps its
/// slot, the rest takes free ones in order. `None` means the slot shows nothing.
pub(crate) fn assign<K: Copy + PartialEq>(shown: &[Option<K>], wanted: &[K]) -> Vec<Option<K>> {
    let wanted = &wanted[..wanted.len().min(shown.len())];
    let mut slots: Vec<Option<K>> = shown.iter().map(|s| s.filter(|k| wanted.contains(k))).collect();
    for key in wanted {
        if !slots.contains(&Some(*key))
            && let Some(free) = slots.iter_mut().find(|s| s.is_none())
        {
            *free = Some(*key);
        }
    }
    slots
}
