/** Links into the sign-in page. What they carry stands in the fragment, which browsers send to nobody. */

const SET_PASSWORD = "#set-password=";

export interface Link {
  readonly kind: "set-password";
  readonly value: string;
}

/** The link that led here, taken out of the address so that neither history nor a screenshot keeps it. */
export function takeLink(): Link | null {
  if (!location.hash.startsWith(SET_PASSWORD)) return null;
  const value = location.hash.slice(SET_PASSWORD.length);
  history.replaceState(null, "", location.pathname + location.search);
  return { kind: "set-password", value };
}
