//! Patients by what somebody remembers of their name.
//!
//! The tables hold keyed tokens only. A search makes the tokens of the query,
//! fetches a bounded number of candidates, opens their names and ranks them; what
//! comes back is what the caller may see, and each of it is in the audit log.

use std::collections::HashMap;
use std::collections::HashSet;

use medmesh_base::PersonId;
use medmesh_clinic::audit::{Action, ObjectKind};
use medmesh_clinic::authz::{self, View};
use medmesh_clinic::search::{GOOD, Group, Query, RELEVANT, Term, Way, score, terms_of};
use medmesh_clinic::{Invalid, Person};
use medmesh_vault::BlindIndex;
use uuid::Uuid;

use crate::keys::{Opener, PatientKeyRow};
use crate::person::PersonRow;
use crate::relationship::Target;
use crate::{Result, Tx};

/// Most people in an answer.
pub const SEARCH_MAX: u32 = 50;

/// People in an answer when the caller names no number.
pub const SEARCH_DEFAULT: u32 = 10;

/// Candidates of one way to look: each costs the opening of a key and a name, some 10 µs.
const CANDIDATES_MAX: usize = 200;

/// Candidates opened at once; once there are enough good ones among them the others stay closed.
const OPENED_AT_ONCE: usize = 50;

impl Tx {
    /// The patients whose name (or, for those who may see addresses, address) is closest to `text`,
    /// closest first.
    ///
    /// # Errors
    /// [`Invalid::Search`], [`crate::StoreError::Denied`].
    pub async fn patient_search(&mut self, text: &str, limit: Option<u32>) -> Result<Vec<Person>> {
        // Of the clinic as a whole: who may is a matter of their roles, or of the office they hold.
        let leave = self
            .authorise(authz::Action::PatientSearch, Target::Clinic)
            .await?;
        let with_email = leave.grant.sees != View::Names;
        let query = Query::parse(text).ok_or(Invalid::Search)?;
        let limit = limit.unwrap_or(SEARCH_DEFAULT).clamp(1, SEARCH_MAX) as usize;
        let mut found = Vec::new();
        // An address is only for those who could read it anyway.
        if with_email || !query.words.is_empty() {
            found = self.patient_candidates(&query, limit, with_email).await?;
        }
        found.truncate(limit);
        let people: Vec<Person> = found.into_iter().map(|(_, person)| person).collect();
        let leaves: Vec<_> = people
            .iter()
            .map(|person| (person.id.into(), Some(person.id), None))
            .collect();
        self.audit_each_or_none(Action::PersonRead, ObjectKind::Person, &leaves)
            .await?;
        Ok(people)
    }

    /// Tries one way after the other, narrow ones first, until somebody good is found; best first.
    ///
    /// As it was typed, as many as were asked for must be found: who is really called "Jhon Smith"
    /// must not hide every John. Of what comes after, one good one ends the search: wider ways read
    /// long lists of the index and bring worse ones.
    async fn patient_candidates(
        &mut self,
        query: &Query,
        limit: usize,
        with_email: bool,
    ) -> Result<Vec<(f64, Person)>> {
        // Two while the index is made anew: some are found by the one, the others by the other.
        let indexes = self.clinic_scope()?.searches();
        let mut seen: HashSet<Uuid> = HashSet::new();
        let mut found: Vec<(f64, Person)> = Vec::new();
        for way in &query.ways {
            let mut fresh: Vec<Uuid> = Vec::new();
            for index in &indexes {
                let ids = self.patient_search_by(index, way).await?;
                fresh.extend(ids.into_iter().filter(|id| seen.insert(*id)));
            }
            let resting = self.resting_among(&fresh).await?;
            fresh.retain(|id| !resting.contains(id));
            for some in fresh.chunks(OPENED_AT_ONCE) {
                for person in self.patients_open(some, with_email).await? {
                    let score = if query.words.is_empty() {
                        1.0
                    } else {
                        score(&query.words, person.display_name.expose())
                    };
                    if score >= RELEVANT {
                        found.push((score, person));
                    }
                }
                if good(&found) >= limit {
                    break;
                }
            }
            let enough = if way.is_literal { limit } else { 1 };
            if good(&found) >= enough {
                break;
            }
        }
        found.sort_by(|(a, one), (b, other)| b.total_cmp(a).then_with(|| one.id.cmp(&other.id)));
        Ok(found)
    }

