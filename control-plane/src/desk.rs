//! The operator's desk: audit logs, jobs and whatever else needs the database, behind the operator's token.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::body::Body as AnswerBody;
use axum::extract::{Path, Query, State};
use axum::response::{IntoResponse as _, Response};
use axum::{Json, Router};
use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderValue, StatusCode};
use medmesh_api_types::audit::{
    AuditAnnouncement, AuditLogHead, AuditProof, AuditResumeCreate, AuditVerification,
};
use medmesh_api_types::fleet::Explanation;
use medmesh_api_types::job::{Job, JobQuery};
use medmesh_api_types::page::List;
use medmesh_base::{AuditId, ClinicId, JobId, ProblemCode, RequestId};
use medmesh_clinic::{Actor, SystemActor};
use medmesh_store::{JOBS_PER_LIST_MAX, JobSummary, Store, StoreError, Tx};
use medmesh_tlog::notice::is_reason;
use time::OffsetDateTime;
use tokio_stream::StreamExt as _;
use tokio_stream::wrappers::ReceiverStream;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::audit::{
    Announced, Evidence, Logs, Publisher, TurnError, provable, prove, resume, rotate, verify,
};
use crate::database::Database;
use crate::erasures::Register;
use crate::fleet::Fleet;
use crate::http::{ApiError, Body};

const TAG_AUDIT: &str = "audit";
const TAG_JOBS: &str = "jobs";
const TAG_FLEET: &str = "fleet";

/// How long a head may be on its way from the voters to the database.
const HEAD_PATIENCE: Duration = Duration::from_secs(10);
/// While a verification runs its answer begins with blanks, so that nobody on the way takes
/// the connection for dead.
const STILL_HERE: Duration = Duration::from_secs(2);

/// What the desk works with.
#[derive(Clone)]
pub(crate) struct Desk {
    pub(crate) fleet: Fleet,
    pub(crate) database: Database,
    pub(crate) logs: Logs,
    pub(crate) register: Register,
}

/// The desk's routes; whoever mounts them puts them behind the token.
pub(crate) fn router(desk: Desk) -> Router {
    let (router, _) = described().split_for_parts();
    router.with_state(desk)
}

/// Every route with its description.
pub(crate) fn described() -> OpenApiRouter<Desk> {
    OpenApiRouter::new()
        .routes(routes!(audit_log_list))
        .routes(routes!(audit_log_verify))
        .routes(routes!(audit_leaf_prove))
        .routes(routes!(audit_key_rotate))
        .routes(routes!(audit_log_resume))
        .routes(routes!(job_list))
        .routes(routes!(job_retry))
        .routes(routes!(visit_explain))
        .merge(crate::keys::described())
}

impl Desk {
    /// What a log is judged by.
    fn log(&self) -> Evidence<'_> {
        self.logs.evidence_by(&self.fleet)
    }

    async fn begin(&self, clinic: ClinicId) -> Result<Tx, ApiError> {
        let actor = Actor::System(SystemActor::Operator);
        let store = self.database.store()?;
        let tx = store.begin(clinic, actor, RequestId::generate()).await?;
        Ok(tx)
    }
}

fn parse<T: std::str::FromStr>(text: &str) -> Result<T, ApiError> {
    text.parse().map_err(|_| ProblemCode::NotFound.into())
}

/// Why the people of a visit are where they are; as of its room, whose id the answer has.
#[utoipa::path(get, path = "/v1/fleet/visits/{id}/explain", tag = TAG_FLEET, params(("id" = uuid::Uuid, Path,)),
    responses((status = 200, description = "The planner's reports.", body = Explanation)))]
async fn visit_explain(
    State(desk): State<Desk>,
    Path(visit): Path<String>,
) -> Result<Json<Explanation>, ApiError> {
    let room = desk.database.store()?.visit_room(parse(&visit)?).await?;
    Ok(Json(desk.fleet.explain(room).await?))
}

/// The witnessed heads of all audit logs.
#[utoipa::path(get, path = "/v1/fleet/audit", tag = TAG_AUDIT,
    responses((status = 200, description = "By clinic.", body = List<AuditLogHead>)))]
async fn audit_log_list(State(desk): State<Desk>) -> Json<List<AuditLogHead>> {
    let state = desk.fleet.state();
    let heads = state.audit_logs.iter().map(|(clinic, log)| AuditLogHead {
        clinic_id: *clinic,
        size: log.newest.size,
        checkpoint: log.note.clone(),
        key: desk.logs.keys().log(*clinic, Some(log)).verifier().to_string(),
        notices: log.notices.iter().map(|notice| notice.note.clone()).collect(),
    });
    Json(List {
        items: heads.collect(),
    })
}

