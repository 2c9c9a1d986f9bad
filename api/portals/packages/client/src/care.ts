/** Who cares for a patient, what the patient agreed to, and records opened because it was urgent. */
import type { Transport } from "./transport.ts";
import type { Page, Person, PersonRef } from "./types.ts";

export type CareRole = "clinician" | "nurse" | "care_coordinator";
export const CARE_ROLES: readonly CareRole[] = ["clinician", "nurse", "care_coordinator"];

/** Somebody's place on a patient's care team. */
export interface CareTeamMember {
  readonly id: string;
  readonly patient_id: string;
  readonly person: PersonRef;
  readonly role: CareRole;
  readonly from_at: string;
  readonly until_at?: string | null;
  readonly version: number;
}

/** A patient sent from one clinician to another, who may read the record until it ends. */
export interface Referral {
  readonly id: string;
  readonly patient_id: string;
  readonly from: PersonRef;
  readonly to: PersonRef;
  readonly reason?: string | null;
  readonly created_at: string;
  readonly until_at: string;
  readonly version: number;
}

export type ConsentPurpose = "treatment" | "payment" | "operations";
export const CONSENT_PURPOSES: readonly ConsentPurpose[] = ["treatment", "payment", "operations"];
export type Segment = "general" | "part2" | "mental_health" | "reproductive_health" | "hiv";
export const SEGMENTS: readonly Segment[] = ["general", "part2", "mental_health", "reproductive_health", "hiv"];
export type ConsentDecision = "granted" | "withdrawn";

/** A text to show and have signed. */
export interface ConsentText {
  readonly document: string;
  readonly text: string;
  /** Of the words, hexadecimal; goes back with the signature. */
  readonly text_sha256: string;
}

/** One version of what a patient said; the highest of a purpose and segment counts. */
export interface Consent {
  readonly id: string;
  readonly purpose: ConsentPurpose;
  readonly segment: Segment;
  readonly version: number;
  readonly decision: ConsentDecision;
  readonly signed_by: "session" | "paper" | "witness";
  readonly document: string;
  /** Of the scanned paper, hexadecimal. */
  readonly proof_sha256?: string | null;
  readonly recorded_by: PersonRef;
  readonly recorded_at: string;
}

/** What was signed on paper, with the digest of its scan, or said before whoever records it. */
export type ConsentNoted = { readonly purpose: ConsentPurpose; readonly segment: Segment; readonly decision: ConsentDecision; readonly document: string } &
  ({ readonly signed_by: "paper"; readonly proof_sha256: string } | { readonly signed_by: "witness" });

/** Names of documents, as the service takes them. */
export const DOCUMENT_NAME = "[A-Za-z0-9._\\/\\-]{1,80}";

export type Finding = "justified" | "unjustified";

/** A record opened in an emergency. */
export interface BreakGlass {
  readonly id: string;
  readonly patient: PersonRef;
  readonly person: PersonRef;
  readonly reason: string;
  readonly opened_at: string;
  readonly until_at: string;
  readonly finding?: Finding | null;
  readonly reviewed_by?: PersonRef | null;
  readonly reviewed_at?: string | null;
  readonly version: number;
}

export interface PrivacyOfficer {
  /** Nobody, until somebody is named. */
  readonly person?: PersonRef | null;
  readonly named_at?: string | null;
  readonly version: number;
}

type Paging = { readonly cursor?: string; readonly limit?: number };
const id = encodeURIComponent;
const etag = ({ version }: { readonly version: number }) => `"${version}"`;

export class CareApi {
  constructor(private readonly transport: Transport) {}

  /** Patients by a name, spelt roughly. In the body: what is typed here is a name. An emergency finds those whose record rests, too. */
  async patientSearch(q: string, isEmergency = false): Promise<readonly Person[]> {
    const options = { body: { q }, repeatable: true, ...(isEmergency ? { purpose: "emergency" as const } : {}) };
    return (await this.transport.request<Page<Person>>("POST", "/v1/patients/search", options)).data.items;
  }

  async careTeam(patientId: string, query: Paging = {}): Promise<Page<CareTeamMember>> {
    return this.#get(`/v1/patients/${id(patientId)}/care-team`, query);
  }

