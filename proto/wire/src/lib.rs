//! Protobuf messages and gRPC services, generated from `proto/*.proto`.
//!
//! The generated code is committed so that no build needs protoc; the test
//! `generated_code_matches_the_protos` regenerates and compares.
//! `UPDATE_WIRE=1 cargo test -p medmesh-wire` writes it anew.

macro_rules! generated {
    ($(#[$doc:meta])* $module:ident, $file:literal) => {
        $(#[$doc])*
        #[allow(
            missing_docs, unreachable_pub, unused_qualifications, clippy::all, clippy::pedantic,
            clippy::allow_attributes_without_reason,
            reason = "generated; the .proto files carry the documentation"
        )]
        pub mod $module {
            include!(concat!("generated/", $file));
        }
    };
}

generated!(
    /// Edge ↔ control plane.
    fleet,
    "medmesh.fleet.v1.rs"
);
generated!(
    /// Control node ↔ control node.
    consensus,
    "medmesh.consensus.v1.rs"
);
generated!(
    /// Edge ↔ edge.
    mesh,
    "medmesh.mesh.v1.rs"
);
