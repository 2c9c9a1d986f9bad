//! Keys, secret epochs, join tokens, revocations, checkpoints.

use medmesh_base::ControlId;

use super::{Outcome, check_name, overdue};
use crate::codec;
use crate::command::TokenHash;
use crate::event::Event;
use crate::limits::{
    CHECKPOINT_BYTES_MAX, CHECKPOINTS_MAX, JOIN_TOKEN_LIFE_MS_MAX, JOIN_TOKENS_MAX, JWK_BYTES_MAX,
    REVOCATION_LIFE_MS_MAX, REVOCATIONS_MAX, TOKEN_KEYS_MAX,
};
use crate::response::{Limit, Refused, Response};
use crate::state::{Checkpoint, JoinToken, State, TokenKey, TurnEpochs};

impl State {
    pub(super) fn token_key_put(
        &mut self,
        kid: &str,
        jwk: &str,
        owner: ControlId,
        now: u64,
        events: &mut Vec<Event>,
    ) -> Outcome {
        check_name("kid", kid)?;
        if !(1..=JWK_BYTES_MAX).contains(&jwk.len()) {
            return Err(Refused::Invalid("jwk".to_owned()));
        }
        match self.token_keys.get(kid) {
            Some(held) if held.jwk == jwk && held.owner == owner => return Ok(Response::Done),
            Some(_) => return Err(Refused::KeyTaken),
            None if self.token_keys.len() >= TOKEN_KEYS_MAX => {
                return Err(Refused::LimitReached(Limit::TokenKeys));
            }
            None => {}
        }
        let added_at = self.tick(now);
        let epoch = self.token_keys.values().map(|key| key.epoch).max().unwrap_or(0) + 1;
        let key = TokenKey {
            jwk: jwk.to_owned(),
            owner,
            epoch,
            added_at,
            retires_at: None,
        };
        self.token_keys.insert(kid.to_owned(), key);
        events.push(Event::TokenKeysChanged);
        Ok(Response::Done)
    }

    pub(super) fn token_key_retire(
        &mut self,
        kid: &str,
        retires_at: u64,
        now: u64,
        events: &mut Vec<Event>,
    ) -> Outcome {
        let key = self.token_keys.get_mut(kid).ok_or(Refused::UnknownTokenKey)?;
        key.retires_at = Some(retires_at);
        self.tick(now);
        events.push(Event::TokenKeysChanged);
        Ok(Response::Done)
    }

    pub(super) fn turn_rotate(&mut self, expected: u64, now: u64, events: &mut Vec<Event>) -> Outcome {
        let current = self.turn.current;
        if current != expected {
            return Err(Refused::StaleEpoch { current });
        }
        let previous = (current > 0).then_some(current);
        let rotated_at = self.tick(now);
        self.turn = TurnEpochs {
            current: current + 1,
            previous,
            rotated_at,
        };
        events.push(Event::TurnEpochsChanged);
        Ok(Response::Epoch(current + 1))
    }

    pub(super) fn turn_retire(&mut self, previous: u64, now: u64, events: &mut Vec<Event>) -> Outcome {
        self.tick(now);
        if self.turn.previous == Some(previous) {
            self.turn.previous = None;
            events.push(Event::TurnEpochsChanged);
        }
        Ok(Response::Done)
    }

    pub(super) fn join_token_add(
        &mut self,
        token: &TokenHash,
        expires_at: u64,
        now: u64,
        events: &mut Vec<Event>,
    ) -> Outcome {
        let key = codec::hex(token);
        if self.join_tokens.contains_key(&key) {
            return Ok(Response::Done);
        }
        if self.join_tokens.len() >= JOIN_TOKENS_MAX {
            return Err(Refused::LimitReached(Limit::JoinTokens));
        }
        let clock = self.now.max(now);
        if expires_at <= clock || expires_at > clock.saturating_add(JOIN_TOKEN_LIFE_MS_MAX) {
            return Err(Refused::Invalid("expires_at".to_owned()));
        }
        self.tick(now);
        self.join_tokens.insert(
            key,
            JoinToken {
                expires_at,
                used_by: None,
                made_at: Some(now),
            },
        );
        events.push(Event::JoinTokensChanged);
        Ok(Response::Done)
    }

    pub(super) fn checkpoint_put(
        &mut self,
        name: &str,
        bytes: &[u8],
        now: u64,
        events: &mut Vec<Event>,
    ) -> Outcome {
        check_name("checkpoint name", name)?;
        if bytes.len() > CHECKPOINT_BYTES_MAX {
            return Err(Refused::Invalid("checkpoint".to_owned()));
        }
        if !self.checkpoints.contains_key(name) && self.checkpoints.len() >= CHECKPOINTS_MAX {
            return Err(Refused::LimitReached(Limit::Checkpoints));
        }
        let updated_at = self.tick(now);
        self.checkpoints.insert(
            name.to_owned(),
            Checkpoint {
                bytes: bytes.to_vec(),
                updated_at,
            },
        );
        events.push(Event::CheckpointChanged(name.to_owned()));
        Ok(Response::Done)
    }

    pub(super) fn token_revoke(
        &mut self,
        jti: &str,
        until: u64,
        now: u64,
        events: &mut Vec<Event>,
    ) -> Outcome {
        check_name("jti", jti)?;
        if until > self.now.max(now).saturating_add(REVOCATION_LIFE_MS_MAX) {
            return Err(Refused::Invalid("until".to_owned()));
        }
        if !self.revocations.contains_key(jti) && self.revocations.len() >= REVOCATIONS_MAX {
            return Err(Refused::LimitReached(Limit::Revocations));
        }
        self.tick(now);
        let held = self.revocations.entry(jti.to_owned()).or_insert(0);
        if until > *held {
            *held = until;
            events.push(Event::RevocationsChanged);
        }
        Ok(Response::Done)
    }

    pub(super) fn trust_expire(&mut self, now: u64, budget: &mut usize, events: &mut Vec<Event>) {
        let tokens = overdue(&self.join_tokens, budget, |token| token.remembered_until() <= now);
        let keys = overdue(&self.token_keys, budget, |key| {
            key.retires_at.is_some_and(|retires| retires <= now)
        });
        let revocations = overdue(&self.revocations, budget, |until| *until <= now);
        let gone = [
            (tokens.is_empty(), Event::JoinTokensChanged),
            (keys.is_empty(), Event::TokenKeysChanged),
            (revocations.is_empty(), Event::RevocationsChanged),
        ];
        events.extend(gone.into_iter().filter(|(none, _)| !none).map(|(_, event)| event));
        for token in tokens {
            self.join_tokens.remove(&token);
        }
        for key in keys {
            self.token_keys.remove(&key);
        }
        for jti in revocations {
            self.revocations.remove(&jti);
        }
        for edge in overdue(&self.removed, budget, |until| *until <= now) {
            self.removed.remove(&edge);
            events.push(Event::EdgeRemoved(edge));
        }
    }
}
