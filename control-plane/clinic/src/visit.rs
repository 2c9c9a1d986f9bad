//! What a visit goes through: scheduled, somebody waits, the clinician opens
//! it, people are admitted, it ends.
//!
//! Each step takes the present [`Visit`] and gives the next one or a
//! [`Refusal`]; a step that has already happened gives the same visit back, so
//! a repeated click or a retried request is harmless. `by` is the person who
//! asks; whoever takes no part in the visit must not learn that it exists,
//! which is for the caller of these functions to see to ([`Visit::of_person`]).

use medmesh_base::{AppointmentId, ParticipantId, PersonId, RoomId, VisitId};
use time::{Duration, OffsetDateTime};

use crate::word::words;
use crate::{PersonRef, Refusal, Slot, Version};

/// How long before the start the waiting room takes people: early arrivals,
/// and time to fix a camera.
pub const CHECK_IN_LEAD: Duration = Duration::minutes(60);

/// How long before the start the clinician may open and join.
pub const JOIN_LEAD: Duration = Duration::minutes(15);

/// How long after its planned end a visit still lets people (back) in: clinics run late.
pub const OVERRUN_MAX: Duration = Duration::hours(2);

/// Most seats of one visit: what a room's receive slots carry.
pub const SEATS_MAX: usize = 6;

/// Most people who ever took part in one visit: each keeps a line in its record and a place in the
/// room's assignment, which has sixteen.
pub const PARTICIPANTS_MAX: usize = 16;

words! {
    /// The word for a [`Phase`].
    "visit state" VisitState {
        /// Nobody is there yet.
        Scheduled = "scheduled",
        /// Somebody is in the waiting room.
        Waiting = "waiting",
        /// The clinician has opened it.
        Open = "open",
        /// It is over, or was called off.
        Ended = "ended",
    }
}

words! {
    /// Why someone takes part.
    "participant role" ParticipantRole {
        /// Receives care.
        Patient = "patient",
        /// Gives care and decides who comes in.
        Clinician = "clinician",
        /// Was added: a nurse, an interpreter, a colleague, a relative.
        Guest = "guest",
    }
}

words! {
    /// Where a participant is.
    "participant state" ParticipantState {
        /// Not there yet.
        Expected = "expected",
        /// In the waiting room.
        Waiting = "waiting",
        /// May join.
        Admitted = "admitted",
        /// Connected to the room.
        InCall = "in_call",
        /// Was connected and is not; may come back while the visit is open.
        Left = "left",
    }
}

/// How far a visit is, with what only that stage knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Nobody is there yet.
    Scheduled,
    /// Somebody is in the waiting room.
    Waiting,
    /// The clinician has opened it.
    Open {
        /// When.
        opened_at: OffsetDateTime,
    },
    /// It is over, or was called off before it opened.
    Ended {
        /// When it opened, if it ever did.
        opened_at: Option<OffsetDateTime>,
        /// When it ended.
        ended_at: OffsetDateTime,
    },
}

impl Phase {
    /// The word for it.
    #[must_use]
    pub const fn state(&self) -> VisitState {
        match self {
            Self::Scheduled => VisitState::Scheduled,
            Self::Waiting => VisitState::Waiting,
            Self::Open { .. } => VisitState::Open,
            Self::Ended { .. } => VisitState::Ended,
        }
    }
}

/// One person in one visit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Participant {
    /// The person as the media plane knows them; unrelated to every clinical id.
    pub id: ParticipantId,
    /// The person.
    pub person: PersonRef,
    /// Why they take part.
    pub role: ParticipantRole,
    /// Where they are.
    pub state: ParticipantState,
}

impl Participant {
    /// Whether nobody else can have their seat: patient and clinician keep theirs whatever happens,
    /// a guest's is free once they left.
    #[must_use]
    pub fn holds_seat(&self) -> bool {
        self.role != ParticipantRole::Guest || self.state != ParticipantState::Left
    }
}

/// One visit.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Visit {
    /// The visit.
    pub id: VisitId,
    /// The appointment it came from.
    pub appointment_id: AppointmentId,
    /// The visit as the media plane knows it; unrelated to every clinical id.
    pub room_id: RoomId,
    /// When it is planned.
    pub slot: Slot,
    /// How far it is.
    pub phase: Phase,
    /// Who takes part: patient and clinician first, then guests as they were added.
    pub participants: Vec<Participant>,
    /// Grows by one with every write.
    pub version: Version,
}

/// Leave to join the room now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JoinWindow {
    /// Who may join.
    pub participant_id: ParticipantId,
    /// The room to join.
    pub room_id: RoomId,
    /// Why they take part.
    pub role: ParticipantRole,
    /// Until when a reconnection needs no new leave.
    pub until: OffsetDateTime,
}