/// Reads a whole log again and says what is wrong with it. The answer may take minutes; blanks
/// come before it meanwhile.
#[utoipa::path(post, path = "/v1/fleet/audit/{clinic}/verify", tag = TAG_AUDIT,
    params(("clinic" = uuid::Uuid, Path)),
    responses((status = 200, description = "What was found.", body = AuditVerification)))]
async fn audit_log_verify(
    State(desk): State<Desk>,
    Path(clinic): Path<String>,
) -> Result<Response, ApiError> {
    let mut tx = desk.begin(parse(&clinic)?).await?;
    tx.clinic_get().await?;
    let (send, receive) = tokio::sync::mpsc::channel::<Bytes>(1);
    let work = async move {
        let report = verify(&mut tx, &desk.log(), HEAD_PATIENCE).await;
        tx.audit_verified().await?;
        tx.commit().await?;
        report
    };
    tokio::spawn(async move {
        let mut work = Box::pin(work);
        let report = loop {
            match tokio::time::timeout(STILL_HERE, &mut work).await {
                Ok(report) => break report,
                // Whoever asked is gone: so is the work.
                Err(_) if send.send(Bytes::from_static(b" ")).await.is_err() => return,
                Err(_) => {}
            }
        };
        // An answer that breaks off is an error to whoever reads it.
        match report {
            Ok(report) => {
                let json = serde_json::to_vec(&report).expect("a report is plain data");
                let _ = send.send(json.into()).await;
            }
            Err(error) => tracing::error!(%error, "an audit log could not be read"),
        }
    });
    let body = AnswerBody::from_stream(ReceiverStream::new(receive).map(Ok::<_, Infallible>));
    let json = HeaderValue::from_static("application/json");
    Ok(([(CONTENT_TYPE, json)], body).into_response())
}

/// Proof that one event is in its log, for somebody who does not ask us.
#[utoipa::path(get, path = "/v1/fleet/audit/{clinic}/leaves/{leaf}/proof", tag = TAG_AUDIT,
    params(("clinic" = uuid::Uuid, Path), ("leaf" = uuid::Uuid, Path)),
    responses((status = 200, description = "The proof.", body = AuditProof),
        (status = 409, description = "`audit_head_pending`: no signed head covers it yet. `audit_leaf_altered`.")))]
async fn audit_leaf_prove(
    State(desk): State<Desk>,
    Path((clinic, leaf)): Path<(String, String)>,
) -> Result<Json<AuditProof>, ApiError> {
    let mut tx = desk.begin(parse(&clinic)?).await?;
    let leaf: AuditId = parse(&leaf)?;
    let found = tx.audit_leaf(leaf).await?;
    let asked = provable(&mut tx, found).await?;
    tx.commit().await?;
    Ok(Json(prove(&desk.log(), asked).await?))
}

/// Gives a log its next signing key. Both keys sign the announcement; heads signed before stay good.
#[utoipa::path(post, path = "/v1/fleet/audit/{clinic}/keys", tag = TAG_AUDIT,
    params(("clinic" = uuid::Uuid, Path)),
    responses((status = 201, description = "What was announced.", body = AuditAnnouncement)))]
async fn audit_key_rotate(
    State(desk): State<Desk>,
    Path(clinic): Path<String>,
) -> Result<(StatusCode, Json<AuditAnnouncement>), ApiError> {
    let mut tx = desk.begin(parse(&clinic)?).await?;
    tx.clinic_get().await?;
    let (evidence, now) = (desk.log(), tx.now());
    let announced = rotate(&evidence, &evidence.log(tx.clinic_id()), now).await?;
    tx.audit_turned(false, announced.id).await?;
    tx.commit().await?;
    Ok((StatusCode::CREATED, Json(announcement(announced))))
}

/// Lets a log go on whose database was put back to an earlier time, under another name. What is gone is
/// told of by every verification from then on. 409 where the database is not behind, or holds something
/// else than a beginning of what was witnessed. A log of millions takes longer than the answer waits (503)
/// and goes on: a verification says when it is there.
#[utoipa::path(post, path = "/v1/fleet/audit/{clinic}/resume", tag = TAG_AUDIT,
    params(("clinic" = uuid::Uuid, Path)), request_body = AuditResumeCreate,
    responses((status = 201, description = "What was announced.", body = AuditAnnouncement)))]
