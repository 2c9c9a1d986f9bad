//! In what form an answer is wanted (RFC 9110 section 12.5.1), decided before anything is done,
//! and whether the answer given is one the description knows.
//!
//! What a route can answer with is read from its own description. JSON is offered under two
//! names: `application/vnd.medmesh.v1+json` says which version of the API wrote it, and whoever
//! asks for it gets that name back; `application/json` means the newest. Problem documents come
//! whatever is accepted: an error in the wrong form is better than none.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use axum::extract::{MatchedPath, Request, State};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use http::header::{ACCEPT, CONTENT_TYPE, VARY};
use http::{HeaderMap, HeaderValue, Method};
use medmesh_base::ProblemCode;
use utoipa::openapi::{OpenApi, RefOr};

use super::error::ApiError;
use super::metrics::Metrics;
use super::statuses;

/// JSON without a version: the newest.
pub(crate) const JSON: &str = "application/json";
/// JSON of this version of the API.
pub(crate) const MEDMESH_JSON: &str = "application/vnd.medmesh.v1+json";
/// Longest `Accept` that is read; browsers send 150 bytes. A longer one is one that accepts nothing.
const ACCEPT_BYTES_MAX: usize = 2048;
/// Statuses the framework answers with for every route, before or instead of its handler.
const ALWAYS: [u16; 1] = [405];

/// What one operation can answer.
#[derive(Debug, Default)]
struct Answers {
    media: Vec<String>,
    statuses: BTreeSet<u16>,
}

/// What every operation of a description can answer.
#[derive(Clone)]
pub(crate) struct Description {
    operations: Arc<HashMap<(Method, String), Answers>>,
    metrics: Metrics,
}

impl Description {
    pub(crate) fn of(mut descriptions: [OpenApi; 2], metrics: &Metrics) -> Self {
        let mut operations = HashMap::new();
        for (path, item) in descriptions.iter_mut().flat_map(|api| &mut api.paths.paths) {
            for (method, operation) in statuses::operations(item) {
                let mut answers = Answers::default();
                for (status, response) in &operation.responses.responses {
                    answers.statuses.extend(status.parse::<u16>());
                    if let RefOr::T(response) = response
                        && status.starts_with('2')
                    {
                        answers.media.extend(response.content.keys().cloned());
                    }
                }
                operations.insert((method, path.clone()), answers);
            }
        }
        Self {
            operations: Arc::new(operations),
            metrics: metrics.clone(),
        }
    }

    fn find(&self, request: &Request) -> Option<(String, &Answers)> {
        let route = request.extensions().get::<MatchedPath>()?.as_str().to_owned();
        // What GET answers, HEAD answers without the body.
        let method = match *request.method() {
            Method::HEAD => Method::GET,
            ref method => method.clone(),
        };
        let answers = self.operations.get(&(method, route.clone()))?;
        Some((route, answers))
    }
}

/// The layer of routes that are described.
pub(crate) async fn negotiate(
    State(described): State<Description>,
    request: Request,
    next: Next,
) -> Response {
    let Some((route, answers)) = described.find(&request) else {
        return next.run(request).await;
    };
    let method = request.method().clone();
    let chosen = choose(request.headers(), &answers.media);
    let mut response = match chosen {
        Chosen::None => ApiError::from(ProblemCode::NotAcceptable).into_response(),
        Chosen::Any | Chosen::MedmeshJson => next.run(request).await,
    };
    let status = response.status().as_u16();
    if !answers.statuses.contains(&status) && !ALWAYS.contains(&status) {
        tracing::error!(%method, route, status, "an answer that the description does not know");
        described
            .metrics
            .undescribed
            .with_label_values(&[route.as_str(), method.as_str(), response.status().as_str()])
            .inc();
    }
    let headers = response.headers_mut();
    if chosen == Chosen::MedmeshJson && headers.get(CONTENT_TYPE).is_some_and(is_plain_json) {
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(MEDMESH_JSON));
    }
    if !answers.media.is_empty() {
        headers.append(VARY, HeaderValue::from_static("accept"));
    }
    response
}