impl Visit {
    /// The participant that `person` is here.
    #[must_use]
    pub fn of_person(&self, person: PersonId) -> Option<&Participant> {
        self.participants
            .iter()
            .find(|participant| participant.person.id == person)
    }

    /// The participant with this id.
    #[must_use]
    pub fn participant(&self, id: ParticipantId) -> Option<&Participant> {
        self.participants.iter().find(|participant| participant.id == id)
    }

    /// The patient, when the participants are loaded.
    #[must_use]
    pub fn patient(&self) -> Option<&Participant> {
        self.participants
            .iter()
            .find(|participant| participant.role == ParticipantRole::Patient)
    }

    /// How many seats are held; those who are expected hold theirs too.
    #[must_use]
    pub fn seats_held(&self) -> usize {
        self.participants.iter().filter(|one| one.holds_seat()).count()
    }

    /// A patient or guest enters the waiting room.
    ///
    /// # Errors
    /// Too early, too late, over, or asked by the clinician, who never waits.
    pub fn check_in(&self, by: PersonId, now: OffsetDateTime) -> Result<Self, Refusal> {
        let me = self.part_of(by)?;
        if me.role == ParticipantRole::Clinician {
            return Err(Refusal::NotYours);
        }
        self.within(CHECK_IN_LEAD, now)?;
        let mut next = self.clone();
        if me.state == ParticipantState::Expected {
            next.set_state(me.id, ParticipantState::Waiting);
        }
        if next.phase == Phase::Scheduled {
            next.phase = Phase::Waiting;
        }
        Ok(next)
    }

    /// The clinician opens the visit; only then can anyone be admitted.
    ///
    /// # Errors
    /// Too early, too late, over, or asked by somebody else.
    pub fn open(&self, by: PersonId, now: OffsetDateTime) -> Result<Self, Refusal> {
        let host = self.host(by)?;
        self.within(JOIN_LEAD, now)?;
        let mut next = self.clone();
        if host.state == ParticipantState::Expected {
            next.set_state(host.id, ParticipantState::Admitted);
        }
        if matches!(self.phase, Phase::Scheduled | Phase::Waiting) {
            next.phase = Phase::Open { opened_at: now };
        }
        Ok(next)
    }

    /// The clinician lets `who` in from the waiting room.
    ///
    /// # Errors
    /// Not open, nobody waiting under that id, or asked by somebody else.
    pub fn admit(&self, by: PersonId, who: ParticipantId) -> Result<Self, Refusal> {
        self.host(by)?;
        self.opened()?;
        let mut next = self.clone();
        match self.participant(who).map(|participant| participant.state) {
            None | Some(ParticipantState::Expected) => return Err(Refusal::NotWaiting),
            Some(ParticipantState::Waiting) => next.set_state(who, ParticipantState::Admitted),
            Some(ParticipantState::Admitted | ParticipantState::InCall | ParticipantState::Left) => {}
        }
        Ok(next)
    }

    /// The clinician ends the visit for everyone.
    ///
    /// # Errors
    /// Not open yet, or asked by somebody else.
    pub fn end(&self, by: PersonId, now: OffsetDateTime) -> Result<Self, Refusal> {
        self.host(by)?;
        let opened_at = match self.phase {
            Phase::Ended { .. } => return Ok(self.clone()),
            Phase::Scheduled | Phase::Waiting => return Err(Refusal::VisitNotOpen),
            Phase::Open { opened_at } => opened_at,
        };
        let mut next = self.clone();
        next.phase = Phase::Ended {
            opened_at: Some(opened_at),
            ended_at: now,
        };
        next.send_everyone_home();
        Ok(next)
    }

    /// The clinician adds somebody. Adding is admitting: it is the clinician's decision already.
    ///
    /// # Errors
    /// Over, full, taking part already, or asked by somebody else.
    pub fn add_guest(&self, by: PersonId, id: ParticipantId, person: PersonRef) -> Result<Self, Refusal> {
        self.host(by)?;
        self.not_ended()?;
        if self.of_person(person.id).is_some() {
            return Err(Refusal::AlreadyTakesPart);
        }
        if self.seats_held() >= SEATS_MAX || self.participants.len() >= PARTICIPANTS_MAX {
            return Err(Refusal::VisitFull);
        }
        let mut next = self.clone();
        next.participants.push(Participant {
            id,
            person,
            role: ParticipantRole::Guest,
            state: ParticipantState::Admitted,
        });
        Ok(next)
    }

