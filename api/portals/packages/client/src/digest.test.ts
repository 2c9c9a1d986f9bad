import { describe, expect, it } from "vitest";
import { sha256Of } from "./index.ts";

describe("digest of a file", () => {
  it("is that of FIPS 180-4, with the digits a leading zero needs", async () => {
    expect(await sha256Of(new Blob(["abc"]))).toBe("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    // Begins with a zero: `sha256sum` of the two digits.
    expect(await sha256Of(new Blob(["39"]))).toBe("0b918943df0962bc7a1824c0555a389347b4febdc7cf9d1254406d80ce44e3f9");
    expect(await sha256Of(new Blob([]))).toBe("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
  });
});
