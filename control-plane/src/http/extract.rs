//! From a request to typed values; each refusal is an [`ApiError`].

use std::str::FromStr;

use axum::body::Bytes;
use axum::extract::rejection::BytesRejection;
use axum::extract::{FromRequest, FromRequestParts, Path, Request};
use garde::Validate;
use http::header::{CONTENT_ENCODING, CONTENT_TYPE, IF_MATCH};
use http::request::Parts;
use http::{HeaderMap, StatusCode};
use medmesh_api_types::session::IDEMPOTENCY_HEADER;
use medmesh_base::ProblemCode;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::error::ApiError;
use super::form::misread;
use super::negotiate::{JSON, MEDMESH_JSON};

/// Deepest nesting of a body: our deepest request has three levels.
pub(super) const NESTING_MAX: usize = 16;
/// What is said of a value that is another kind of thing than the description has there.
const MISFIT: &str = "is not of the expected form";
/// Lengths of an idempotency key: 8 keeps accidents apart, 64 takes any UUID form.
const IDEMPOTENCY_KEY_LENGTH: std::ops::RangeInclusive<usize> = 8..=64;

/// A JSON body that parses and keeps the rules of its type, and the bytes it came in.
pub(crate) struct Body<T> {
    pub(crate) value: T,
    pub(crate) bytes: Bytes,
}

impl<S, T> FromRequest<S> for Body<T>
where
    S: Send + Sync,
    T: DeserializeOwned + Serialize + Validate<Context = ()>,
{
    type Rejection = ApiError;

    async fn from_request(request: Request, state: &S) -> Result<Self, ApiError> {
        if !is_json(request.headers()) || is_packed(request.headers()) {
            return Err(ProblemCode::UnsupportedMediaType.into());
        }
        let bytes = Bytes::from_request(request, state).await.map_err(unreadable)?;
        let value: T = parse(&bytes)?;
        value.validate()?;
        Ok(Self { value, bytes })
    }
}

fn is_json(headers: &HeaderMap) -> bool {
    let Some(Ok(kind)) = headers.get(CONTENT_TYPE).map(|value| value.to_str()) else {
        return false;
    };
    let essence = kind.split(';').next().unwrap_or_default().trim();
    [JSON, MEDMESH_JSON]
        .iter()
        .any(|known| essence.eq_ignore_ascii_case(known))
}

/// Compressed bodies are not taken: what they unpack to has no bound (RFC 9110 section 8.4).
fn is_packed(headers: &HeaderMap) -> bool {
    let mut encodings = headers.get_all(CONTENT_ENCODING).iter();
    encodings.any(|encoding| !encoding.as_bytes().eq_ignore_ascii_case(b"identity"))
}

fn unreadable(rejection: BytesRejection) -> ApiError {
    use axum::response::IntoResponse as _;
    match rejection.into_response().status() {
        StatusCode::PAYLOAD_TOO_LARGE => ProblemCode::BodyTooLarge.into(),
        _ => ApiError::invalid("The body did not arrive whole."),
    }
}

pub(super) fn parse<T: DeserializeOwned + Serialize>(bytes: &[u8]) -> Result<T, ApiError> {
    if nesting(bytes) > NESTING_MAX {
        return Err(ApiError::invalid(format!(
            "The body nests deeper than {NESTING_MAX} levels."
        )));
    }
    let mut json = serde_json::Deserializer::from_slice(bytes);
    let value = serde_path_to_error::deserialize(&mut json).map_err(|error| {
        let field = error.path().to_string();
        misfit(&field, error.inner())
    })?;
    json.end().map_err(|error| misfit(".", &error))?;
    let sent = serde_json::from_slice(bytes).map_err(|error| misfit(".", &error))?;
    let understood = serde_json::to_value(&value).map_err(|error| misfit(".", &error))?;
    match misread(&sent, &understood) {
        None => Ok(value),
        Some(place) if place.is_empty() => Err(ApiError::field("body", MISFIT)),
        Some(place) => Err(ApiError::field(&place, MISFIT)),
    }
}

/// Says where and what kind, and never repeats what was sent, which may be health data:
/// neither a value nor the name of a field we do not know.
fn misfit(field: &str, error: &serde_json::Error) -> ApiError {
    let text = error.to_string();
    let (field, why) = match error.classify() {
        serde_json::error::Category::Data if text.starts_with("missing field") => (
            field,
            text.split(" at line").next().unwrap_or_default().to_owned(),
        ),
        serde_json::error::Category::Data if text.starts_with("unknown field") => {
            let parent = field.rsplit_once('.').map_or("", |(parent, _)| parent);
            (parent, "has an unknown field".to_owned())
        }
        serde_json::error::Category::Data => (field, MISFIT.to_owned()),
        _ => (
            "",
            format!("is not JSON at line {} column {}", error.line(), error.column()),
        ),
    };
    ApiError::field(
        if field.is_empty() || field == "." {
            "body"
        } else {
            field
        },
        why,
    )
}

/// How deep the brackets go, strings left out; exact for valid JSON, never less for other bytes.
pub(super) fn nesting(bytes: &[u8]) -> usize {
    let (mut depth, mut deepest, mut in_string, mut escaped) = (0_usize, 0, false, false);
    for byte in bytes {
        match (in_string, byte) {
            (true, _) if escaped => escaped = false,
            (true, b'\\') => escaped = true,
            (_, b'"') => in_string = !in_string,
            (false, b'{' | b'[') => {
                depth += 1;
                deepest = deepest.max(depth);
            }
            (false, b'}' | b']') => depth = depth.saturating_sub(1),
            _ => {}
        }
    }
    deepest
}

