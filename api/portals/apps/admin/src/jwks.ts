/** Public keys of a clinic's systems, as somebody pastes them (RFC 7517). What rules they keep decides the service. */
import type { Jwk } from "@medmesh/client";

/** Members that only a private or symmetric key has (RFC 7518 sections 6.2.2, 6.3.2, 6.4.1). */
const PRIVATE = ["d", "p", "q", "dp", "dq", "qi", "oth", "k"];

export type Pasted = { readonly keys: readonly Jwk[] } | { readonly fault: "malformed" | "private" };

/** Reads a key set, a list of keys, or one key. A private one must not even be sent. */
export function pastedKeys(text: string): Pasted {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return { fault: "malformed" };
  }
  const inner = isRecord(value) && "keys" in value ? value["keys"] : value;
  const keys = Array.isArray(inner) ? (inner as readonly unknown[]) : [inner];
  if (!keys.every(isKey)) return { fault: "malformed" };
  if (keys.some((key) => PRIVATE.some((member) => Object.hasOwn(key, member)))) return { fault: "private" };
  return { keys };
}

/** The set after those of `gone` went and `added` came; a new key of a name that is there takes its place. */
export function keysAfter(present: readonly Jwk[], gone: readonly string[], added: readonly Jwk[]): readonly Jwk[] {
  const named = new Set(added.map((key) => key.kid));
  return [...present.filter((key) => !gone.includes(key.kid) && !named.has(key.kid)), ...added];
}

const isRecord = (value: unknown): value is Record<string, unknown> => typeof value === "object" && value !== null && !Array.isArray(value);
const isKey = (value: unknown): value is Jwk => isRecord(value) && typeof value["kty"] === "string" && typeof value["kid"] === "string" && value["kid"] !== "";
