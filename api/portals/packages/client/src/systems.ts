/** Machines of the clinic: programs that ask by themselves, each with keys and scopes of its own. */
import type { Transport } from "./transport.ts";
import type { Page } from "./types.ts";

export const CLIENT_SCOPES = [
  "system/Appointment.rs", "system/Appointment.cu", "system/Patient.s", "system/Person.rs", "system/CareTeam.rs", "system/AuditEvent.rs",
] as const;
export type ClientScope = (typeof CLIENT_SCOPES)[number];

/** A public key (RFC 7517). */
export interface Jwk {
  readonly kty: string;
  readonly kid: string;
  readonly [member: string]: unknown;
}

export interface ClientSystem {
  /** The `client_id` it goes by. */
  readonly id: string;
  readonly name: string;
  /** The list of scopes grows. */
  readonly scopes: readonly string[];
  readonly jwks: { readonly keys: readonly Jwk[] };
  readonly enabled: boolean;
  readonly created_at: string;
  /** When it last proved itself; absent before the first time. */
  readonly last_used_at?: string | null;
  readonly version: number;
}

export interface NewClientSystem {
  readonly name: string;
  readonly scopes: readonly string[];
  readonly jwks: { readonly keys: readonly Jwk[] };
}

export interface ClientSystemChange {
  readonly name?: string;
  readonly scopes?: readonly string[];
  readonly jwks?: { readonly keys: readonly Jwk[] };
  readonly enabled?: boolean;
}

const id = encodeURIComponent;

export class SystemsApi {
  constructor(private readonly transport: Transport) {}

  async list(query: { cursor?: string; limit?: number } = {}): Promise<Page<ClientSystem>> {
    return (await this.transport.request<Page<ClientSystem>>("GET", "/v1/clients", { query })).data;
  }

  /** Wants a fresh proof. */
  async create(system: NewClientSystem, idempotencyKey: string): Promise<ClientSystem> {
    return (await this.transport.request<ClientSystem>("POST", "/v1/clients", { body: system, idempotencyKey })).data;
  }

  /** Wants a fresh proof; holds for the next request of the system. */
  async update(system: ClientSystem, change: ClientSystemChange): Promise<ClientSystem> {
    const options = { body: change, ifMatch: `"${system.version}"` };
    return (await this.transport.request<ClientSystem>("PATCH", `/v1/clients/${id(system.id)}`, options)).data;
  }

  /** Where systems get their tokens (RFC 8414). */
  async tokenEndpoint(): Promise<string> {
    return (await this.transport.request<{ token_endpoint: string }>("GET", "/.well-known/oauth-authorization-server")).data.token_endpoint;
  }
}
