/** The browser's own key: what makes a stolen resume token useless (RFC 7800 `cnf`, proofs by RFC 9449). */

const ALGORITHM = { name: "ECDSA", namedCurve: "P-256" } as const;

export interface ProofKey {
  /** Public JWK with the members RFC 7638 hashes, and no others. */
  readonly publicJwk: { readonly kty: "EC"; readonly crv: "P-256"; readonly x: string; readonly y: string };
  readonly privateKey: CryptoKey;
}

/** A P-256 pair whose private half never leaves the browser's key store. */
export async function createProofKey(): Promise<ProofKey> {
  const pair = await crypto.subtle.generateKey(ALGORITHM, false, ["sign", "verify"]);
  const { x, y } = await crypto.subtle.exportKey("jwk", pair.publicKey);
  if (x === undefined || y === undefined) throw new Error("an exported P-256 key has two coordinates");
  return { publicJwk: { kty: "EC", crv: "P-256", x, y }, privateKey: pair.privateKey };
}

export interface ProofRequest {
  readonly method: string;
  readonly url: string;
  /** The access token the proof accompanies; hashed into `ath` (RFC 9449 §4.3). */
  readonly token: string;
}

/** One DPoP proof (RFC 9449 §4.2): single use, so make one per request. */
export async function createProof(key: ProofKey, request: ProofRequest, nowMs: number = Date.now()): Promise<string> {
  const url = new URL(request.url);
  const tokenHash = await crypto.subtle.digest("SHA-256", new TextEncoder().encode(request.token));
  const header = { typ: "dpop+jwt", alg: "ES256", jwk: key.publicJwk };
  const claims = {
    htm: request.method,
    htu: `${url.origin}${url.pathname}`,
    iat: Math.floor(nowMs / 1000),
    jti: crypto.randomUUID(),
    ath: base64Url(new Uint8Array(tokenHash)),
  };
  const input = `${base64UrlJson(header)}.${base64UrlJson(claims)}`;
  const signature = await crypto.subtle.sign({ name: "ECDSA", hash: "SHA-256" }, key.privateKey, new TextEncoder().encode(input));
  return `${input}.${base64Url(new Uint8Array(signature))}`;
}

function base64UrlJson(value: unknown): string {
  return base64Url(new TextEncoder().encode(JSON.stringify(value)));
}

export function base64Url(bytes: Uint8Array): string {
  return btoa(String.fromCharCode(...bytes)).replaceAll("+", "-").replaceAll("/", "_").replaceAll("=", "");
}
