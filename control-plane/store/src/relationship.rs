//! How the actor stands to a thing, read in the transaction that acts; and the decision
//! that is made from it.
//!
//! Every operation of [`Tx`] that touches somebody's data begins with [`Tx::authorise`] (one
//! thing) or [`Tx::authorise_listing`] (many, each judged by itself). A denial undoes what the
//! transaction had done, leaves its leaf, and is an error.

use medmesh_base::{
    AppointmentId, BreakGlassId, CareTeamMemberId, CorrectionId, PersonId, ReferralId, VisitId,
};
use medmesh_clinic::Segment;
use medmesh_clinic::audit::{Object, ObjectKind, Purpose};
use medmesh_clinic::authz::{
    Action, Consents, Context, Denial, Grant, Kind, Principal, Reason, Relation, Relations, Resource, decide,
    gate, reaches_all,
};
use uuid::Uuid;

use crate::{Result, StoreError, Tx};

/// What something is done to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Target {
    /// The clinic, its settings, or one's own session and account.
    Clinic,
    /// The record of a patient.
    Patient(PersonId),
    /// A time that does not exist yet.
    Booking {
        /// Whose.
        patient: PersonId,
        /// With whom.
        clinician: PersonId,
    },
    /// An appointment.
    Appointment(AppointmentId),
    /// A visit.
    Visit(VisitId),
    /// A place on a care team.
    CareTeamMember(CareTeamMemberId),
    /// A referral.
    Referral(ReferralId),
    /// What a patient wants corrected.
    Correction(CorrectionId),
}

impl Target {
    fn object(self) -> Object {
        match self {
            Self::Clinic => Object::none_of(ObjectKind::Clinic),
            Self::Patient(id) => id.into(),
            Self::Booking { .. } => Object::none_of(ObjectKind::Appointment),
            Self::Appointment(id) => id.into(),
            Self::Visit(id) => id.into(),
            Self::CareTeamMember(id) => id.into(),
            Self::Referral(id) => id.into(),
            Self::Correction(id) => id.into(),
        }
    }

    const fn kind(self) -> Kind {
        match self {
            Self::Clinic | Self::Booking { .. } => Kind::Clinic,
            Self::Patient(_) => Kind::Patient,
            Self::Appointment(_) => Kind::Appointment,
            Self::Visit(_) => Kind::Visit,
            Self::CareTeamMember(_) => Kind::CareTeamMember,
            Self::Referral(_) => Kind::Referral,
            Self::Correction(_) => Kind::Correction,
        }
    }
}

/// Leave to act, and whose record it is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Leave {
    /// What the policy said.
    pub grant: Grant,
    /// Whose record.
    pub patient: Option<PersonId>,
}

/// Leave to list.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Listing {
    /// Whether every row of the clinic is in reach.
    pub(crate) reaches_all: bool,
    /// What the widest rule says.
    pub(crate) grant: Grant,
}

/// The facts of one thing, as columns that [`relation_columns`] gives.
#[derive(Clone, Debug, sqlx::FromRow)]
pub(crate) struct Facts {
    fact_patient: Option<Uuid>,
    fact_segment: String,
    own: bool,
    host: bool,
    participant: bool,
    treating: bool,
    care_team: bool,
    referral: bool,
    privacy_officer: bool,
    break_glass: Option<Uuid>,
    restricted: bool,
    granted: Vec<String>,
    withdrawn: Vec<String>,
}

/// The columns of [`Facts`] about a row `r` that has `patient_id`, `clinician_id`, `visit_id`
/// and `segment`; `$1` is the actor's person, `$2` the present.
macro_rules! relation_columns {
    () => {
        "r.patient_id AS fact_patient, r.segment AS fact_segment,
         coalesce(r.patient_id = $1, false) AS own,
         coalesce(r.clinician_id = $1, false) AS host,
         EXISTS (SELECT FROM visit_participant f
             WHERE f.visit_id = r.visit_id AND f.person_id = $1) AS participant,
         EXISTS (SELECT FROM appointment f
             WHERE f.patient_id = r.patient_id AND f.clinician_id = $1 AND f.status <> 'cancelled') AS treating,
         EXISTS (SELECT FROM care_team f
             WHERE f.patient_id = r.patient_id AND f.person_id = $1
                 AND f.from_at <= $2 AND (f.until_at IS NULL OR f.until_at > $2)) AS care_team,
         EXISTS (SELECT FROM referral f
             WHERE f.patient_id = r.patient_id AND f.to_id = $1
                 AND f.created_at <= $2 AND f.until_at > $2) AS referral,
         EXISTS (SELECT FROM privacy_officer f WHERE f.person_id = $1) AS privacy_officer,
         (SELECT f.id FROM break_glass f
             WHERE f.patient_id = r.patient_id AND f.person_id = $1
                 AND f.opened_at <= $2 AND f.until_at > $2
             ORDER BY f.until_at DESC LIMIT 1) AS break_glass,
         EXISTS (SELECT FROM record_rights f WHERE f.patient_id = r.patient_id
             AND f.restricted_at IS NOT NULL AND f.erased_at IS NULL) AS restricted,
         ARRAY(SELECT f.purpose FROM consent f
             WHERE f.patient_id = r.patient_id AND f.segment = r.segment AND f.decision = 'granted'
                 AND NOT EXISTS (SELECT FROM consent l WHERE l.patient_id = f.patient_id
                     AND l.purpose = f.purpose AND l.segment = f.segment AND l.version > f.version)) AS granted,
         ARRAY(SELECT f.purpose FROM consent f
             WHERE f.patient_id = r.patient_id AND f.segment = r.segment AND f.decision = 'withdrawn'
                 AND NOT EXISTS (SELECT FROM consent l WHERE l.patient_id = f.patient_id
                     AND l.purpose = f.purpose AND l.segment = f.segment AND l.version > f.version)) AS withdrawn "
    };
}
pub(crate) use relation_columns;

