/** The authenticator app of somebody under test (RFC 6238: SHA-1, six digits, thirty seconds). */
import { createHmac } from "node:crypto";
import { readFileSync, writeFileSync } from "node:fs";

const STEP_MS = 30_000;
const ALPHABET = "ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
/** Steps already used, shared by all test files of one system: the service takes none twice. */
const USED = `${process.env.MEDMESH_SYSTEM}.codes`;

/**
 * A code that is good now and was not used. The service takes the next step too, so that two logins in a row need not wait;
 * a third waits for the clock. (The step before may be used already: the demo books its visit with it.)
 */
export async function nextCode(secret) {
  const used = read();
  for (;;) {
    const present = Math.floor(Date.now() / STEP_MS);
    const step = Math.max(present, (used[secret] ?? 0) + 1);
    if (step <= present + 1) {
      writeFileSync(USED, JSON.stringify({ ...used, [secret]: step }));
      return code(secret, step);
    }
    await new Promise((done) => setTimeout(done, 250));
  }
}

function read() {
  try {
    return JSON.parse(readFileSync(USED, "utf8"));
  } catch {
    return {}; // Nobody has signed in yet.
  }
}

function code(secret, step) {
  const counter = Buffer.alloc(8);
  counter.writeBigUInt64BE(BigInt(step));
  const mac = createHmac("sha1", decode(secret)).update(counter).digest();
  const number = mac.readUInt32BE(mac.at(-1) & 15) & 0x7fffffff;
  return String(number % 1_000_000).padStart(6, "0");
}

function decode(secret) {
  const bits = [...secret].map((letter) => ALPHABET.indexOf(letter).toString(2).padStart(5, "0")).join("");
  return Buffer.from(bits.match(/.{8}/g).map((byte) => Number.parseInt(byte, 2)));
}
