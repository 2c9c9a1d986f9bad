/** The audit log, as the clinic's auditor and as the patient reads it. */
import type { Transport } from "./transport.ts";
import type { Page, Role } from "./types.ts";

export type Outcome = "done" | "refused";

export interface AuditPerson {
  readonly id: string;
  /** Absent where it was erased, or is not the reader's to know. */
  readonly display_name?: string | null;
  readonly roles: readonly Role[];
}

/** A machine of the clinic, as the log names it. */
export interface AuditClient {
  readonly id: string;
  readonly name: string;
}

/** One entry of the log. */
export interface AuditEntry {
  readonly id: string;
  readonly at: string;
  /** `person`, `client` for a machine of the clinic, or the part of the system that acted. */
  readonly actor_kind: string;
  readonly actor: AuditPerson | null;
  readonly client?: AuditClient | null;
  readonly session_id: string | null;
  /** The list of words grows. */
  readonly action: string;
  readonly object_kind: string;
  readonly object_id: string | null;
  readonly patient: AuditPerson | null;
  readonly purpose: string;
  readonly outcome: Outcome;
  readonly denied_action?: string | null;
  readonly denied_reason?: string | null;
  /** What it made of somebody: the roles they had, and have from then on. */
  readonly roles?: { readonly before: readonly string[]; readonly after: readonly string[] } | null;
  readonly break_glass_id: string | null;
  readonly request_id: string;
  /** Its place in the log; absent until a signed head covers it. */
  readonly leaf_index?: number | null;
}

/** The newest signed head of the log. */
export interface AuditHead {
  /** Entries under it. */
  readonly size: number;
  readonly root: string;
  /** As it is signed (C2SP tlog-checkpoint). */
  readonly checkpoint: string;
  readonly witnessed_at: string;
  /** Who signs the log: to be kept apart from what it is to check. */
  readonly key: string;
  readonly notices: readonly string[];
  readonly outside_witness?: AuditWitness | null;
}

/** Somebody outside who signs heads, too. */
export interface AuditWitness {
  readonly key: string;
  readonly signed?: { readonly size: number; readonly signed_at: string; readonly checkpoint: string } | null;
  /** Since when it refuses. */
  readonly refused_at?: string | null;
}

/** Somebody saw or touched a record, or tried to. */
export interface RecordAccess {
  readonly id: string;
  readonly at: string;
  readonly actor_kind: string;
  /** Only staff are named. */
  readonly actor: AuditPerson | null;
  readonly client?: AuditClient | null;
  readonly action: string;
  readonly object_kind: string;
  readonly purpose: string;
  readonly outcome: Outcome;
  readonly break_glass_id: string | null;
}

/** What allowed it, in the order of 45 CFR 164.512. */
export type DisclosureBasis = "required_by_law" | "public_health" | "abuse" | "oversight" | "judicial" | "law_enforcement" | "decedent" | "donation" | "research" | "threat" | "government" | "workers_compensation" | "breach";
export const DISCLOSURE_BASES: readonly DisclosureBasis[] = [
  "required_by_law", "public_health", "abuse", "oversight", "judicial", "law_enforcement", "decedent", "donation", "research", "threat", "government", "workers_compensation", "breach",
];
/** Longest name or address of whom it was given to, and longest text of what and why; characters. */
export const RECIPIENT_CHARS_MAX = 300;
export const DISCLOSED_CHARS_MAX = 1000;

/** What of a record was given to somebody outside the clinic, as it is noted. */
export interface DisclosureNew {
  readonly disclosed_at: string;
  readonly recipient: string;
  readonly address?: string | null;
  readonly description: string;
  readonly purpose: string;
  readonly basis: DisclosureBasis;
}

/** What of a record was given to somebody outside the clinic. */
export interface Disclosure extends DisclosureNew {
  readonly id: string;
  readonly recorded_at: string;
}

export interface AuditFilter {
  readonly actor_id?: string;
  readonly patient_id?: string;
  readonly action?: string;
  readonly outcome?: Outcome;
  readonly from?: string;
  readonly to?: string;
}

export type AuditFormat = "csv" | "fhir";
type Paging = { readonly cursor?: string; readonly limit?: number };
const id = encodeURIComponent;

export class AuditApi {
  constructor(private readonly transport: Transport) {}

  async entries(query: AuditFilter & Paging = {}): Promise<Page<AuditEntry>> {
    return (await this.transport.request<Page<AuditEntry>>("GET", "/v1/audit", { query: { ...query } })).data;
  }

  /** A copy to keep; wants a fresh proof. */
  async export(query: AuditFilter, format: AuditFormat): Promise<Blob> {
    return this.transport.file("/v1/audit/export", { ...query, format });
  }

  /** Proof that an entry is in the log, as the service wrote it. */
  async proof(entryId: string): Promise<Blob> {
    return this.transport.file(`/v1/audit/${id(entryId)}/proof`, {});
  }

  async head(): Promise<AuditHead> {
    return (await this.transport.request<AuditHead>("GET", "/v1/audit/head")).data;
  }

  /** Proof that the newest head extends one of `from` entries, as the service wrote it. */
  async consistency(from: number): Promise<Blob> {
    return this.transport.file("/v1/audit/consistency", { from });
  }

  async accesses(patientId: string, query: Paging & { readonly others_only?: string } = {}): Promise<Page<RecordAccess>> {
    return (await this.transport.request<Page<RecordAccess>>("GET", `/v1/patients/${id(patientId)}/accesses`, { query })).data;
  }

  async disclosures(patientId: string, query: Paging = {}): Promise<Page<Disclosure>> {
    return (await this.transport.request<Page<Disclosure>>("GET", `/v1/patients/${id(patientId)}/disclosures`, { query })).data;
  }

  /** Notes one; for the privacy officer. */
  async disclosureCreate(patientId: string, disclosure: DisclosureNew, idempotencyKey: string): Promise<Disclosure> {
    return (await this.transport.request<Disclosure>("POST", `/v1/patients/${id(patientId)}/disclosures`, { body: disclosure, idempotencyKey })).data;
  }
}
