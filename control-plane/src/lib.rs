//! The control plane: REST, portals, fleet state, placement.
//!
//! [`config::Config`] → [`app::App::build`] → [`app::App::spawn`] → [`app::Running::stop`].
//! Clinical rules are in `clinic`, SQL in `store`, keys in `vault`, agreement in
//! `consensus`; here they meet the network. It never holds a rule of its own, and
//! nothing it logs, counts or signs names a person.

pub mod app;
pub mod audit;
pub mod command;
pub mod config;
pub mod database;
mod desk;
pub mod ephemeral;
pub mod erasures;
pub mod fleet;
#[cfg(any(test, fuzzing))]
pub mod fuzz;
pub mod http;
pub mod jobs;
pub mod keys;
pub mod live;
pub mod mail;
pub mod media;
mod oauth;
pub mod objects;
mod oidc;
pub mod outbox;
mod presence;
pub mod record_export;
pub mod relays;
pub mod setup;
