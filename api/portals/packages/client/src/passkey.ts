/** Passkeys: between the API's JSON and the browser's buffers (WebAuthn Level 3 section 5.1). */

export interface PasskeyDescriptor {
  readonly type: "public-key";
  readonly id: string;
}

export interface PasskeyRequestOptions {
  readonly challenge: string;
  readonly timeout: number;
  readonly rpId: string;
  readonly allowCredentials: readonly PasskeyDescriptor[];
  readonly userVerification: "required";
}

export interface PasskeyCreationOptions {
  readonly rp: { readonly id: string; readonly name: string };
  readonly user: { readonly id: string; readonly name: string; readonly displayName: string };
  readonly challenge: string;
  readonly pubKeyCredParams: readonly { readonly type: "public-key"; readonly alg: number }[];
  readonly timeout: number;
  readonly excludeCredentials: readonly PasskeyDescriptor[];
  readonly authenticatorSelection: { readonly residentKey: "required"; readonly requireResidentKey: boolean; readonly userVerification: "required" };
  readonly attestation: "none";
}

export interface PasskeyAssertion {
  readonly id: string;
  readonly response: { readonly clientDataJSON: string; readonly authenticatorData: string; readonly signature: string; readonly userHandle?: string };
}

export interface PasskeyRegistration {
  readonly id: string;
  readonly response: { readonly clientDataJSON: string; readonly attestationObject: string };
}

/** Whether this browser knows passkeys at all. */
export function hasPasskeys(): boolean {
  return typeof PublicKeyCredential === "function" && navigator.credentials !== undefined;
}

/** Asks the device for a passkey. `null` when the person thought better of it. */
export async function passkeyGet(options: PasskeyRequestOptions): Promise<PasskeyAssertion | null> {
  const credential = await asked(() => navigator.credentials.get({
    publicKey: { ...options, challenge: bytes(options.challenge), allowCredentials: options.allowCredentials.map(descriptor) },
  }));
  if (credential === null) return null;
  const response = credential.response as AuthenticatorAssertionResponse;
  return {
    id: credential.id,
    response: {
      clientDataJSON: text(response.clientDataJSON),
      authenticatorData: text(response.authenticatorData),
      signature: text(response.signature),
      ...(response.userHandle === null ? {} : { userHandle: text(response.userHandle) }),
    },
  };
}

/** Has the device make a passkey. `null` when the person thought better of it. */
export async function passkeyCreate(options: PasskeyCreationOptions): Promise<PasskeyRegistration | null> {
  const credential = await asked(() => navigator.credentials.create({
    publicKey: {
      ...options,
      challenge: bytes(options.challenge),
      user: { ...options.user, id: bytes(options.user.id) },
      pubKeyCredParams: [...options.pubKeyCredParams],
      excludeCredentials: options.excludeCredentials.map(descriptor),
    },
  }));
  if (credential === null) return null;
  const response = credential.response as AuthenticatorAttestationResponse;
  return { id: credential.id, response: { clientDataJSON: text(response.clientDataJSON), attestationObject: text(response.attestationObject) } };
}

async function asked(ask: () => Promise<Credential | null>): Promise<PublicKeyCredential | null> {
  try {
    return (await ask()) as PublicKeyCredential | null;
  } catch (error) {
    // Cancelled, timed out, or nothing on this device fits: browsers do not say which.
    if (error instanceof DOMException && (error.name === "NotAllowedError" || error.name === "AbortError" || error.name === "InvalidStateError")) return null;
    throw error;
  }
}

const descriptor = ({ type, id }: PasskeyDescriptor) => ({ type, id: bytes(id) });

/** Base64url, as bytes. */
export function bytes(encoded: string): Uint8Array<ArrayBuffer> {
  return Uint8Array.from(atob(encoded.replaceAll("-", "+").replaceAll("_", "/")), (character) => character.charCodeAt(0));
}

/** Bytes, as base64url without padding. */
export function text(buffer: ArrayBuffer): string {
  const plain = Array.from(new Uint8Array(buffer), (byte) => String.fromCharCode(byte)).join("");
  return btoa(plain).replaceAll("+", "-").replaceAll("/", "_").replace(/=+$/, "");
}
