import { describe, expect, it } from "vitest";
import { EdgeWalk } from "./walk.ts";

/** Walks until a verdict wants a new session, at most `steps` times; answers the edges tried. */
function until(walk: EdgeWalk, status: (edge: number) => number, steps = 20): number[] {
  const tried: number[] = [];
  for (let step = 0; step < steps; step += 1) {
    const edge = walk.next();
    tried.push(edge);
    if (walk.failed(status(edge)).renew) return tried;
  }
  return tried;
}

describe("the walk along the edges of a grant", () => {
  it("begins after the edge that was lost, and pauses once per round", () => {
    const walk = new EdgeWalk(3, 0);
    const verdicts = [1, 2, 3].map(() => [walk.next(), walk.failed(0).pause]);
    expect(verdicts).toEqual([[1, false], [2, false], [0, true]]);
    expect(walk.rounds).toBe(1);
  });

  it("asks for a new session when every fall-back answers that it has no room", () => {
    expect(until(new EdgeWalk(3, 0), () => 503)).toEqual([1, 2, 0]);
    expect(until(new EdgeWalk(3, 0), () => 429)).toEqual([1, 2, 0]);
  });

  it("asks when some are silent and the others have no room", () => {
    expect(until(new EdgeWalk(3, 0), (edge) => (edge === 0 ? 0 : 503))).toEqual([1, 2, 0]);
    expect(until(new EdgeWalk(3, 0), (edge) => (edge === 1 ? 503 : 0))).toEqual([1, 2, 0]);
  });

  it("asks at once when the token is refused", () => {
    expect(until(new EdgeWalk(3, 0), () => 401)).toEqual([1]);
  });

  it("gives a silent network a second round before it asks", () => {
    expect(until(new EdgeWalk(2, 0), () => 0)).toEqual([1, 0, 1, 0]);
  });

  it("goes on asking as long as nothing takes it, a round each time", () => {
    const walk = new EdgeWalk(2, 0);
    expect(until(walk, () => 503)).toHaveLength(2);
    // The control plane did not answer: the old grant is walked again.
    expect(until(walk, () => 503)).toHaveLength(2);
    walk.restart(4);
    expect(until(walk, () => 503)).toEqual([0, 1, 2, 3]);
    expect(walk.rounds).toBe(3);
  });

  it("has one edge, or none, without losing its way", () => {
    expect(until(new EdgeWalk(1, 0), () => 503)).toEqual([0]);
    const none = new EdgeWalk(0, 0);
    expect([none.next(), none.failed(0)]).toEqual([0, { renew: false, pause: true }]);
  });
});
