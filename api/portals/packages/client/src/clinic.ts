/** The API as methods named like its operations (`appointment_create` → `appointmentCreate`). */
import { AccountApi } from "./account.ts";
import { AuditApi } from "./audit.ts";
import { CareApi } from "./care.ts";
import { followVisit, type LiveHandlers } from "./live.ts";
import { OidcApi } from "./oidc.ts";
import { RightsApi } from "./rights.ts";
import { SystemsApi } from "./systems.ts";
import { Transport } from "./transport.ts";
import type {
  Appointment, Candidate, ClinicSettings, Credential, CredentialStatus, Invitation, Message, NewAppointment, NewCredential, NewInvitation, NewPerson, Page, Person, Role, Session, SignalingRequest, SignalingSession, Visit, VisitPulse,
} from "./types.ts";

/** A fresh key for one intent; keep it for every retry of that intent. */
export function newIdempotencyKey(): string {
  return crypto.randomUUID();
}

const id = encodeURIComponent;

export class ClinicApi {
  /** What people do with their own sign-in: factors, devices, password. */
  readonly account: AccountApi;
  /** The audit log, and who saw a record. */
  readonly audit: AuditApi;
  /** Care teams, referrals, consents, records opened in an emergency. */
  readonly care: CareApi;
  /** Signing in with an outside provider. */
  readonly oidc: OidcApi;
  /** Copies of one's record, corrections, rest and erasure. */
  readonly rights: RightsApi;
  /** Programs of the clinic that ask by themselves. */
  readonly systems: SystemsApi;

  constructor(readonly transport: Transport = new Transport()) {
    this.account = new AccountApi(transport);
    this.audit = new AuditApi(transport);
    this.care = new CareApi(transport);
    this.oidc = new OidcApi(transport);
    this.rights = new RightsApi(transport);
    this.systems = new SystemsApi(transport);
  }

  /** Called when the server says that the session has ended. */
  set onSignedOut(handler: (() => void) | null) {
    this.transport.onSignedOut = handler;
  }

  /** Called when a request wants a fresh proof; see `Transport.onStepUp`. */
  set onStepUp(handler: (() => Promise<boolean>) | null) {
    this.transport.onStepUp = handler;
  }

  async login(email: string, password: string): Promise<Session> {
    return this.#keep(await this.#post<Session>("/v1/auth/login", { email, password }));
  }

  /** Who is signed in. Not in the background it is also how the service learns that somebody is there. */
  async session(background = false): Promise<Session> {
    return this.#keep((await this.transport.request<Session>("GET", "/v1/auth/session", { background })).data);
  }

  async logout(): Promise<void> {
    const gone = this.transport.request("POST", "/v1/auth/logout");
    // At once: whoever signs in before the answer is there has a token of their own.
    this.transport.setCsrf(null);
    await gone;
  }

  /** Changes what somebody is to the clinic; refused when somebody else did in the meantime. */
  async personUpdate(person: Person, change: { roles?: readonly Role[]; active?: boolean }): Promise<Person> {
    const options = { body: change, ifMatch: `"${person.version}"` };
    return (await this.transport.request<Person>("PATCH", `/v1/people/${id(person.id)}`, options)).data;
  }

  /** Asks for a link by mail; answers alike for every address. */
  async resetRequest(email: string): Promise<void> {
    await this.transport.request("POST", "/v1/auth/reset", { body: { email } });
  }

  /** Sets the password by a link. */
  async linkRedeem(token: string, password: string): Promise<void> {
    await this.transport.request("POST", "/v1/auth/link", { body: { token, password } });
  }

  /** Asks for a link that completes a registration as a patient; answers alike for every address. */
  async registrationRequest(clinicId: string, email: string, locale: string): Promise<void> {
    await this.transport.request("POST", "/v1/auth/registration", { body: { clinic_id: clinicId, email, locale } });
  }

  /** Completes a registration by its link. */
  async registrationComplete(token: string, displayName: string, password: string): Promise<void> {
    await this.transport.request("POST", "/v1/auth/registration/complete", { body: { token, display_name: displayName, password } });
  }

  async people(query: { role?: Role; cursor?: string; limit?: number } = {}): Promise<Page<Person>> {
    return (await this.transport.request<Page<Person>>("GET", "/v1/people", { query })).data;
  }

  async personCreate(person: NewPerson, idempotencyKey: string): Promise<Person> {
    return this.#post("/v1/people", person, idempotencyKey);
  }

  /** Invites somebody, who chooses their password themselves. */
  async invitationCreate(invitation: NewInvitation, idempotencyKey: string): Promise<Invitation> {
    return this.#post("/v1/invitations", invitation, idempotencyKey);
  }

  async clinic(): Promise<ClinicSettings> {
    return (await this.transport.request<ClinicSettings>("GET", "/v1/clinic")).data;
  }

  async clinicUpdate(change: { media_regions?: readonly string[]; self_registration?: boolean }, etag: string): Promise<ClinicSettings> {
    return (await this.transport.request<ClinicSettings>("PATCH", "/v1/clinic", { body: change, ifMatch: etag })).data;
  }

  /** What the caller stated about themselves, latest first. */
  async credentialMine(): Promise<readonly Credential[]> {
    return (await this.transport.request<Page<Credential>>("GET", "/v1/credentials/mine")).data.items;
  }