  async careTeamAdd(patientId: string, member: { person_id: string; role: CareRole }, idempotencyKey: string): Promise<CareTeamMember> {
    return this.#create(`/v1/patients/${id(patientId)}/care-team`, member, idempotencyKey);
  }

  async careTeamEnd(member: CareTeamMember): Promise<CareTeamMember> {
    return this.#end(`/v1/care-team/${id(member.id)}/end`, member);
  }

  async referrals(patientId: string, query: Paging = {}): Promise<Page<Referral>> {
    return this.#get(`/v1/patients/${id(patientId)}/referrals`, query);
  }

  async referralCreate(patientId: string, referral: { to_id: string; reason?: string }, idempotencyKey: string): Promise<Referral> {
    return this.#create(`/v1/patients/${id(patientId)}/referrals`, referral, idempotencyKey);
  }

  async referralEnd(referral: Referral): Promise<Referral> {
    return this.#end(`/v1/referrals/${id(referral.id)}/end`, referral);
  }

  async consentText(query: { purpose: ConsentPurpose; segment: Segment; decision: ConsentDecision; locale: string }): Promise<ConsentText> {
    return this.#get("/v1/consent-text", query);
  }

  async consents(patientId: string, query: Paging = {}): Promise<Page<Consent>> {
    return this.#get(`/v1/patients/${id(patientId)}/consents`, query);
  }

  /** Signed on the screen, under exactly the words that were shown. */
  async consentSign(patientId: string, what: { purpose: ConsentPurpose; segment: Segment; decision: ConsentDecision }, text: ConsentText, idempotencyKey: string): Promise<Consent> {
    const body = { ...what, signed_by: "session", document: text.document, text_sha256: text.text_sha256 };
    return this.#create(`/v1/patients/${id(patientId)}/consents`, body, idempotencyKey);
  }

  /** Written down by a clinician for a patient who did not sign on a screen. */
  async consentNote(patientId: string, noted: ConsentNoted, idempotencyKey: string): Promise<Consent> {
    return this.#create(`/v1/patients/${id(patientId)}/consents`, noted, idempotencyKey);
  }

  async breakGlassOpen(patientId: string, open: { reason: string; minutes: number }, idempotencyKey: string): Promise<BreakGlass> {
    return this.#create(`/v1/patients/${id(patientId)}/break-glass`, open, idempotencyKey);
  }

  /** Of one's own record. */
  async breakGlassOf(patientId: string, query: Paging = {}): Promise<Page<BreakGlass>> {
    return this.#get(`/v1/patients/${id(patientId)}/break-glass`, query);
  }

  /** Of the whole clinic, for the privacy officer. */
  async breakGlass(query: Paging & { readonly unsettled?: string } = {}): Promise<Page<BreakGlass>> {
    return this.#get("/v1/break-glass", query);
  }

  async breakGlassReview(broken: BreakGlass, finding: Finding): Promise<BreakGlass> {
    const options = { body: { finding }, ifMatch: etag(broken) };
    return (await this.transport.request<BreakGlass>("POST", `/v1/break-glass/${id(broken.id)}/review`, options)).data;
  }

  async privacyOfficer(): Promise<PrivacyOfficer> {
    return this.#get("/v1/privacy-officer", {});
  }

  async privacyOfficerSet(officer: PrivacyOfficer, personId: string): Promise<PrivacyOfficer> {
    const options = { body: { person_id: personId }, ifMatch: etag(officer) };
    return (await this.transport.request<PrivacyOfficer>("PUT", "/v1/privacy-officer", options)).data;
  }

  async #get<T>(path: string, query: Readonly<Record<string, string | number | undefined>>): Promise<T> {
    return (await this.transport.request<T>("GET", path, { query })).data;
  }

  async #create<T>(path: string, body: unknown, idempotencyKey: string): Promise<T> {
    return (await this.transport.request<T>("POST", path, { body, idempotencyKey })).data;
  }

  async #end<T>(path: string, what: { readonly version: number }): Promise<T> {
    return (await this.transport.request<T>("POST", path, { ifMatch: etag(what) })).data;
  }
}
