import { describe, expect, it } from "vitest";
import { keptSize } from "./kept.ts";

const NOTE = "medmesh/north/audit/c1\n1234\nAAAA=\n\n\u2014 medmesh/north/audit/c1 Zm9vYmFy\n";

describe("a kept head", () => {
  it("is a checkpoint, or a file that holds one", () => {
    expect(keptSize(NOTE)).toBe(1234);
    expect(keptSize(JSON.stringify({ size: 9, checkpoint: NOTE, key: "k" }))).toBe(1234);
    expect(keptSize(JSON.stringify({ leaf_index: 3, path: [], checkpoint: NOTE }))).toBe(1234);
  });

  it("is nothing else", () => {
    const wrong = [
      "", "{", "null", "[]", "17", "{}", JSON.stringify({ checkpoint: 7 }), "one\ntwo\nthree\n\n\u2014 x y\n", NOTE.replace("1234", "0"), NOTE.replace("1234", "-1"),
      NOTE.replace("1234", "12x"), NOTE.replace("1234", "99999999999999999999"), NOTE.split("\n").slice(0, 3).join("\n"), NOTE.replace("\n\n", "\n"),
    ];
    for (const text of wrong) expect(keptSize(text), text).toBeNull();
  });
});
