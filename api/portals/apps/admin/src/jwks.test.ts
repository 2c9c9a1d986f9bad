import { describe, expect, it } from "vitest";
import { keysAfter, pastedKeys } from "./jwks.ts";

const key = (kid: string, more: object = {}) => ({ kty: "EC", crv: "P-384", kid, x: "x", y: "y", ...more });

describe("pasted keys", () => {
  it("are a set, a list or one key", () => {
    const keys = [key("a"), key("b")];
    expect(pastedKeys(JSON.stringify({ keys }))).toEqual({ keys });
    expect(pastedKeys(JSON.stringify(keys))).toEqual({ keys });
    expect(pastedKeys(` ${JSON.stringify(key("a"))}\n`)).toEqual({ keys: [key("a")] });
  });

  it("are never private ones: those stay in the browser", () => {
    for (const member of ["d", "p", "q", "dp", "dq", "qi", "oth", "k"]) {
      expect(pastedKeys(JSON.stringify({ keys: [key("a"), key("b", { [member]: "secret" })] })), member).toEqual({ fault: "private" });
    }
  });

  it("are nothing else", () => {
    for (const text of ["", "{", "7", "null", "[7]", "{}", "[null]", '{"keys":{}}', '{"keys":[{"kty":"EC"}]}', '{"kid":"a"}', '{"kty":"EC","kid":""}', "-----BEGIN PUBLIC KEY-----"]) {
      expect(pastedKeys(text), text).toEqual({ fault: "malformed" });
    }
  });

  it("come beside those that stay", () => {
    const after = (gone: string[], ...added: string[]) => keysAfter([key("a"), key("b")], gone, added.map((kid) => key(kid, { x: "new" }))).map(({ kid, x }) => `${kid} ${x as string}`);
    expect(after([])).toEqual(["a x", "b x"]);
    expect(after(["a"], "c")).toEqual(["b x", "c new"]);
    expect(after([], "b")).toEqual(["a x", "b new"]);
    expect(after(["a", "b"])).toEqual([]);
  });
});