/// A query string that parses.
pub(super) struct Query<T>(pub(super) T);

impl<S: Send + Sync, T: DeserializeOwned> FromRequestParts<S> for Query<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        axum::extract::Query::try_from_uri(&parts.uri)
            .map(|axum::extract::Query(query)| Self(query))
            .map_err(|_| ApiError::invalid("The query does not parse."))
    }
}

/// The `{id}` of a path. What is not an id names nothing.
pub(super) struct Id<T>(pub(super) T);

impl<S: Send + Sync, T: FromStr> FromRequestParts<S> for Id<T> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let Path(text) = Path::<String>::from_request_parts(parts, state)
            .await
            .map_err(|_| ApiError::new(ProblemCode::NotFound))?;
        text.parse().map(Self).map_err(|_| ProblemCode::NotFound.into())
    }
}

/// Both ids of a path that has two. What is not an id names nothing.
pub(super) struct Ids<A, B>(pub(super) A, pub(super) B);

impl<S: Send + Sync, A: FromStr, B: FromStr> FromRequestParts<S> for Ids<A, B> {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, ApiError> {
        let Path((a, b)) = Path::<(String, String)>::from_request_parts(parts, state)
            .await
            .map_err(|_| ApiError::new(ProblemCode::NotFound))?;
        match (a.parse(), b.parse()) {
            (Ok(a), Ok(b)) => Ok(Self(a, b)),
            _ => Err(ProblemCode::NotFound.into()),
        }
    }
}

/// The `Idempotency-Key` of a creating request.
pub(crate) struct IdempotencyKey(pub(crate) String);

impl<S: Send + Sync> FromRequestParts<S> for IdempotencyKey {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let Some(value) = parts.headers.get(IDEMPOTENCY_HEADER) else {
            return Err(ProblemCode::IdempotencyKeyMissing.into());
        };
        let key = value.to_str().unwrap_or_default();
        let plain = key.bytes().all(|b| b.is_ascii_graphic());
        if plain && IDEMPOTENCY_KEY_LENGTH.contains(&key.len()) {
            Ok(Self(key.to_owned()))
        } else {
            Err(ApiError::invalid(
                "An Idempotency-Key has 8 to 64 visible ASCII characters.",
            ))
        }
    }
}

/// The version an update was made against, from `If-Match: "7"` (RFC 9110 section 13.1.1).
pub(super) struct IfMatch(pub(super) i64);

impl<S: Send + Sync> FromRequestParts<S> for IfMatch {
    type Rejection = ApiError;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, ApiError> {
        let Some(value) = parts.headers.get(IF_MATCH) else {
            return Err(ProblemCode::PreconditionRequired.into());
        };
        let version = value
            .to_str()
            .ok()
            .and_then(|text| text.strip_prefix('"')?.strip_suffix('"')?.parse().ok());
        version
            .map(Self)
            .ok_or_else(|| ApiError::invalid("If-Match takes the ETag of the last answer."))
    }
}

#[cfg(test)]
mod tests {
    use super::{nesting, parse};

    #[test]
    fn nesting_counts_brackets_outside_strings() {
        assert_eq!(nesting(br#"{"a":["[[[",{"b\"{":1}]}"#), 3);
        assert_eq!(nesting(&[b'['; 100]), 100);
        assert_eq!(nesting(b"]]]"), 0);
    }

    #[test]
    fn a_misfit_names_the_place_and_never_the_value() {
        #[derive(Debug, serde::Serialize, serde::Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Inner {
            n: u8,
        }
        #[derive(Debug, serde::Serialize, serde::Deserialize)]
        #[serde(tag = "kind", rename_all = "snake_case")]
        enum Outer {
            One { inner: Inner, word: Word },
        }
        #[derive(Debug, serde::Serialize, serde::Deserialize)]
        #[serde(rename_all = "snake_case")]
        enum Word {
            Said,
        }
        for (body, field) in [
            (r#"{"n":"CANARY"}"#, "n"),
            (r#"{"n":1,"CANARY":2}"#, "body"),
            (r#"{"n":1} CANARY"#, "body"),
            (" [1]", "body"),
            (r#"{"n""#, "body"),
        ] {
            let error = parse::<Inner>(body.as_bytes()).unwrap_err();
            let fault = &error.fields[0];
            assert_eq!(fault.field, field, "{fault:?}");
            assert!(!fault.message.contains("CANARY"), "{fault:?}");
        }
        // What is kept back until its kind is known takes lists and objects as gladly.
        parse::<Outer>(br#"{"kind":"one","inner":{"n":1},"word":"said"}"#).unwrap();
        for (body, field) in [
            (r#"{"kind":"one","inner":[1],"word":"said"}"#, "inner"),
            (r#"{"kind":"one","inner":{"n":1},"word":{"said":null}}"#, "word"),
        ] {
            let error = parse::<Outer>(body.as_bytes()).unwrap_err();
            assert_eq!(error.code, medmesh_base::ProblemCode::InvalidRequest);
            assert_eq!(error.fields[0].field, field, "{body}");
        }
    }
}