  async credentialSubmit(credential: NewCredential, idempotencyKey: string): Promise<Credential> {
    return this.#post("/v1/credentials", credential, idempotencyKey);
  }

  async credentials(query: { person_id?: string; status?: CredentialStatus; cursor?: string; limit?: number } = {}): Promise<Page<Credential>> {
    return (await this.transport.request<Page<Credential>>("GET", "/v1/credentials", { query })).data;
  }

  async credentialVerify(credential: Credential): Promise<Credential> {
    return this.#judge(credential, "verify", {});
  }

  async credentialReject(credential: Credential, reason: string): Promise<Credential> {
    return this.#judge(credential, "reject", { body: { reason } });
  }

  async credentialWithdraw(credential: Credential): Promise<Credential> {
    return this.#judge(credential, "withdraw", {});
  }

  async #judge(credential: Credential, verb: string, body: { body?: unknown }): Promise<Credential> {
    const path = `/v1/credentials/${id(credential.id)}/${verb}`;
    return (await this.transport.request<Credential>("POST", path, { ...body, ifMatch: `"${credential.version}"` })).data;
  }

  async appointments(query: { from?: string; to?: string; cursor?: string; limit?: number } = {}): Promise<Page<Appointment>> {
    return (await this.transport.request<Page<Appointment>>("GET", "/v1/appointments", { query })).data;
  }

  /** One appointment and the ETag that a change of it must name. */
  async appointment(appointmentId: string): Promise<{ appointment: Appointment; etag: string }> {
    const { data, etag } = await this.transport.request<Appointment>("GET", `/v1/appointments/${id(appointmentId)}`);
    return { appointment: data, etag: etag ?? `"${data.version}"` };
  }

  async appointmentCreate(appointment: NewAppointment, idempotencyKey: string): Promise<Appointment> {
    return this.#post("/v1/appointments", appointment, idempotencyKey);
  }

  async appointmentChange(appointmentId: string, etag: string, change: { starts_at?: string; ends_at?: string; reason?: string }): Promise<Appointment> {
    const path = `/v1/appointments/${id(appointmentId)}`;
    return (await this.transport.request<Appointment>("PATCH", path, { body: change, ifMatch: etag })).data;
  }

  async appointmentCancel(appointmentId: string, etag: string): Promise<Appointment> {
    const path = `/v1/appointments/${id(appointmentId)}/cancel`;
    return (await this.transport.request<Appointment>("POST", path, { body: {}, ifMatch: etag })).data;
  }

  /** Visits of one day in the clinic's zone (`YYYY-MM-DD`, default today). */
  async visits(day?: string, background = false): Promise<readonly Visit[]> {
    const query = day === undefined ? {} : { day };
    return (await this.transport.request<Page<Visit>>("GET", "/v1/visits", { query, background })).data.items;
  }

  /** How far they are, which says nothing about anyone and leaves no entry in their audit logs. */
  async visitPulses(day?: string): Promise<readonly VisitPulse[]> {
    const query = day === undefined ? {} : { day };
    return (await this.transport.request<Page<VisitPulse>>("GET", "/v1/visits/pulses", { query, background: true })).data.items;
  }

  async visit(visitId: string, background = false): Promise<Visit> {
    return (await this.transport.request<Visit>("GET", `/v1/visits/${id(visitId)}`, { background })).data;
  }

  async visitCheckIn(visitId: string): Promise<Visit> {
    return this.#set(`/v1/visits/${id(visitId)}/check-in`, {});
  }

  async visitOpen(visitId: string): Promise<Visit> {
    return this.#set(`/v1/visits/${id(visitId)}/open`, {});
  }

  async visitAdmit(visitId: string, participantId: string): Promise<Visit> {
    return this.#set(`/v1/visits/${id(visitId)}/admit`, { participant_id: participantId });
  }

  async visitEnd(visitId: string): Promise<Visit> {
    return this.#set(`/v1/visits/${id(visitId)}/end`, {});
  }

  async participantAdd(visitId: string, personId: string, idempotencyKey: string): Promise<Visit> {
    return this.#post(`/v1/visits/${id(visitId)}/participants`, { person_id: personId }, idempotencyKey);
  }

  async messageCreate(visitId: string, body: string, idempotencyKey: string): Promise<Message> {
    return this.#post(`/v1/visits/${id(visitId)}/messages`, { body }, idempotencyKey);
  }

  follow(visitId: string, handlers: LiveHandlers): () => void {
    return followVisit(this.transport, visitId, handlers);
  }

  async candidates(visitId: string): Promise<readonly Candidate[]> {
    const query = { visit_id: visitId };
    return (await this.transport.request<{ edges: readonly Candidate[] }>("GET", "/v1/signaling/candidates", { query })).data.edges;
  }

  async signalingSession(request: SignalingRequest): Promise<SignalingSession> {
    return this.#set("/v1/signaling/session", request);
  }

  #keep(session: Session): Session {
    this.transport.setCsrf(session.csrf_token);
    return session;
  }

  /** A POST after which things are as asked for, however often it arrived. */
  async #set<T>(path: string, body: unknown): Promise<T> {
    return (await this.transport.request<T>("POST", path, { body, repeatable: true })).data;
  }

  async #post<T>(path: string, body: unknown, idempotencyKey?: string): Promise<T> {
    const options = idempotencyKey === undefined ? { body } : { body, idempotencyKey };
    return (await this.transport.request<T>("POST", path, options)).data;
  }
}
