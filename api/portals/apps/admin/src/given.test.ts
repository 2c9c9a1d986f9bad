import { describe, expect, it } from "vitest";
import { earliestDay } from "./given.ts";

describe("the first day of an account", () => {
  it("is the same day six years before, and never earlier", () => {
    expect(earliestDay("2026-11-22")).toBe("2020-11-22");
    expect(earliestDay("2026-01-01")).toBe("2020-01-01");
    // 2022 has no such day.
    expect(earliestDay("2028-02-29")).toBe("2022-03-01");
  });
});
