/** What the tabs of a browser tell each other: when somebody was last there, and that somebody came or went. Times and a count, nothing of anyone. */
import type { Stamps } from "./watch.ts";

const ACTIVE = "medmesh.active";
const TURN = "medmesh.turn";

/** In the browser's storage: unlike a message, it also reaches a tab that was frozen. Where storage is denied each tab is on its own. */
export const stamps: Stamps = {
  active: () => {
    const at = Number(read(ACTIVE) ?? "");
    return Number.isFinite(at) && at > 0 ? at : null;
  },
  setActive: (at) => write(ACTIVE, String(at)),
  turn: () => read(TURN),
};

/** Somebody signed in or out here: other tabs no longer show what was for whom they knew. */
export function takeTurn(): void {
  write(TURN, crypto.randomUUID());
}

/** Calls when another tab came to another stamp; until the returned function is called. */
export function onStamps(handler: (turned: boolean) => void): () => void {
  const changed = ({ key }: StorageEvent) => {
    if (key === ACTIVE || key === TURN || key === null) handler(key !== ACTIVE);
  };
  window.addEventListener("storage", changed);
  return () => window.removeEventListener("storage", changed);
}

function read(key: string): string | null {
  try {
    return localStorage.getItem(key);
  } catch {
    return null;
  }
}

function write(key: string, value: string): void {
  try {
    localStorage.setItem(key, value);
  } catch {
    // Denied or full: this tab still knows.
  }
}