/// The patients whose record the actor reaches through more than their own appointments:
/// what a listing is narrowed to before each row is judged. Parameters as above.
macro_rules! patients_reached {
    () => {
        "(SELECT f.patient_id FROM care_team f WHERE f.person_id = $1
              AND f.from_at <= $2 AND (f.until_at IS NULL OR f.until_at > $2)
          UNION SELECT f.patient_id FROM referral f WHERE f.to_id = $1
              AND f.created_at <= $2 AND f.until_at > $2
          UNION SELECT f.patient_id FROM break_glass f WHERE f.person_id = $1
              AND f.opened_at <= $2 AND f.until_at > $2)"
    };
}
pub(crate) use patients_reached;

/// The facts about the one row `r` that a query gives; `$3` and `$4` are the target's own.
macro_rules! facts_of {
    ($row:literal) => {
        concat!("SELECT ", relation_columns!(), "FROM (", $row, ") r")
    };
}

impl Target {
    /// How the facts about it are read, and the ids that takes.
    const fn facts(self) -> (&'static str, Option<Uuid>, Option<Uuid>) {
        match self {
            Self::Clinic => (
                facts_of!(
                    "SELECT NULL::uuid AS patient_id, NULL::uuid AS clinician_id, NULL::uuid AS visit_id,
                         'general' AS segment"
                ),
                None,
                None,
            ),
            Self::Patient(patient) => (
                facts_of!(
                    "SELECT p.person_id AS patient_id, NULL::uuid AS clinician_id, NULL::uuid AS visit_id,
                         'general' AS segment
                     FROM person_role p WHERE p.person_id = $3 AND p.role = 'patient'"
                ),
                Some(patient.as_uuid()),
                None,
            ),
            Self::Booking { patient, clinician } => (
                facts_of!(
                    "SELECT $3::uuid AS patient_id, $4::uuid AS clinician_id, NULL::uuid AS visit_id,
                         'general' AS segment"
                ),
                Some(patient.as_uuid()),
                Some(clinician.as_uuid()),
            ),
            Self::Appointment(id) => (
                facts_of!(
                    "SELECT a.patient_id, a.clinician_id, v.id AS visit_id, a.segment
                     FROM appointment a JOIN visit v ON v.clinic_id = a.clinic_id AND v.appointment_id = a.id
                     WHERE a.id = $3"
                ),
                Some(id.as_uuid()),
                None,
            ),
            Self::Visit(id) => (
                facts_of!(
                    "SELECT a.patient_id, a.clinician_id, v.id AS visit_id, a.segment
                     FROM visit v JOIN appointment a ON a.clinic_id = v.clinic_id AND a.id = v.appointment_id
                     WHERE v.id = $3"
                ),
                Some(id.as_uuid()),
                None,
            ),
            Self::CareTeamMember(id) => (
                facts_of!(
                    "SELECT c.patient_id, NULL::uuid AS clinician_id, NULL::uuid AS visit_id, 'general' AS segment
                     FROM care_team c WHERE c.id = $3"
                ),
                Some(id.as_uuid()),
                None,
            ),
            Self::Referral(id) => (
                facts_of!(
                    "SELECT e.patient_id, NULL::uuid AS clinician_id, NULL::uuid AS visit_id, 'general' AS segment
                     FROM referral e WHERE e.id = $3"
                ),
                Some(id.as_uuid()),
                None,
            ),
            Self::Correction(id) => (
                facts_of!(
                    "SELECT e.patient_id, NULL::uuid AS clinician_id, NULL::uuid AS visit_id, 'general' AS segment
                     FROM correction e WHERE e.id = $3"
                ),
                Some(id.as_uuid()),
                None,
            ),
        }
    }
}

impl Facts {
    fn patient(&self) -> Option<PersonId> {
        self.fact_patient.map(PersonId::from_uuid)
    }

