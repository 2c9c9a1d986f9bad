//! Edges and control nodes.

use std::sync::Arc;

use medmesh_base::{ControlId, EdgeId};

use super::{Outcome, check_name, check_url};
use crate::codec;
use crate::command::{ControlDescriptor, EdgeDescriptor, TokenHash};
use crate::event::Event;
use crate::limits::{CONTROL_NODES_MAX, EDGE_REMOVED_LIFE_MS, EDGES_MAX, EDGES_REMOVED_MAX, TURN_URLS_MAX};
use crate::response::{Limit, Refused, Response};
use crate::state::{ControlNode, Edge, EdgeStatus, State};

impl State {
    pub(super) fn edge_upsert(
        &mut self,
        edge: EdgeId,
        descriptor: &EdgeDescriptor,
        now: u64,
        events: &mut Vec<Event>,
    ) -> Outcome {
        self.edge_check(edge, descriptor)?;
        let now = self.tick(now);
        self.edge_write(edge, descriptor, now, events);
        Ok(Response::Done)
    }

    pub(super) fn edge_enrol(
        &mut self,
        token: &TokenHash,
        edge: EdgeId,
        descriptor: &EdgeDescriptor,
        now: u64,
        events: &mut Vec<Event>,
    ) -> Outcome {
        let key = codec::hex(token);
        let held = self.join_tokens.get(&key).ok_or(Refused::TokenUnknown)?;
        match held.used_by {
            // The same enrolment, proposed again after an unclear outcome.
            Some(user) if user == edge => return Ok(Response::Done),
            Some(_) => return Err(Refused::TokenUsed),
            None => {}
        }
        if held.expires_at <= now.max(self.now) {
            return Err(Refused::TokenExpired);
        }
        self.edge_check(edge, descriptor)?;
        let now = self.tick(now);
        if let Some(held) = self.join_tokens.get_mut(&key) {
            held.used_by = Some(edge);
        }
        events.push(Event::JoinTokensChanged);
        self.edge_write(edge, descriptor, now, events);
        Ok(Response::Done)
    }

    fn edge_check(&self, edge: EdgeId, descriptor: &EdgeDescriptor) -> Result<(), Refused> {
        check_name("edge name", &descriptor.name)?;
        check_url("signalling_url", &descriptor.signalling_url)?;
        check_url("link_address", &descriptor.link_address)?;
        if descriptor.turn_urls.len() > TURN_URLS_MAX {
            return Err(Refused::Invalid("turn_urls".to_owned()));
        }
        descriptor
            .turn_urls
            .iter()
            .try_for_each(|url| check_url("turn_urls", url))?;
        if self
            .edge_by_name(&descriptor.name)
            .is_some_and(|(holder, _)| holder != edge)
        {
            return Err(Refused::NameTaken);
        }
        match self.edges.get(&edge) {
            Some(known) if known.descriptor.region != descriptor.region => Err(Refused::RegionChanged),
            None if self.edges.len() >= EDGES_MAX => Err(Refused::LimitReached(Limit::Edges)),
            _ => Ok(()),
        }
    }

    fn edge_write(&mut self, edge: EdgeId, descriptor: &EdgeDescriptor, now: u64, events: &mut Vec<Event>) {
        match self.edges.get_mut(&edge) {
            Some(known) if known.descriptor == *descriptor => return,
            Some(known) => {
                let known = Arc::make_mut(known);
                known.descriptor = descriptor.clone();
                known.updated_at = now;
            }
            None => {
                let fresh = Edge {
                    descriptor: descriptor.clone(),
                    status: EdgeStatus::Up,
                    cordoned: false,
                    draining: false,
                    created_at: now,
                    updated_at: now,
                };
                self.edges.insert(edge, Arc::new(fresh));
            }
        }
        events.push(Event::EdgeChanged(edge));
    }

    pub(super) fn edge_change(
        &mut self,
        edge: EdgeId,
        now: u64,
        events: &mut Vec<Event>,
        change: impl FnOnce(&mut Edge),
    ) -> Outcome {
        let known = self.edges.get(&edge).ok_or(Refused::UnknownEdge(edge))?;
        let mut changed = Edge::clone(known);
        change(&mut changed);
        let same = changed == **known;
        let now = self.tick(now);
        if !same {
            changed.updated_at = now;
            self.edges.insert(edge, Arc::new(changed));
            events.push(Event::EdgeChanged(edge));
        }
        Ok(Response::Done)
    }

    pub(super) fn edge_remove(&mut self, edge: EdgeId, now: u64, events: &mut Vec<Event>) -> Outcome {
        let in_use = self
            .rooms
            .values()
            .flat_map(|room| room.placements.values())
            .any(|placement| placement.edge == edge || placement.fallbacks.contains(&edge));
        if in_use {
            return Err(Refused::EdgeInUse(edge));
        }
        let now = self.tick(now);
        if self.edges.remove(&edge).is_some() {
            if self.removed.len() >= EDGES_REMOVED_MAX
                && let Some((first, _)) = self.removed.iter().min_by_key(|(_, until)| **until)
            {
                let first = *first;
                self.removed.remove(&first);
            }
            self.removed
                .insert(edge, now.saturating_add(EDGE_REMOVED_LIFE_MS));
            events.push(Event::EdgeRemoved(edge));
        }
        Ok(Response::Done)
    }

    pub(super) fn control_upsert(
        &mut self,
        node: ControlId,
        descriptor: &ControlDescriptor,
        now: u64,
        events: &mut Vec<Event>,
    ) -> Outcome {
        check_url("link_address", &descriptor.link_address)?;
        check_url("http_url", &descriptor.http_url)?;
        if descriptor.ledger_version == 0 {
            return Err(Refused::Invalid("ledger_version".to_owned()));
        }
        let known = self.controls.get(&node);
        if known.is_none() && self.controls.len() >= CONTROL_NODES_MAX {
            return Err(Refused::LimitReached(Limit::ControlNodes));
        }
        let same = known.is_some_and(|known| known.descriptor == *descriptor);
        let updated_at = self.tick(now);
        if !same {
            self.controls.insert(
                node,
                ControlNode {
                    descriptor: descriptor.clone(),
                    updated_at,
                },
            );
            events.push(Event::ControlChanged(node));
        }
        Ok(Response::Done)
    }

    pub(super) fn control_remove(&mut self, node: ControlId, now: u64, events: &mut Vec<Event>) -> Outcome {
        self.tick(now);
        if self.controls.remove(&node).is_some() {
            events.push(Event::ControlChanged(node));
        }
        Ok(Response::Done)
    }
}
