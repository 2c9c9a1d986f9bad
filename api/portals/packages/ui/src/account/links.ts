/** Links into the sign-in page. What they carry stands in the fragment, which browsers send to nobody. */

const SET_PASSWORD = "#set-password=";
const REGISTER = "#register=";
/** Before a clinic's number: where its patients register. */
export const SIGN_UP = "#sign-up=";

export interface Link {
  readonly kind: "set-password" | "register" | "sign-up";
  /** A token, or for `sign-up` the clinic. */
  readonly value: string;
}

/** The link that led here, taken out of the address so that neither history nor a screenshot keeps it. */
export function takeLink(): Link | null {
  const kinds = [["set-password", SET_PASSWORD], ["register", REGISTER], ["sign-up", SIGN_UP]] as const;
  const found = kinds.find(([, fragment]) => location.hash.startsWith(fragment));
  if (found === undefined) return null;
  const [kind, fragment] = found;
  const value = location.hash.slice(fragment.length);
  // Where one signs up is no secret, and may be reloaded.
  if (kind !== "sign-up") history.replaceState(null, "", location.pathname + location.search);
  return { kind, value };
}
