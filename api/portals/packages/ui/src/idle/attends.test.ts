import type { Visit, VisitParticipant } from "@medmesh/client";
import { describe, expect, it } from "vitest";
import { attends } from "./attends.ts";

const END = Date.parse("2026-11-22T10:00:00Z");
const CLOSES = END + 2 * 3_600_000;
const visit = (state: Visit["state"]) => ({ state, ends_at: "2026-11-22T10:00:00Z" }) as Visit;
const you = (state: VisitParticipant["state"]) => ({ state }) as VisitParticipant;
const away = { connected: false, others: 0 };

describe("who touches nothing is at a visit", () => {
  it("in a conversation, however long", () => {
    expect(attends(visit("open"), you("in_call"), { connected: true, others: 1 }, CLOSES + 1)).toBe(true);
  });

  it("in the waiting room or alone in the room, until nobody gets in any more", () => {
    for (const [participant, presence] of [[you("waiting"), away], [you("in_call"), { connected: true, others: 0 }]] as const) {
      expect(attends(visit("open"), participant, presence, CLOSES - 1)).toBe(true);
      expect(attends(visit("open"), participant, presence, CLOSES)).toBe(false);
    }
  });

  it("and nowhere else", () => {
    for (const state of ["expected", "admitted", "left"] as const) expect(attends(visit("open"), you(state), away, END)).toBe(false);
    expect(attends(visit("ended"), you("waiting"), { connected: true, others: 2 }, END)).toBe(false);
    expect(attends(null, null, { connected: true, others: 2 }, END)).toBe(false);
    expect(attends(visit("open"), null, away, END)).toBe(false);
  });
});
