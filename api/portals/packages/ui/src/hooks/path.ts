/** The address bar as state: `/patient/visit/<id>/call` and little else. */
import { useSyncExternalStore } from "react";

const CHANGED = "medmesh:path";

function subscribe(listener: () => void): () => void {
  window.addEventListener("popstate", listener);
  window.addEventListener(CHANGED, listener);
  return () => {
    window.removeEventListener("popstate", listener);
    window.removeEventListener(CHANGED, listener);
  };
}

/** Path segments below the portal's own base: `/patient/visit/7` → `["visit", "7"]`. */
export function usePath(): readonly string[] {
  const path = useSyncExternalStore(subscribe, () => location.pathname);
  return path.split("/").filter((part) => part !== "").slice(1).map(decodeURIComponent);
}

/** Goes to a path below the portal's base; `replace` leaves no step back. */
export function go(segments: readonly string[], replace = false): void {
  const base = location.pathname.split("/")[1] ?? "";
  const path = `/${[base, ...segments.map(encodeURIComponent)].join("/")}${segments.length === 0 ? "/" : ""}${location.search}`;
  if (path === `${location.pathname}${location.search}`) return;
  if (replace) history.replaceState(null, "", path);
  else history.pushState(null, "", path);
  window.dispatchEvent(new Event(CHANGED));
}