    /// Whether `by` may join the room now: the clinician from [`JOIN_LEAD`] before
    /// the start, everybody else once the visit is open and they were admitted.
    ///
    /// # Errors
    /// Too early, too late, over, not admitted, or a guest who left and whose seat somebody else has.
    pub fn may_join(&self, by: PersonId, now: OffsetDateTime) -> Result<JoinWindow, Refusal> {
        let me = self.part_of(by)?;
        self.not_ended()?;
        if me.role == ParticipantRole::Clinician {
            self.within(JOIN_LEAD, now)?;
        } else {
            self.opened().map_err(|_| Refusal::NotAdmitted)?;
            if matches!(me.state, ParticipantState::Expected | ParticipantState::Waiting) {
                return Err(Refusal::NotAdmitted);
            }
            self.within(CHECK_IN_LEAD, now)?;
        }
        if !me.holds_seat() && self.seats_held() >= SEATS_MAX {
            return Err(Refusal::VisitFull);
        }
        Ok(JoinWindow {
            participant_id: me.id,
            room_id: self.room_id,
            role: me.role,
            until: self.closes_at(),
        })
    }

    /// The media plane reports `who` connected or gone. Reports about people who
    /// were never admitted, or after the end, change nothing.
    #[must_use]
    pub fn presence(&self, who: ParticipantId, connected: bool) -> Self {
        let mut next = self.clone();
        let Some(participant) = self.participant(who) else {
            return next;
        };
        let host = participant.role == ParticipantRole::Clinician;
        match (self.phase.state(), participant.state, connected) {
            (VisitState::Ended, ..) | (_, ParticipantState::Waiting, _) => {}
            (_, ParticipantState::Expected, true) if host => next.set_state(who, ParticipantState::InCall),
            (_, ParticipantState::Expected, _) => {}
            (_, _, true) => next.set_state(who, ParticipantState::InCall),
            (_, ParticipantState::InCall, false) => next.set_state(who, ParticipantState::Left),
            (_, ParticipantState::Admitted | ParticipantState::Left, false) => {}
        }
        next
    }

    /// The appointment moved to another time: whoever waited is expected again.
    ///
    /// # Errors
    /// Open or over.
    pub fn moved(&self, slot: Slot) -> Result<Self, Refusal> {
        if !matches!(self.phase, Phase::Scheduled | Phase::Waiting) {
            return Err(Refusal::VisitBegun);
        }
        if self.slot == slot {
            return Ok(self.clone());
        }
        let mut next = self.clone();
        next.slot = slot;
        next.phase = Phase::Scheduled;
        for participant in &mut next.participants {
            if participant.state == ParticipantState::Waiting {
                participant.state = ParticipantState::Expected;
            }
        }
        Ok(next)
    }

    /// The appointment was cancelled.
    ///
    /// # Errors
    /// Open or over.
    pub fn called_off(&self, now: OffsetDateTime) -> Result<Self, Refusal> {
        if !matches!(self.phase, Phase::Scheduled | Phase::Waiting) {
            return Err(Refusal::VisitBegun);
        }
        let mut next = self.clone();
        next.phase = Phase::Ended {
            opened_at: None,
            ended_at: now,
        };
        next.send_everyone_home();
        Ok(next)
    }

    /// The instant after which nobody gets in any more.
    #[must_use]
    pub fn closes_at(&self) -> OffsetDateTime {
        self.slot.ends_at() + OVERRUN_MAX
    }

    fn part_of(&self, by: PersonId) -> Result<&Participant, Refusal> {
        self.of_person(by).ok_or(Refusal::NotYours)
    }

    fn host(&self, by: PersonId) -> Result<&Participant, Refusal> {
        let me = self.part_of(by)?;
        if me.role == ParticipantRole::Clinician {
            Ok(me)
        } else {
            Err(Refusal::NotYours)
        }
    }

    const fn not_ended(&self) -> Result<(), Refusal> {
        if matches!(self.phase, Phase::Ended { .. }) {
            Err(Refusal::VisitEnded)
        } else {
            Ok(())
        }
    }

    const fn opened(&self) -> Result<(), Refusal> {
        match self.phase {
            Phase::Open { .. } => Ok(()),
            Phase::Ended { .. } => Err(Refusal::VisitEnded),
            Phase::Scheduled | Phase::Waiting => Err(Refusal::VisitNotOpen),
        }
    }

    fn within(&self, lead: Duration, now: OffsetDateTime) -> Result<(), Refusal> {
        self.not_ended()?;
        if now < self.slot.starts_at() - lead {
            Err(Refusal::TooEarly)
        } else if now >= self.closes_at() {
            Err(Refusal::TooLate)
        } else {
            Ok(())
        }
    }

    fn set_state(&mut self, who: ParticipantId, state: ParticipantState) {
        if let Some(participant) = self
            .participants
            .iter_mut()
            .find(|participant| participant.id == who)
        {
            participant.state = state;
        }
    }

    fn send_everyone_home(&mut self) {
        for participant in &mut self.participants {
            if participant.state != ParticipantState::Expected {
                participant.state = ParticipantState::Left;
            }
        }
    }
}