async fn audit_log_resume(
    State(desk): State<Desk>,
    Path(clinic): Path<String>,
    body: Body<AuditResumeCreate>,
) -> Result<(StatusCode, Json<AuditAnnouncement>), ApiError> {
    let reason = body.value.reason;
    if !is_reason(&reason) {
        return Err(ApiError::field("reason", "is one line of 1 to 200 bytes"));
    }
    let mut tx = desk.begin(parse(&clinic)?).await?;
    tx.clinic_get().await?;
    let store = desk.database.store()?.clone();
    // In a task of its own: publishing millions of leaves anew takes longer than anybody waits, and goes on.
    let work = tokio::spawn(async move {
        let evidence = desk.log();
        let log = evidence.log(tx.clinic_id());
        let witness = Arc::new(desk.fleet.clone());
        let (keys, shelf) = (desk.logs.keys().clone(), desk.logs.shelf().clone());
        let publisher = Publisher::new(store, keys, shelf, witness);
        let announced = resume(&evidence, &publisher, &log, tx.now(), &reason).await?;
        tx.audit_turned(true, announced.id).await?;
        tx.commit().await?;
        Ok::<_, ApiError>(announced)
    });
    let announced = work
        .await
        .map_err(|error| ApiError::new(ProblemCode::Internal).because(error))??;
    Ok((StatusCode::CREATED, Json(announcement(announced))))
}

fn announcement(announced: Announced) -> AuditAnnouncement {
    AuditAnnouncement {
        key: announced.notice.key.to_string(),
        witnessed_size: announced.notice.old_size,
        kept_size: announced.notice.size,
        notice: announced.note,
    }
}

impl From<TurnError> for ApiError {
    fn from(error: TurnError) -> Self {
        match error {
            TurnError::Store(error) => error.into(),
            TurnError::NoLog | TurnError::NotBehind | TurnError::NotOurs | TurnError::Refused(_) => {
                Self::new(ProblemCode::StateConflict).saying(error.to_string())
            }
            TurnError::Proof(_) => Self::new(ProblemCode::StateConflict).because(error),
            TurnError::Shelf(_) | TurnError::Publish(_) | TurnError::Unwitnessed(_) => {
                Self::new(ProblemCode::Unavailable).because(error)
            }
        }
    }
}

/// Work that waits, runs or was given up, oldest first. Nothing of its content.
#[utoipa::path(get, path = "/v1/fleet/jobs", tag = TAG_JOBS, params(JobQuery),
    responses((status = 200, description = "At most 200.", body = List<Job>)))]
async fn job_list(
    State(desk): State<Desk>,
    query: Result<Query<JobQuery>, axum::extract::rejection::QueryRejection>,
) -> Result<Json<List<Job>>, ApiError> {
    let Query(query) = query.map_err(|_| ApiError::invalid("The query does not parse."))?;
    let store: &Store = desk.database.store()?;
    let after = query.after.map(JobId::from_uuid);
    let jobs = store.job_list(query.dead, after, JOBS_PER_LIST_MAX).await?;
    Ok(Json(List {
        items: jobs.into_iter().map(job).collect(),
    }))
}

fn job(job: JobSummary) -> Job {
    Job {
        id: job.id,
        clinic_id: job.clinic_id,
        kind: job.kind,
        created_at: job.created_at,
        due_at: job.due_at,
        attempts: job.attempts,
        attempts_max: job.attempts_max,
        dead_at: job.dead_at,
        last_error: job.last_error,
        moved: job.moved.map(i64::cast_unsigned),
        remaining: job.remaining.map(i64::cast_unsigned),
    }
}

/// Gives work that was given up all its tries again.
#[utoipa::path(post, path = "/v1/fleet/jobs/{id}/retry", tag = TAG_JOBS, params(("id" = uuid::Uuid, Path)),
    responses((status = 204, description = "It is due now.")))]
async fn job_retry(State(desk): State<Desk>, Path(id): Path<String>) -> Result<StatusCode, ApiError> {
    let id: JobId = parse(&id)?;
    let store = desk.database.store()?;
    store.job_retry(id, OffsetDateTime::now_utc()).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// What a verification that could not be made is to whoever asked.
impl From<crate::audit::VerifyError> for ApiError {
    fn from(error: crate::audit::VerifyError) -> Self {
        match error {
            crate::audit::VerifyError::Store(error) => StoreError::into(error),
            other => Self::new(ProblemCode::Unavailable).because(other),
        }
    }
}
