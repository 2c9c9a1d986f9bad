import { ApiError } from "@medmesh/client";
import type { Catalogue } from "../i18n/en.ts";

/** A sentence for a person; the request's number helps whoever they call. `here` says what a code means on this page. */
export function errorText(error: unknown, t: Catalogue, here: Readonly<Record<string, string>> = {}): string {
  if (!(error instanceof ApiError)) return t.errors.other;
  if (Object.hasOwn(here, error.code)) return here[error.code] ?? t.errors.other;
  const texts = t.errors as unknown as Record<string, unknown>;
  const known = Object.hasOwn(texts, error.code) ? texts[error.code] : null;
  const text = typeof known === "string" ? known : t.errors.other;
  return error.requestId === null || known !== null ? text : `${text} ${t.errors.reference(error.requestId)}`;
}
