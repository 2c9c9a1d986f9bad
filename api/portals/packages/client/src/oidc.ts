/** Signing in with an outside OpenID provider: the clinic's settings, one's own identities there, invitations. */
import type { Transport } from "./transport.ts";
import type { Page } from "./types.ts";

export interface OidcProvider {
  /** Empty when there is none yet. */
  readonly issuer: string;
  readonly client_id: string;
  /** Words of `amr`, or values of `acr`, that the clinic takes for a second factor. */
  readonly second_factor: readonly string[];
  readonly enabled: boolean;
  /** What the provider must be told to send people back to. */
  readonly redirect_uri: string;
  /** Where a person of the clinic begins: a link to hand out. */
  readonly start_url: string;
  /** 0 when there is none yet. */
  readonly version: number;
}

export interface OidcProviderChange {
  readonly issuer: string;
  readonly client_id: string;
  /** Absent: the one before stays. */
  readonly client_secret?: string;
  readonly second_factor: readonly string[];
  readonly enabled: boolean;
}

/** An outside identity of a person. */
export interface OutsideIdentity {
  readonly id: string;
  readonly issuer: string;
  readonly linked_at: string;
  readonly used_at: string | null;
}

/** A clinic's own sign-in, as a page to sign in at offers it. */
export interface OidcOffer {
  readonly clinic_id: string;
  readonly clinic_name: string;
}

export type Portal = "patient" | "clinician" | "admin";

export class OidcApi {
  constructor(private readonly transport: Transport) {}

  /** Whose own sign-in may be offered: the clinic's that is named, or the only clinic's. */
  async offers(clinicId: string | null): Promise<readonly OidcOffer[]> {
    const query = clinicId === null ? "" : `?clinic_id=${encodeURIComponent(clinicId)}`;
    return (await this.transport.request<Page<OidcOffer>>("GET", `/v1/auth/oidc/offers${query}`)).data.items;
  }

  /** Where a browser begins to sign in there; it comes back to this portal. */
  startUrl(offer: OidcOffer, portal: Portal): string {
    return `/v1/auth/oidc/start?clinic_id=${encodeURIComponent(offer.clinic_id)}&portal=${portal}`;
  }

  async provider(): Promise<OidcProvider> {
    return (await this.transport.request<OidcProvider>("GET", "/v1/clinic/oidc")).data;
  }

  async providerSet(provider: OidcProvider, change: OidcProviderChange): Promise<OidcProvider> {
    const options = { body: change, ifMatch: `"${provider.version}"` };
    return (await this.transport.request<OidcProvider>("PUT", "/v1/clinic/oidc", options)).data;
  }

  async identities(): Promise<readonly OutsideIdentity[]> {
    return (await this.transport.request<Page<OutsideIdentity>>("GET", "/v1/auth/oidc/identities")).data.items;
  }

  async unlink(identityId: string): Promise<void> {
    await this.transport.request("DELETE", `/v1/auth/oidc/identities/${encodeURIComponent(identityId)}`);
  }

  /** The provider's page, where the identity to link is proved. */
  async link(): Promise<string> {
    return (await this.transport.request<{ authorization_url: string }>("POST", "/v1/auth/oidc/link")).data.authorization_url;
  }

  /** The provider's page, where an invitation is accepted in place of a password. */
  async accept(token: string, portal: Portal): Promise<string> {
    return (await this.transport.request<{ authorization_url: string }>("POST", "/v1/auth/oidc/accept", { body: { token, portal } })).data.authorization_url;
  }
}
