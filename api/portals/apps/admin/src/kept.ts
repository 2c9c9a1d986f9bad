/** What an auditor kept from an earlier day: a head of the log, or something that holds one. */

/** A head with its signatures, or a proof with one in it, is far smaller. */
export const KEPT_BYTES_MAX = 262_144;

/** How many entries a kept head covers: JSON with a `checkpoint`, or the checkpoint itself (C2SP tlog-checkpoint). Nothing where it is neither. */
export function keptSize(text: string): number | null {
  const lines = checkpointOf(text).split("\n");
  const size = lines[1] ?? "";
  const isHead = lines.length > 4 && lines[0] !== "" && lines[2] !== "" && lines[3] === "" && /^[1-9][0-9]{0,15}$/.test(size);
  return isHead ? Number(size) : null;
}

function checkpointOf(text: string): string {
  try {
    const held: unknown = JSON.parse(text);
    const note = typeof held === "object" && held !== null && "checkpoint" in held ? held.checkpoint : null;
    return typeof note === "string" ? note : "";
  } catch {
    return text;
  }
}
