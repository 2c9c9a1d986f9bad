/** The shapes of the clinical REST API (`api/openapi/clinic.json`), as the portals use them. Instants are RFC 3339 UTC. */
import type { PasskeyAssertion } from "./passkey.ts";

export type Role =
  | "patient" | "clinician" | "nurse" | "scheduler" | "pharmacist"
  | "care_coordinator" | "admin" | "support" | "auditor" | "sre";

export interface PersonRef {
  readonly id: string;
  readonly display_name: string;
}

export interface Session {
  /** `awaiting_credentials`: roles in which nobody may act before an admin has verified what they take. */
  readonly person: PersonRef & { readonly roles: readonly Role[]; readonly awaiting_credentials?: readonly Role[] };
  readonly clinic: { readonly id: string; readonly name: string; readonly time_zone: string };
  /** Goes into `X-CSRF-Token` of every unsafe request; lives in memory only. */
  readonly csrf_token: string;
  readonly idle_timeout_seconds: number;
  readonly locale: string;
  /** What the session may do; everything but `full` only leads to the second step of signing in. */
  readonly standing: Standing;
  readonly second_factors: readonly FactorKind[];
}

export type Standing = "full" | "mfa_required" | "mfa_enrolment_required";
export type FactorKind = "password" | "totp" | "passkey" | "recovery_code" | "provider" | "provider_mfa";

/** A proof of who one is. */
export type Proof =
  | { readonly method: "password"; readonly password: string }
  | { readonly method: "totp" | "recovery_code"; readonly code: string }
  | { readonly method: "passkey"; readonly credential: PasskeyAssertion };

/** A new authenticator app, shown once. */
export interface TotpSetup {
  readonly secret: string;
  readonly uri: string;
}

/** A second factor was set up; with the first come recovery codes. */
export interface Enrolment {
  readonly session: Session;
  readonly recovery_codes?: readonly string[];
}

/** What a person can prove themselves with. */
export interface Factors {
  readonly totp?: TotpFactor | null;
  readonly passkeys: readonly Passkey[];
  readonly recovery_codes_left: number;
  /** Whether the person may do without a second factor. */
  readonly is_optional: boolean;
}

/** An authenticator app; `version` is 0 before its first name. */
export interface TotpFactor {
  readonly since: string;
  readonly name?: string | null;
  readonly version: number;
}

export interface Passkey {
  readonly id: string;
  /** What its owner calls it; `version` is 0 before the first name. */
  readonly name?: string | null;
  readonly version: number;
  /** Browser and system it was made with; empty when they did not say. */
  readonly device: string;
  readonly is_synced: boolean;
  readonly created_at: string;
  readonly used_at?: string | null;
}

/** A session in a person's list of devices. */
export interface Device {
  readonly id: string;
  readonly device: string;
  readonly created_at: string;
  readonly seen_at: string;
  readonly is_present: boolean;
}

export type CredentialKind = "license" | "npi" | "dea";
export type CredentialStatus = "pending" | "verified" | "rejected" | "withdrawn" | "expired";

/** A licence has profession, state and end; a DEA number state and end; an NPI none of them. */
export interface NewCredential {
  readonly kind: CredentialKind;
  readonly profession?: Role;
  /** Postal code. */
  readonly state?: string;
  readonly number: string;
  /** `YYYY-MM-DD`: the last day. */
  readonly expires_on?: string;
}

export interface CredentialDecision {
  readonly status: CredentialStatus;
  readonly decided_at: string;
  readonly decided_by?: string;
  readonly reason?: string;
}

export interface Credential extends NewCredential {
  readonly id: string;
  readonly person: PersonRef;
  readonly status: CredentialStatus;
  readonly submitted_at: string;
  /** Oldest first. */
  readonly decisions: readonly CredentialDecision[];
  readonly version: number;
}

export interface Person extends PersonRef {
  readonly email?: string | null;
  readonly roles: readonly Role[];
  readonly active: boolean;
  readonly version: number;
}

export interface Page<T> {
  readonly items: readonly T[];
  readonly next_cursor?: string | null;
}

export type AppointmentStatus = "booked" | "cancelled" | "completed";

export interface Appointment {
  readonly id: string;
  readonly visit_id: string;
  readonly patient: PersonRef;
  readonly clinician: PersonRef;
  readonly starts_at: string;
  readonly ends_at: string;
  readonly status: AppointmentStatus;
  readonly reason?: string | null;
  readonly version: number;
}

export type VisitState = "scheduled" | "waiting" | "open" | "ended";
export type ParticipantState = "expected" | "waiting" | "admitted" | "in_call" | "left";
export type ParticipantRole = "patient" | "clinician" | "guest";

export interface VisitParticipant {
  readonly participant_id: string;
  readonly person: PersonRef;
  readonly role: ParticipantRole;
  readonly state: ParticipantState;
}

/** How far a visit is, and nothing about anyone. */
export interface VisitPulse {
  readonly id: string;
  readonly pulse: number;
}

export interface Visit {
  readonly id: string;
  readonly appointment_id: string;
  readonly starts_at: string;
  readonly ends_at: string;
  readonly state: VisitState;
  readonly participants: readonly VisitParticipant[];
  readonly version: number;
  /** The caller's own participant id. */
  readonly you?: string | null;
}

export interface Message {
  readonly id: string;
  readonly participant_id: string;
  readonly body: string;
  readonly sent_at: string;
}

export interface Candidate {
  readonly id: string;
  readonly name: string;
  readonly region: string;
  readonly probe_url: string;
}

export interface EdgeOffer {
  readonly id: string;
  readonly name: string;
  readonly region: string;
  readonly whip_url: string;
}

export interface IceServer {
  readonly urls: readonly string[];
  readonly username?: string;
  readonly credential?: string;
}

/** What `POST /v1/signaling/session` grants: one participant's way into one room. */
export interface SignalingSession {
  readonly room_id: string;
  readonly participant_id: string;
  readonly epoch: number;
  readonly join_token: string;
  readonly resume_token: string;
  readonly resume_expires_at: string;
  /** Ordered: home first, then the fall-backs. */
  readonly edges: readonly EdgeOffer[];
  readonly ice_servers: readonly IceServer[];
}

export interface SignalingRequest {
  readonly visit_id: string;
  readonly probes: readonly { readonly edge_id: string; readonly rtt_ms: number }[];
  /** The public half of the browser's P-256 key, as a JWK. */
  readonly key: JsonWebKey;
}

export interface NewPerson {
  readonly display_name: string;
  readonly email: string;
  readonly password: string;
  readonly roles: readonly Role[];
  readonly locale: string;
}

export interface NewAppointment {
  readonly patient_id: string;
  readonly clinician_id: string;
  readonly starts_at: string;
  readonly ends_at: string;
  readonly reason?: string;
}

export interface NewInvitation {
  readonly display_name: string;
  readonly email: string;
  readonly roles: readonly Role[];
  readonly locale: string;
}

/** A link that sets a password, once. */
export interface AccountLink {
  readonly url: string;
  readonly expires_at: string;
}

export interface Invitation {
  readonly person: Person;
  /** Only where the clinic sends no mail; shown this once. */
  readonly link?: AccountLink | null;
}

export interface ClinicSettings {
  readonly id: string;
  readonly name: string;
  readonly time_zone: string;
  /** Where its rows, keys and objects live. */
  readonly home_region: string;
  /** Regions whose edges may carry its visits; empty is any. */
  readonly media_regions: readonly string[];
  /** Whether patients may register themselves. */
  readonly self_registration: boolean;
  readonly version: number;
}
