//! How the API says no (RFC 9457).

use medmesh_base::{ProblemCode, RequestId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa::openapi::schema::{ObjectBuilder, Schema, Type};

/// Content type of every error answer.
pub const PROBLEM_JSON: &str = "application/problem+json";

/// An error answer. Says nothing of the request's content but which field was wrong and how.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Problem {
    /// `urn:medmesh:problem:<code>`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The same short sentence for every problem of this code.
    pub title: String,
    /// The HTTP status.
    pub status: u16,
    /// What a program acts on.
    #[schema(schema_with = problem_code)]
    pub code: ProblemCode,
    /// What a person reads; more exact than `title` where that helps.
    pub message: String,
    /// What else there is to say.
    pub details: ProblemDetails,
    /// Also in `x-request-id`, and in every log line about this request.
    #[schema(value_type = uuid::Uuid)]
    pub request_id: RequestId,
}

/// Particulars of a problem; empty for most.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ProblemDetails {
    /// The fields that broke a rule.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    pub fields: Vec<FieldProblem>,
    /// When to try again; also in `Retry-After`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_seconds: Option<u64>,
}

/// One field that broke a rule.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FieldProblem {
    /// Path of the field in the request, e.g. `probes[2].rtt_ms`.
    pub field: String,
    /// The rule, never the value.
    pub message: String,
}

impl Problem {
    /// A problem of this code about this request.
    #[must_use]
    pub fn new(code: ProblemCode, request_id: RequestId) -> Self {
        Self {
            kind: format!("urn:medmesh:problem:{}", code.code()),
            title: code.title().to_owned(),
            status: code.status(),
            code,
            message: code.title().to_owned(),
            details: ProblemDetails::default(),
            request_id,
        }
    }
}

fn problem_code() -> Schema {
    ObjectBuilder::new()
        .schema_type(Type::String)
        .enum_values(Some(ProblemCode::ALL.iter().map(|code| code.code())))
        .description(Some("What a program acts on."))
        .build()
        .into()
}