    fn resource(&self, kind: Kind) -> Result<Resource> {
        let segment: Segment = self
            .fact_segment
            .parse()
            .map_err(|_| StoreError::corrupt("appointment.segment"))?;
        Ok(Resource {
            kind,
            patient: self.patient(),
            segment,
        })
    }

    const fn relations(&self) -> Relations {
        Relations::only(Relation::Clinic)
            .with(Relation::Own, self.own)
            .with(Relation::Host, self.host)
            .with(Relation::Participant, self.participant)
            .with(Relation::Treating, self.treating)
            .with(Relation::CareTeam, self.care_team)
            .with(Relation::Referral, self.referral)
            .with(Relation::PrivacyOfficer, self.privacy_officer)
    }

    fn consents(&self) -> Result<Consents> {
        let purpose = |word: &String| {
            word.parse::<Purpose>()
                .map_err(|_| StoreError::corrupt("consent.purpose"))
        };
        let mut consents = Consents::default();
        for word in &self.granted {
            consents = consents.granting(purpose(word)?);
        }
        for word in &self.withdrawn {
            consents = consents.withdrawing(purpose(word)?);
        }
        Ok(consents)
    }
}

impl Tx {
    /// Decides whether the actor may, from what is true now. Denied is an error and a leaf;
    /// what else this transaction did is then undone.
    ///
    /// # Errors
    /// [`StoreError::Denied`]; [`StoreError::NotFound`] where there is no such thing.
    pub async fn authorise(&mut self, action: Action, target: Target) -> Result<Leave> {
        let principal = Principal::from(self.actor());
        if let Err(denial) = gate(&principal, action, self.purpose) {
            return Err(self.deny(action, target, None, denial).await);
        }
        let Some(facts) = self.facts(target).await? else {
            // As long as a denial, and as much a trace: the clock must not tell what exists.
            let denial = Denial {
                reason: Reason::Unknown,
                hidden: true,
            };
            return Err(self.deny(action, target, None, denial).await);
        };
        let patient = facts.patient();
        match self.judge(action, target.kind(), &facts)? {
            Ok(grant) => {
                self.granted(action, grant);
                Ok(Leave { grant, patient })
            }
            Err(denial) => Err(self.deny(action, target, patient, denial).await),
        }
    }

    /// Decides whether the actor may list at all. Rows that stand in relations are judged
    /// each by itself, see [`Tx::judge`].
    ///
    /// # Errors
    /// [`StoreError::Denied`].
    pub(crate) async fn authorise_listing(&mut self, action: Action) -> Result<Listing> {
        let principal = Principal::from(self.actor());
        let all = reaches_all(&principal, action, self.purpose);
        let rule = match gate(&principal, action, self.purpose) {
            Ok(rule) => all.unwrap_or(rule),
            Err(denial) => return Err(self.deny(action, Target::Clinic, None, denial).await),
        };
        self.granted(action, rule.grant());
        Ok(Listing {
            reaches_all: all.is_some(),
            grant: rule.grant(),
        })
    }

    /// What the policy says about one thing whose facts are known.
    pub(crate) fn judge(
        &self,
        action: Action,
        kind: Kind,
        facts: &Facts,
    ) -> Result<std::result::Result<Grant, Denial>> {
        let principal = Principal::from(self.actor());
        let context = Context {
            purpose: self.purpose,
            consents: facts.consents()?,
            assurance: self.assurance(),
            break_glass: facts.break_glass.map(BreakGlassId::from_uuid),
            restricted: facts.restricted,
        };
        let resource = facts.resource(kind)?;
        Ok(decide(&principal, action, &resource, facts.relations(), &context))
    }

    /// The actor's person for [`relation_columns`]; the system is nobody.
    pub(crate) fn actor_person(&self) -> Option<Uuid> {
        self.actor().caller().map(|caller| caller.person_id.as_uuid())
    }

    async fn facts(&mut self, target: Target) -> Result<Option<Facts>> {
        let (me, now) = (self.actor_person(), self.now());
        let (sql, thing, other) = target.facts();
        Ok(sqlx::query_as(sql)
            .bind(me)
            .bind(now)
            .bind(thing)
            .bind(other)
            .fetch_optional(self.db())
            .await?)
    }

    /// Undoes what was done, leaves the leaf for good, and gives the error to return.
    async fn deny(
        &mut self,
        action: Action,
        target: Target,
        patient: Option<PersonId>,
        denial: Denial,
    ) -> StoreError {
        match self.record_denial(action, target, patient, denial).await {
            Ok(()) => StoreError::Denied(denial),
            Err(error) => error,
        }
    }

    async fn record_denial(
        &mut self,
        action: Action,
        target: Target,
        patient: Option<PersonId>,
        denial: Denial,
    ) -> Result<()> {
        self.start_over().await?;
        self.audit_denied(action, target.object(), patient, denial.reason)
            .await?;
        self.commit_and_go_on().await
    }
}
