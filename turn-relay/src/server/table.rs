//! The allocations, found by client, by slot, and by when they expire.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::time::Duration;

use super::allocation::Allocation;
use super::{Client, RelayId};

#[derive(Debug, Default)]
struct Slot {
    generation: u32,
    allocation: Option<Box<Allocation>>,
}

/// A deadline of a slot; stale unless the allocation still waits for exactly it.
type Timer = Reverse<(Duration, u32, u32)>;

/// Stale timers that are not worth a pass over the heap.
const TIMERS_SLACK: usize = 1024;

/// All allocations of one server.
#[derive(Debug, Default)]
pub(super) struct Table {
    clients: HashMap<Client, u32>,
    slots: Vec<Slot>,
    free: Vec<u32>,
    timers: BinaryHeap<Timer>,
}

impl Table {
    pub(super) fn len(&self) -> usize {
        self.slots.len() - self.free.len()
    }

    #[inline]
    pub(super) fn find(&self, client: Client) -> Option<u32> {
        self.clients.get(&client).copied()
    }

    #[inline]
    pub(super) fn get(&self, slot: u32) -> Option<&Allocation> {
        self.slots.get(slot as usize)?.allocation.as_deref()
    }

    pub(super) fn get_mut(&mut self, slot: u32) -> Option<&mut Allocation> {
        self.slots.get_mut(slot as usize)?.allocation.as_deref_mut()
    }

    /// The allocation a relayed transport address belongs to, if it still does.
    #[inline]
    pub(super) fn of_relay(&self, relay: RelayId) -> Option<&Allocation> {
        let slot = self.slots.get(relay.slot as usize)?;
        slot.allocation
            .as_deref()
            .filter(|_| slot.generation == relay.generation)
    }

    pub(super) fn iter_mut(&mut self) -> impl Iterator<Item = &mut Allocation> {
        self.slots
            .iter_mut()
            .filter_map(|slot| slot.allocation.as_deref_mut())
    }

    /// The slots of those that are there.
    pub(super) fn slots(&self) -> impl Iterator<Item = u32> {
        let taken = self.slots.iter().zip(0..);
        taken.filter_map(|(slot, number)| slot.allocation.as_ref().map(|_| number))
    }

    /// Adds an allocation of a client that has none; returns slot and generation.
    pub(super) fn insert(&mut self, allocation: Allocation) -> (u32, u32) {
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot::default());
            u32::try_from(self.slots.len() - 1).expect("quotas are u32, so slots are")
        });
        let entry = &mut self.slots[slot as usize];
        entry.generation = entry.generation.wrapping_add(1);
        let generation = entry.generation;
        self.clients.insert(allocation.client, slot);
        entry.allocation = Some(Box::new(allocation));
        self.schedule(slot);
        (slot, generation)
    }

    /// Takes an allocation out; returns its generation with it.
    pub(super) fn remove(&mut self, slot: u32) -> Option<(u32, Box<Allocation>)> {
        let entry = self.slots.get_mut(slot as usize)?;
        let allocation = entry.allocation.take()?;
        let generation = entry.generation;
        self.free.push(slot);
        self.forget_client(slot, allocation.client);
        Some((generation, allocation))
    }

    /// The client is not at its address any more, or has another allocation there.
    pub(super) fn forget_client(&mut self, slot: u32, client: Client) {
        if self.clients.get(&client) == Some(&slot) {
            self.clients.remove(&client);
        }
    }

    /// The client of an allocation is somewhere else now, where it has none yet.
    pub(super) fn rebind(&mut self, slot: u32, client: Client) {
        let Some(allocation) = self.get_mut(slot) else {
            return;
        };
        let old = std::mem::replace(&mut allocation.client, client);
        self.forget_client(slot, old);
        self.clients.insert(client, slot);
    }

    pub(super) fn generation(&self, slot: u32) -> u32 {
        self.slots[slot as usize].generation
    }

    /// Sets the timer of a slot to its next expiry, unless it rings before that anyway.
    ///
    /// A timer that rings too early finds nothing expired and is set again, so an allocation
    /// that is only ever refreshed has one entry in the heap.
    pub(super) fn schedule(&mut self, slot: u32) {
        let generation = self.generation(slot);
        let Some(allocation) = self.get_mut(slot) else {
            return;
        };
        let due = allocation.next_expiry();
        if due < allocation.timer {
            allocation.timer = due;
            self.timers.push(Reverse((due, slot, generation)));
            self.compact();
        }
    }

    /// Allocations that end early leave their timers behind; a client that makes and ends them
    /// in a loop must not fill memory with those.
    fn compact(&mut self) {
        if self.timers.len() <= TIMERS_SLACK + 4 * self.len() {
            return;
        }
        let slots = &self.slots;
        self.timers.retain(|&Reverse((due, slot, generation))| {
            let entry = &slots[slot as usize];
            entry.generation == generation && entry.allocation.as_ref().is_some_and(|a| a.timer == due)
        });
    }

    #[cfg(test)]
    pub(super) fn timers(&self) -> usize {
        self.timers.len()
    }

    pub(super) fn next_due(&self) -> Option<Duration> {
        self.timers.peek().map(|Reverse((due, ..))| *due)
    }

    /// The next slot whose timer has rung by `now`; its timer is off then.
    pub(super) fn pop_due(&mut self, now: Duration) -> Option<u32> {
        loop {
            let &Reverse((due, slot, generation)) = self.timers.peek()?;
            if due > now {
                return None;
            }
            self.timers.pop();
            let current = self.generation(slot) == generation;
            let Some(allocation) = self.get_mut(slot).filter(|_| current) else {
                continue;
            };
            if allocation.timer == due {
                allocation.timer = Duration::MAX;
                return Some(slot);
            }
        }
    }
}
