//! How much the ledger holds. The state lives in the memory of every control
//! node and travels whole in a snapshot, so nothing in it may grow for ever.

/// Edges in the fleet: ten times the largest plan (100 places).
pub const EDGES_MAX: usize = 1_024;
/// Removed edges remembered; beyond this the one removed first is forgotten.
pub const EDGES_REMOVED_MAX: usize = EDGES_MAX;
/// How long a removed edge is remembered, milliseconds: longer than any certificate lives.
pub const EDGE_REMOVED_LIFE_MS: u64 = 8 * 24 * 3_600_000;
/// Rooms with placements at one time: 100,000 participants in pairs, and room for waiting ones.
pub const ROOMS_MAX: usize = 65_536;
/// Participants of one room: a visit is 6 people; rejoining devices and interpreters fit too.
pub const ROOM_PARTICIPANTS_MAX: usize = 16;
/// Fall-back edges of one participant; a client gives up trying long before.
pub const FALLBACKS_MAX: usize = 4;
/// Regions a room may be confined to.
pub const RESIDENCY_REGIONS_MAX: usize = 16;
/// How far ahead a room may expire, milliseconds: a visit never lasts two days.
pub const ROOM_LIFE_MS_MAX: u64 = 48 * 3_600_000;
/// Control nodes: 5 voters, learners near the edges, and some being replaced.
pub const CONTROL_NODES_MAX: usize = 32;
/// Token keys: one per control node, two while rotating.
pub const TOKEN_KEYS_MAX: usize = 128;
/// One public key as JSON, bytes: a P-256 JWK is about 250.
pub const JWK_BYTES_MAX: usize = 1_024;
/// Join tokens of a day, and those that last longer; an operator enrols a handful of edges at a time.
pub const JOIN_TOKENS_MAX: usize = 1_024;
/// Longest life of a join token, milliseconds, and for how long every one of them is remembered.
pub const JOIN_TOKEN_LIFE_MS_MAX: u64 = 24 * 3_600_000;
/// Named checkpoints (audit logs, one per clinic and kind).
pub const CHECKPOINTS_MAX: usize = 4_096;
/// One checkpoint, bytes: a signed tree head is about 300.
pub const CHECKPOINT_BYTES_MAX: usize = 4_096;
/// Audit logs: one per clinic of the largest plan. Each is about 3 kB of every snapshot.
pub const AUDIT_LOGS_MAX: usize = 16_384;
/// Earlier heads kept of each audit log: where a rewritten log left the witnessed one is
/// known to within the distance of two.
pub const AUDIT_HEADS_KEPT: usize = 16;
/// Notices of one audit log: a new key each year for decades, and a few databases put back.
pub const AUDIT_NOTICES_MAX: usize = 64;
/// Alarms about missing leaves. One is a case for the police; more say nothing new.
pub const AUDIT_ALARMS_MAX: usize = 1_024;
/// Revoked media tokens not yet expired.
pub const REVOCATIONS_MAX: usize = 65_536;
/// How far ahead a revocation may last, milliseconds: the longest resume token.
pub const REVOCATION_LIFE_MS_MAX: u64 = ROOM_LIFE_MS_MAX;
/// Names, key ids and token ids, bytes: they become labels and file names.
pub const NAME_BYTES_MAX: usize = 64;
/// One URL or address, bytes.
pub const URL_BYTES_MAX: usize = 512;
/// TURN URLs of one edge: UDP, TCP, TLS, each on two addresses, and some to spare.
pub const TURN_URLS_MAX: usize = 8;
/// Commands in one batch: an entry stays well below the log's record limit.
pub const BATCH_COMMANDS_MAX: usize = 1_024;
/// Things one `Expire` removes, so that one entry never stalls the state machine.
pub const EXPIRE_MAX: usize = 1_024;
