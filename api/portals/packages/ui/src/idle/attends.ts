/** Whether somebody who touches nothing is at a visit all the same: the service's own rule, seen from the page. */
import type { Visit, VisitParticipant } from "@medmesh/client";

/** How long after its planned end a visit still lets people in: clinics run late. The service's `OVERRUN_MAX`. */
const OVERRUN_MS = 2 * 3_600_000;

export interface Presence {
  /** The media flow. */
  readonly connected: boolean;
  /** How many others are in the room. */
  readonly others: number;
}

/** In a conversation as long as it takes; in the waiting room, or in the room alone, until nobody gets in any more. */
export function attends(visit: Visit | null, you: VisitParticipant | null, { connected, others }: Presence, now: number): boolean {
  if (visit === null || visit.state === "ended") return false;
  if (connected && others > 0) return true;
  return (connected || you?.state === "waiting") && now < Date.parse(visit.ends_at) + OVERRUN_MS;
}
