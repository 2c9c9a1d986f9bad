/** What patients may ask of their record: that it rests or goes, a copy of everything, corrections. */
import type { Transport } from "./transport.ts";
import type { Page, PersonRef } from "./types.ts";

export interface RecordRights {
  readonly restricted_at?: string | null;
  readonly erasure?: { readonly requested_at: string; readonly retained_until: string; readonly erased_at?: string | null } | null;
  readonly version: number;
}

export interface SignedCopy {
  readonly size_bytes: number;
  /** Detached JWS over exactly the bytes of the download. */
  readonly signature: string;
}

export type ExportForm = "json" | "fhir";

/** A copy of the whole record. */
export interface RecordExport {
  readonly id: string;
  readonly patient_id: string;
  readonly state: "queued" | "ready" | "gone";
  readonly requested_at: string;
  readonly ready_at?: string | null;
  readonly expires_at?: string | null;
  readonly json?: SignedCopy | null;
  readonly fhir?: SignedCopy | null;
}

export type CorrectionState = "open" | "accepted" | "declined";

/** Something a patient wants corrected. */
export interface Correction {
  readonly id: string;
  readonly patient: PersonRef;
  readonly what: string;
  readonly why: string;
  readonly requested_at: string;
  readonly due_at: string;
  readonly state: CorrectionState;
  readonly decided_by?: PersonRef | null;
  readonly decided_at?: string | null;
  readonly reason?: string | null;
  readonly disagreement?: { readonly statement: string; readonly at: string } | null;
  readonly version: number;
}

/** Longest text of either side, characters. */
export const CORRECTION_CHARS_MAX = 2000;

type Paging = { readonly cursor?: string; readonly limit?: number };
const id = encodeURIComponent;

export class RightsApi {
  constructor(private readonly transport: Transport) {}

  async rights(patientId: string): Promise<RecordRights> {
    return this.#get(`/v1/patients/${id(patientId)}/rights`, {});
  }

  /** Wants a fresh proof. */
  async rightsSet(patientId: string, now: RecordRights, wish: { restricted: boolean; erasure: boolean }): Promise<RecordRights> {
    const options = { body: wish, ifMatch: `"${now.version}"` };
    return (await this.transport.request<RecordRights>("PUT", `/v1/patients/${id(patientId)}/rights`, options)).data;
  }

  async exports(patientId: string, query: Paging = {}): Promise<Page<RecordExport>> {
    return this.#get(`/v1/patients/${id(patientId)}/exports`, query);
  }

  /** Wants a fresh proof. */
  async exportCreate(patientId: string, idempotencyKey: string): Promise<RecordExport> {
    return this.#create(`/v1/patients/${id(patientId)}/exports`, {}, idempotencyKey);
  }

  /** The bytes that were signed; wants a fresh proof. */
  async exportContent(copy: RecordExport, form: ExportForm): Promise<Blob> {
    return this.transport.file(`/v1/patients/${id(copy.patient_id)}/exports/${id(copy.id)}/content`, { form });
  }

  async corrections(patientId: string, query: Paging = {}): Promise<Page<Correction>> {
    return this.#get(`/v1/patients/${id(patientId)}/corrections`, query);
  }

  async correctionCreate(patientId: string, wish: { what: string; why: string }, idempotencyKey: string): Promise<Correction> {
    return this.#create(`/v1/patients/${id(patientId)}/corrections`, wish, idempotencyKey);
  }

  async correctionDisagree(correction: Correction, statement: string): Promise<Correction> {
    return this.#answer(correction, "disagree", { statement });
  }

  /** Of the patients in reach, what is due first coming first. */
  async correctionQueue(query: Paging & { readonly state?: CorrectionState } = {}): Promise<Page<Correction>> {
    return this.#get("/v1/corrections", query);
  }

  async correctionAccept(correction: Correction): Promise<Correction> {
    return this.#answer(correction, "accept");
  }

  async correctionDecline(correction: Correction, reason: string): Promise<Correction> {
    return this.#answer(correction, "decline", { reason });
  }

  async #get<T>(path: string, query: Readonly<Record<string, string | number | undefined>>): Promise<T> {
    return (await this.transport.request<T>("GET", path, { query })).data;
  }

  async #create<T>(path: string, body: unknown, idempotencyKey: string): Promise<T> {
    return (await this.transport.request<T>("POST", path, { body, idempotencyKey })).data;
  }

  async #answer(correction: Correction, verb: string, body?: unknown): Promise<Correction> {
    const options = { ifMatch: `"${correction.version}"`, ...(body === undefined ? {} : { body }) };
    return (await this.transport.request<Correction>("POST", `/v1/corrections/${id(correction.id)}/${verb}`, options)).data;
  }
}
