//! How a handler says no.

use std::error::Error;
use std::sync::Arc;

use axum::response::{IntoResponse, Response};
use http::header::WWW_AUTHENTICATE;
use http::{HeaderValue, StatusCode};
use medmesh_api_types::problem::FieldProblem;
use medmesh_base::ProblemCode;

/// A refusal or a failure on its way out. What it says to the caller and what it
/// says to the log are separate; neither holds health data.
///
/// It becomes a problem document in [`super::observe`], which knows the request's id.
#[derive(Clone, Debug)]
pub struct ApiError {
    /// Decides the status.
    pub code: ProblemCode,
    /// What a person reads; the code's title when absent.
    pub message: Option<String>,
    /// Which fields broke a rule.
    pub fields: Vec<FieldProblem>,
    /// When to try again.
    pub retry_after_seconds: Option<u64>,
    /// For the log.
    pub cause: Option<Arc<dyn Error + Send + Sync>>,
}

impl ApiError {
    /// A refusal that the code says all about.
    #[must_use]
    pub fn new(code: ProblemCode) -> Self {
        Self {
            code,
            message: None,
            fields: Vec::new(),
            retry_after_seconds: None,
            cause: None,
        }
    }

    /// The request breaks a rule that `message` names, without repeating the value.
    #[must_use]
    pub fn invalid(message: impl Into<String>) -> Self {
        Self::new(ProblemCode::InvalidRequest).saying(message)
    }

    /// A field breaks a rule.
    #[must_use]
    pub fn field(field: &str, message: impl Into<String>) -> Self {
        let mut error = Self::new(ProblemCode::InvalidRequest);
        error.fields.push(FieldProblem {
            field: field.to_owned(),
            message: message.into(),
        });
        error
    }

    /// Whether it says that something here failed, so that nothing was learned of who asked. A provider
    /// that is away is somebody else's.
    #[must_use]
    pub fn is_ours(&self) -> bool {
        self.code.status() >= 500 && self.code != ProblemCode::ProviderUnavailable
    }

    /// With a sentence for people.
    #[must_use]
    pub fn saying(mut self, message: impl Into<String>) -> Self {
        self.message = Some(message.into());
        self
    }

    /// With a time to try again.
    #[must_use]
    pub fn retry_after(mut self, seconds: u64) -> Self {
        self.retry_after_seconds = Some(seconds);
        self
    }

    /// With what the log should hold.
    #[must_use]
    pub fn because(mut self, cause: impl Error + Send + Sync + 'static) -> Self {
        self.cause = Some(Arc::new(cause));
        self
    }
}

impl From<ProblemCode> for ApiError {
    fn from(code: ProblemCode) -> Self {
        Self::new(code)
    }
}

impl From<garde::Report> for ApiError {
    fn from(report: garde::Report) -> Self {
        let mut error = Self::new(ProblemCode::InvalidRequest);
        error.fields = report
            .iter()
            .map(|(path, fault)| FieldProblem {
                field: path.to_string(),
                message: fault.to_string(),
            })
            .collect();
        error
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let status = StatusCode::from_u16(self.code.status()).expect("problem codes carry valid statuses");
        let mut response = status.into_response();
        if self.code == ProblemCode::Unauthenticated {
            // RFC 9110 section 11.6.1, RFC 6750 section 3: machines show a token.
            let scheme = HeaderValue::from_static("Bearer realm=\"medmesh\"");
            response.headers_mut().insert(WWW_AUTHENTICATE, scheme);
        }
        response.extensions_mut().insert(self);
        response
    }
}

/// The code for a status that a library answered with by itself.
#[must_use]
pub(super) fn code_for(status: StatusCode) -> ProblemCode {
    match status {
        StatusCode::UNAUTHORIZED => ProblemCode::Unauthenticated,
        StatusCode::FORBIDDEN => ProblemCode::Forbidden,
        StatusCode::NOT_FOUND => ProblemCode::NotFound,
        StatusCode::METHOD_NOT_ALLOWED => ProblemCode::MethodNotAllowed,
        StatusCode::NOT_ACCEPTABLE => ProblemCode::NotAcceptable,
        StatusCode::PRECONDITION_FAILED => ProblemCode::VersionMismatch,
        StatusCode::PAYLOAD_TOO_LARGE => ProblemCode::BodyTooLarge,
        StatusCode::UNSUPPORTED_MEDIA_TYPE => ProblemCode::UnsupportedMediaType,
        StatusCode::TOO_MANY_REQUESTS => ProblemCode::RateLimited,
        StatusCode::SERVICE_UNAVAILABLE | StatusCode::GATEWAY_TIMEOUT => ProblemCode::Unavailable,
        status if status.is_client_error() => ProblemCode::InvalidRequest,
        _ => ProblemCode::Internal,
    }
}

/// When to try again where too much waits, seconds: some of it is done or forgotten by then.
const CROWDED_SECONDS: u64 = 600;

impl From<medmesh_store::StoreError> for ApiError {
    fn from(error: medmesh_store::StoreError) -> Self {
        use medmesh_store::StoreError;
        let problem = Self::new(error.problem());
        match &error {
            // These say by themselves what is wrong, without a value.
            StoreError::Invalid(_) | StoreError::Refused(_) | StoreError::CursorInvalid => {
                let text = error.to_string();
                problem.saying(sentence(&text))
            }
            StoreError::EmailTaken => problem.saying("That address is in use."),
            StoreError::RotationUnderWay => problem.saying("That key is being rotated already."),
            StoreError::PasskeyKnown => problem.saying("That passkey is set up already."),
            StoreError::Crowded => problem.retry_after(CROWDED_SECONDS),
            StoreError::Contention(_) | StoreError::Unavailable(_) => problem.retry_after(1).because(error),
            StoreError::Internal(_) => problem.because(error),
            // Which of its reasons it was is in the audit log.
            StoreError::NotFound
            | StoreError::Denied(_)
            | StoreError::VersionMismatch { .. }
            | StoreError::SlotTaken
            | StoreError::IdempotencyKeyReused
            | StoreError::RequestInFlight => problem,
        }
    }
}

impl From<medmesh_clinic::Invalid> for ApiError {
    fn from(error: medmesh_clinic::Invalid) -> Self {
        medmesh_store::StoreError::from(error).into()
    }
}

impl From<medmesh_clinic::Refusal> for ApiError {
    fn from(error: medmesh_clinic::Refusal) -> Self {
        medmesh_store::StoreError::from(error).into()
    }
}

/// A fragment as a sentence.
fn sentence(text: &str) -> String {
    let mut chars = text.chars();
    let first = chars
        .next()
        .map(|c| c.to_uppercase().to_string())
        .unwrap_or_default();
    format!("{first}{}.", chars.as_str())
}
