/** Coming back from an outside sign-in that came to nothing: `?oidc=refused&code=…`. */
import type { Catalogue } from "../i18n/en.ts";

/** The code, taken out of the address so that a reload does not repeat it. */
export function takeRefusal(): string | null {
  const query = new URLSearchParams(location.search);
  if (query.get("oidc") !== "refused") return null;
  const code = query.get("code") ?? "";
  query.delete("oidc");
  query.delete("code");
  const rest = query.size === 0 ? "" : `?${query.toString()}`;
  history.replaceState(null, "", location.pathname + rest + location.hash);
  return code;
}

/** What it says to a person; an address can be written by anybody, so only known codes have words. */
export function refusalText(code: string, t: Catalogue): string {
  const texts: Readonly<Record<string, string>> = t.signIn.outside.refused;
  return Object.hasOwn(texts, code) ? texts[code] ?? t.signIn.outside.refused.other : t.signIn.outside.refused.other;
}

/** The clinic whose page to sign in this is, if its address says so. */
export function clinicOfPage(): string | null {
  return new URLSearchParams(location.search).get("clinic");
}
