/** What people do with their own sign-in: prove themselves, set factors up and away, see their devices, choose a password. */
import type { PasskeyAssertion, PasskeyCreationOptions, PasskeyRegistration, PasskeyRequestOptions } from "./passkey.ts";
import type { Transport } from "./transport.ts";
import type { Device, Enrolment, Factors, Page, Passkey, Proof, Session, TotpFactor, TotpSetup } from "./types.ts";

const id = encodeURIComponent;
const etag = (version: number) => `"${version}"`;

export class AccountApi {
  constructor(private readonly transport: Transport) {}

  /** What to ask the device for, to sign in with a passkey alone. */
  async passkeyOptions(): Promise<PasskeyRequestOptions> {
    return this.#post("/v1/auth/passkey/options");
  }

  async passkeyLogin(credential: PasskeyAssertion): Promise<Session> {
    return this.#keep(await this.#post<Session>("/v1/auth/passkey/login", credential));
  }

  /** What to ask the device for, to prove oneself in a session. */
  async mfaPasskeyOptions(): Promise<PasskeyRequestOptions> {
    return this.#post("/v1/auth/mfa/passkey/options");
  }

  /** The second step of signing in. */
  async mfaVerify(proof: Proof): Promise<Session> {
    return this.#keep(await this.#post<Session>("/v1/auth/mfa/verify", proof));
  }

  /** Proves again that it is the person, for what asks for it. */
  async stepUp(proof: Proof): Promise<Session> {
    return this.#keep(await this.#post<Session>("/v1/auth/step-up", proof));
  }

  async factors(): Promise<Factors> {
    return (await this.transport.request<Factors>("GET", "/v1/auth/mfa")).data;
  }

  async totpBegin(): Promise<TotpSetup> {
    return this.#post("/v1/auth/mfa/totp");
  }

  async totpConfirm(code: string): Promise<Enrolment> {
    return this.#enrolled(await this.#post<Enrolment>("/v1/auth/mfa/totp/confirm", { code }));
  }

  async totpRemove(): Promise<void> {
    await this.transport.request("DELETE", "/v1/auth/mfa/totp");
  }

  async totpRename(totp: TotpFactor, name: string): Promise<void> {
    await this.transport.request("PATCH", "/v1/auth/mfa/totp", { body: { name }, ifMatch: etag(totp.version) });
  }

  async passkeyRename(passkey: Passkey, name: string): Promise<void> {
    await this.transport.request("PATCH", `/v1/auth/mfa/passkeys/${id(passkey.id)}`, { body: { name }, ifMatch: etag(passkey.version) });
  }

  async passkeyBegin(): Promise<PasskeyCreationOptions> {
    return this.#post("/v1/auth/mfa/passkeys/options");
  }

  async passkeyAdd(credential: PasskeyRegistration): Promise<Enrolment> {
    return this.#enrolled(await this.#post<Enrolment>("/v1/auth/mfa/passkeys", credential));
  }

  async passkeyRemove(passkeyId: string): Promise<void> {
    await this.transport.request("DELETE", `/v1/auth/mfa/passkeys/${id(passkeyId)}`);
  }

  /** New codes; those before are no longer good. */
  async recoveryCodesReplace(): Promise<readonly string[]> {
    return (await this.#post<{ recovery_codes: readonly string[] }>("/v1/auth/mfa/recovery-codes")).recovery_codes;
  }

  /** Signs the other devices out, too. */
  async passwordChange(password: string): Promise<void> {
    await this.#post("/v1/auth/password", { password });
  }

  /** Where the person is signed in, the latest used first. */
  async sessions(): Promise<readonly Device[]> {
    return (await this.transport.request<Page<Device>>("GET", "/v1/auth/sessions")).data.items;
  }

  async sessionRevoke(sessionId: string): Promise<void> {
    await this.transport.request("DELETE", `/v1/auth/sessions/${id(sessionId)}`);
  }

  async sessionRevokeOthers(): Promise<void> {
    await this.#post("/v1/auth/sessions/revoke-others");
  }

  #enrolled(enrolment: Enrolment): Enrolment {
    this.#keep(enrolment.session);
    return enrolment;
  }

  #keep(session: Session): Session {
    this.transport.setCsrf(session.csrf_token);
    return session;
  }

  async #post<T>(path: string, body?: unknown): Promise<T> {
    return (await this.transport.request<T>("POST", path, { body })).data;
  }
}
