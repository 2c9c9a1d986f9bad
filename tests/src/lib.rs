//! Harness and builders for integration, browser and host tests

pub mod control;
pub mod edge;
pub mod fhir;
pub mod kms;
pub mod oidc;
pub mod outside;
pub mod participant;
pub mod passkey;
pub mod postgres;
mod prepared;
pub mod redis;
pub mod relayed;
pub mod s3;
pub mod smtp;
pub mod turn;
