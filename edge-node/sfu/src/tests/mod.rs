//! Whole shards under virtual time: browsers are str0m instances, the network is
//! a seeded queue in memory.

mod client;
mod world;

mod border;
mod forwarding;
mod layers;
mod mesh;
mod moving;
mod pure;
mod sdp;