fn is_plain_json(value: &HeaderValue) -> bool {
    value.as_bytes().starts_with(JSON.as_bytes())
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Chosen {
    /// Whatever the handler gives will do.
    Any,
    /// JSON, under the name of its version.
    MedmeshJson,
    /// Nothing that there is.
    None,
}

pub(super) fn choose(headers: &HeaderMap, offers: &[String]) -> Chosen {
    if offers.is_empty() || !headers.contains_key(ACCEPT) {
        return Chosen::Any;
    }
    let mut ranges = Vec::new();
    for value in headers.get_all(ACCEPT) {
        let Some(text) = value.to_str().ok().filter(|text| text.len() <= ACCEPT_BYTES_MAX) else {
            return Chosen::None;
        };
        ranges.extend(text.split(',').filter_map(range));
    }
    let quality = |offer: &str| quality(&ranges, offer);
    let best = offers.iter().map(|offer| quality(offer)).fold(0.0_f32, f32::max);
    if best <= 0.0 {
        return Chosen::None;
    }
    let versioned = offers.iter().any(|offer| offer == MEDMESH_JSON) && quality(MEDMESH_JSON) >= best;
    // `*/*` likes both names alike and gets the plain one.
    if versioned && (quality(JSON) < best || names(&ranges, MEDMESH_JSON)) {
        Chosen::MedmeshJson
    } else {
        Chosen::Any
    }
}

/// A media range and how much it is liked; `None` for what is not one.
fn range(text: &str) -> Option<(String, f32)> {
    let mut parts = text.split(';');
    let media = parts.next()?.trim().to_ascii_lowercase();
    let (kind, subtype) = media.split_once('/')?;
    if kind.is_empty() || subtype.is_empty() || (kind == "*" && subtype != "*") {
        return None;
    }
    let weight = parts.find_map(|part| {
        let (name, value) = part.split_once('=')?;
        name.trim().eq_ignore_ascii_case("q").then(|| value.trim())
    });
    let quality = match weight {
        None => 1.0,
        Some(text) => text.parse().ok().filter(|q| (0.0..=1.0).contains(q))?,
    };
    Some((media, quality))
}

/// How much an offer is liked: what the most exact range that fits it says.
fn quality(ranges: &[(String, f32)], offer: &str) -> f32 {
    let group = offer.split('/').next().unwrap_or_default();
    let exactness = |range: &str| match range {
        range if range == offer => 3,
        "*/*" => 1,
        range if range.strip_suffix("/*") == Some(group) => 2,
        _ => 0,
    };
    let fitting = ranges.iter().filter(|(range, _)| exactness(range) > 0);
    fitting
        .max_by_key(|(range, _)| exactness(range))
        .map_or(0.0, |(_, quality)| *quality)
}

fn names(ranges: &[(String, f32)], offer: &str) -> bool {
    ranges.iter().any(|(range, _)| range == offer)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chosen(accept: &[&str], offers: &[&str]) -> Chosen {
        let mut headers = HeaderMap::new();
        for value in accept {
            headers.append(ACCEPT, value.parse().unwrap());
        }
        let offers: Vec<String> = offers.iter().map(|&offer| offer.to_owned()).collect();
        choose(&headers, &offers)
    }

    #[test]
    fn json_has_two_names_and_nothing_else_will_do() {
        const BOTH: &[&str] = &[JSON, MEDMESH_JSON];
        let long = format!("{JSON}{}", " ".repeat(ACCEPT_BYTES_MAX));
        for (accept, expected) in [
            (&[] as &[&str], Chosen::Any),
            (&["*/*"], Chosen::Any),
            (&["application/*"], Chosen::Any),
            (&["application/json"], Chosen::Any),
            (&["Application/JSON; charset=utf-8"], Chosen::Any),
            (&["application/vnd.medmesh.v1+json"], Chosen::MedmeshJson),
            (
                &["text/html", "application/vnd.medmesh.v1+json;q=0.2"],
                Chosen::MedmeshJson,
            ),
            (
                &["application/json, application/vnd.medmesh.v1+json"],
                Chosen::MedmeshJson,
            ),
            (
                &["application/json, application/vnd.medmesh.v1+json;q=0.5"],
                Chosen::Any,
            ),
            (&["application/json;q=0, */*"], Chosen::MedmeshJson),
            (&["application/vnd.medmesh.v2+json"], Chosen::None),
            (&["text/html,application/xhtml+xml"], Chosen::None),
            (&["application/json;q=0"], Chosen::None),
            (&["application/json;q=7"], Chosen::None),
            (&["*/json"], Chosen::None),
            (&[""], Chosen::None),
            (&[&long], Chosen::None),
        ] {
            assert_eq!(chosen(accept, BOTH), expected, "{accept:?}");
        }
        assert_eq!(
            chosen(&["text/event-stream"], &["text/event-stream"]),
            Chosen::Any
        );
        assert_eq!(chosen(&[JSON], &["text/event-stream"]), Chosen::None);
        assert_eq!(
            chosen(&["text/html"], &[]),
            Chosen::Any,
            "there is nothing to dislike"
        );
    }
}