    /// Candidates of one way. More than one alternative shares the number there may be, so that
    /// none crowds the others out.
    async fn patient_search_by(&mut self, index: &BlindIndex, way: &Way) -> Result<Vec<Uuid>> {
        let (mut tokens, mut group_ends) = (Vec::new(), Vec::new());
        let (mut needs_all, mut alternative_ends) = (Vec::new(), Vec::new());
        let end = |number: usize| i32::try_from(number).unwrap_or(i32::MAX);
        for groups in &way.alternatives {
            for group in groups {
                tokens.extend(group.terms().iter().map(|term| token(index, term)));
                group_ends.push(end(tokens.len()));
                needs_all.push(matches!(group, Group::All(_)));
            }
            alternative_ends.push(end(group_ends.len()));
        }
        let most = CANDIDATES_MAX / way.alternatives.len().max(1);
        let ids = sqlx::query_scalar("SELECT patient_id FROM patient_search_by($1, $2, $3, $4, $5)")
            .bind(tokens)
            .bind(group_ends)
            .bind(needs_all)
            .bind(alternative_ends)
            .bind(end(most))
            .fetch_all(self.db())
            .await?;
        Ok(ids)
    }

    /// Opens the names of candidates with keys that are used this once: a search must not push
    /// everybody else's keys out of memory.
    async fn patients_open(&mut self, ids: &[Uuid], with_email: bool) -> Result<Vec<Person>> {
        let keys: Vec<PatientKeyRow> = sqlx::query_as(
            "SELECT patient_id, version, clinic_key_version, wrapped FROM patient_key
             WHERE patient_id = ANY ($1)",
        )
        .bind(ids)
        .fetch_all(self.db())
        .await?;
        let rings: HashMap<PersonId, _> = self.unwrap_patients(keys).await?;
        let rows: Vec<PersonRow> = sqlx::query_as(
            "SELECT p.id, p.display_name, CASE WHEN $2 THEN p.email END AS email, p.seal_version,
                 (SELECT coalesce(array_agg(role), '{}') FROM person_role r
                  WHERE r.clinic_id = p.clinic_id AND r.person_id = p.id) AS roles,
                 p.locale, p.active, p.version
             FROM person p WHERE p.id = ANY ($1)",
        )
        .bind(ids)
        .bind(with_email)
        .fetch_all(self.db())
        .await?;
        let opener = Opener::of_patients(self.clinic_id(), rings, 0);
        rows.into_iter().map(|row| row.into_person(&opener)).collect()
    }

    /// What somebody can be found by, under the latest index.
    pub(crate) fn search_tokens(&self, name: &str, email: &str) -> Result<Vec<i64>> {
        let scope = self.clinic_scope()?;
        let (_, index) = scope.search();
        let terms = terms_of(name, email);
        let mut tokens: Vec<i64> = terms.iter().map(|term| token(index, term)).collect();
        // In the order of the terms they would say which token is the address.
        tokens.sort_unstable();
        Ok(tokens)
    }

    /// Makes a patient findable by name and address, in place of what they were found by before.
    /// With every write of either.
    pub(crate) async fn search_index(&mut self, patient: PersonId, name: &str, email: &str) -> Result<()> {
        let (version, _) = self.clinic_scope()?.search();
        let tokens = self.search_tokens(name, email)?;
        let clinic = self.clinic();
        sqlx::query(
            "INSERT INTO patient_search (clinic_id, patient_id, tokens, index_version) VALUES ($1, $2, $3, $4)
             ON CONFLICT (clinic_id, patient_id) DO UPDATE
                 SET tokens = excluded.tokens, index_version = excluded.index_version",
        )
        .bind(clinic)
        .bind(patient.as_uuid())
        .bind(tokens)
        .bind(version.cast_signed())
        .execute(self.db())
        .await?;
        Ok(())
    }
}

fn good(found: &[(f64, Person)]) -> usize {
    found.iter().filter(|(score, _)| *score >= GOOD).count()
}

/// The token of a term under a clinic's key.
pub(crate) fn token(index: &BlindIndex, term: &Term) -> i64 {
    index.token(term.kind.byte(), &term.text)
}
