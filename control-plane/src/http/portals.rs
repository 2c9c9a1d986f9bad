//! The portals' builds, as static files.
//!
//! Each answer with a page has a policy and a nonce of its own ([`shell`]).
//!
//! `/` is the chooser (`home`), `/patient/`, `/clinician/` and `/admin/` are one
//! page each: a path below them that is no file is a view inside the page. Files
//! under `assets/` carry a hash of their content in their name and may be kept
//! for ever; everything else is asked for anew.

use std::path::{Path, PathBuf};

use axum::Router;
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Redirect, Response};
use axum::routing::get;
use http::header::{CACHE_CONTROL, HeaderValue};
use http::{StatusCode, Uri};
use medmesh_base::ProblemCode;
use tower::ServiceExt as _;
use tower_http::services::ServeDir;

use self::shell::Shell;
use super::error::ApiError;

mod shell;
#[cfg(test)]
mod tests;

/// Where each build is served, and the folder it is in.
const APPS: [&str; 3] = ["patient", "clinician", "admin"];
/// The chooser's folder.
const HOME: &str = "home";
/// What a browser may keep, since its name changes with its content.
const IMMUTABLE: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");

/// One build.
#[derive(Clone)]
struct App {
    files: ServeDir,
    page: Shell,
    /// Taken off the path before a file is looked for.
    prefix: &'static str,
}

/// Routes of every build under `dir`. `connect` are the further origins a page may speak to: the edges'.
pub(super) fn routes<S: Clone + Send + Sync + 'static>(dir: &Path, connect: &[String]) -> Router<S> {
    let app = |folder: &str, prefix| {
        let folder: PathBuf = dir.join(folder);
        App {
            page: Shell::new(folder.join("index.html"), connect),
            files: ServeDir::new(folder).append_index_html_on_directories(false),
            prefix,
        }
    };
    let home = app(HOME, "");
    let mut router = Router::new()
        .route("/", get(page).with_state(home.clone()))
        .route("/assets/{*path}", get(asset).with_state(home.clone()))
        .route("/favicon.svg", get(file).with_state(home));
    for name in APPS {
        let prefix: &'static str = match name {
            "patient" => "/patient",
            "clinician" => "/clinician",
            _ => "/admin",
        };
        let app = app(name, prefix);
        let slash = format!("{prefix}/");
        let redirect = slash.clone();
        router = router
            .route(prefix, get(move || async move { Redirect::permanent(&redirect) }))
            .route(&slash, get(page).with_state(app.clone()))
            .route(
                &format!("{prefix}/assets/{{*path}}"),
                get(asset).with_state(app.clone()),
            )
            .route(&format!("{prefix}/{{*path}}"), get(file_or_page).with_state(app));
    }
    router
}

/// The page itself.
async fn page(State(app): State<App>) -> Response {
    app.page.answer().await
}

/// A file with a hash in its name.
async fn asset(state: State<App>, request: Request) -> Response {
    let mut response = file(state, request).await;
    if response.status().is_success() || response.status() == StatusCode::NOT_MODIFIED {
        response.headers_mut().insert(CACHE_CONTROL, IMMUTABLE);
    }
    response
}

/// A file; 404 where there is none.
async fn file(State(app): State<App>, mut request: Request) -> Response {
    *request.uri_mut() = below(app.prefix, request.uri());
    let Ok(response) = app.files.oneshot(request).await;
    let mut response = response.into_response();
    if response.status().is_success() {
        response.headers_mut().insert(CACHE_CONTROL, NO_STORE);
        return response;
    }
    if response.status() == StatusCode::NOT_MODIFIED || response.status() == StatusCode::RANGE_NOT_SATISFIABLE
    {
        return response;
    }
    ApiError::from(ProblemCode::NotFound).into_response()
}

/// A file, or the page for what is a view inside it. A path whose last part has a dot is a
/// file that is missing, and must not be answered with a page.
async fn file_or_page(state: State<App>, request: Request) -> Response {
    let last = request.uri().path().rsplit('/').next().unwrap_or_default();
    if last.contains('.') {
        file(state, request).await
    } else {
        page(state).await
    }
}

fn below(prefix: &str, uri: &Uri) -> Uri {
    let path = uri.path().strip_prefix(prefix).unwrap_or("/");
    path.parse().unwrap_or_else(|_| Uri::from_static("/"))
}
