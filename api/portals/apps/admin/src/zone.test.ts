import { describe, expect, it } from "vitest";
import { addDays, instantAt, mondayOf, wallTime } from "./zone.ts";

const at = (date: string, time: string, zone: string) => instantAt({ date, time }, zone).toISOString();

describe("the clinic's wall clock", () => {
  it("goes to instants and back in any zone", () => {
    for (const zone of ["UTC", "Europe/Madrid", "America/Los_Angeles", "Asia/Kathmandu", "Pacific/Auckland"]) {
      for (const date of ["2026-01-15", "2026-03-29", "2026-07-01", "2026-10-25", "2026-11-22"]) {
        const wall = { date, time: "14:45" };
        expect(wallTime(instantAt(wall, zone), zone)).toEqual(wall);
      }
    }
  });

  it("knows summer and winter", () => {
    expect(at("2026-07-01", "09:00", "Europe/Madrid")).toBe("2026-07-01T07:00:00.000Z");
    expect(at("2026-12-01", "09:00", "Europe/Madrid")).toBe("2026-12-01T08:00:00.000Z");
  });

  it("takes the first of two equal times and goes past a skipped one", () => {
    expect(at("2026-10-25", "02:30", "Europe/Madrid")).toBe("2026-10-25T00:30:00.000Z");
    expect(at("2026-03-29", "02:30", "Europe/Madrid")).toBe("2026-03-29T01:30:00.000Z");
  });

  it("finds weeks", () => {
    expect(mondayOf("2026-11-22")).toBe("2026-11-16");
    expect(mondayOf("2026-11-23")).toBe("2026-11-23");
    expect(addDays("2026-12-31", 1)).toBe("2027-01-01");
  });
});
