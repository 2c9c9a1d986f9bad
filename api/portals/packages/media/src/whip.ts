/** WHIP (RFC 9725) requests to an edge. Each method is one request; retries and fall-backs are the session's business. */
import { createProof, type ProofKey } from "./keys.ts";

/** A dead edge must not hold up the next one; a live one answers within tens of milliseconds. */
const REQUEST_TIMEOUT_MS = 3_000;

export class WhipError extends Error {
  override readonly name = "WhipError";
  constructor(
    /** HTTP status, 0 when nothing answered. */
    readonly status: number,
    readonly code: string,
  ) {
    super(`edge signalling: ${code}`);
  }
}

/** What authorises a request: the single-use join token, or the resume token with a proof by the browser's key. */
export type Credential =
  | { readonly kind: "join"; readonly token: string }
  | { readonly kind: "resume"; readonly token: string; readonly key: ProofKey };

export interface WhipResource {
  readonly url: string;
  readonly etag: string | null;
  readonly answer: string;
}

export async function whipPost(url: string, credential: Credential, offer: string): Promise<WhipResource> {
  const response = await send("POST", url, credential, { "Content-Type": "application/sdp" }, offer);
  const location = response.headers.get("Location");
  if (response.status !== 201 || location === null) throw new WhipError(response.status, "no_resource");
  return { url: new URL(location, url).href, etag: response.headers.get("ETag"), answer: await response.text() };
}

/** Asks for an ICE restart; answers the edge's fragment. */
export async function whipRestart(resource: WhipResource, credential: Credential, fragment: string): Promise<string> {
  const headers = { "Content-Type": "application/trickle-ice-sdpfrag", "If-Match": "*" };
  const response = await send("PATCH", resource.url, credential, headers, fragment);
  return response.text();
}

/** Ends the resource. `keepalive` lets it finish while the page goes away. */
export async function whipDelete(resource: WhipResource, credential: Credential): Promise<void> {
  await send("DELETE", resource.url, credential, {}, undefined, true);
}

async function send(
  method: string, url: string, credential: Credential, headers: Record<string, string>, body?: string, keepalive = false,
): Promise<Response> {
  const all: Record<string, string> = { ...headers, Authorization: `Bearer ${credential.token}` };
  if (credential.kind === "resume") all["DPoP"] = await createProof(credential.key, { method, url, token: credential.token });
  const init: RequestInit = { method, headers: all, credentials: "omit", cache: "no-store", keepalive, signal: AbortSignal.timeout(REQUEST_TIMEOUT_MS) };
  if (body !== undefined) init.body = body;
  let response: Response;
  try {
    response = await fetch(url, init);
  } catch {
    throw new WhipError(0, "unreachable");
  }
  if (response.ok) return response;
  const problem: unknown = await response.json().catch(() => null);
  const code = typeof problem === "object" && problem !== null && "code" in problem ? String(problem.code) : `http_${response.status}`;
  throw new WhipError(response.status, code);
}
