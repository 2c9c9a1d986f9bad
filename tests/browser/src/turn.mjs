/** A relay that stands by itself: the real `medmesh-turn` on this machine, over UDP, TCP and TLS. */
import assert from "node:assert/strict";
import { execFileSync, spawn } from "node:child_process";
import { closeSync, mkdirSync, openSync, readFileSync, writeFileSync } from "node:fs";
import { createServer } from "node:net";
import { join } from "node:path";

const PATIENCE_MS = 60_000;
const PROGRAM = join(process.env.MEDMESH_BINARIES ?? "target/debug", "medmesh-turn");

const freePort = () => new Promise((resolve) => {
  const server = createServer().listen(0, "127.0.0.1", () => {
    const { port } = server.address();
    server.close(() => resolve(port));
  });
});

/** An authority of the hospital's own, which the browsers of `home` trust, and its certificate for 127.0.0.1. */
function certificate(directory, home) {
  const at = (name) => join(directory, name);
  const openssl = (...args) => execFileSync("openssl", args, { stdio: "ignore" });
  const fresh = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
  openssl("req", "-x509", ...fresh, "-days", "2", "-subj", "/CN=hospital", "-addext", "basicConstraints=critical,CA:TRUE",
    "-keyout", at("ca.key"), "-out", at("ca.pem"));
  openssl("req", ...fresh, "-subj", "/CN=relay", "-keyout", at("key.pem"), "-out", at("request.pem"));
  writeFileSync(at("extensions"), "subjectAltName=IP:127.0.0.1\nbasicConstraints=CA:FALSE\nextendedKeyUsage=serverAuth\n");
  openssl("x509", "-req", "-in", at("request.pem"), "-CA", at("ca.pem"), "-CAkey", at("ca.key"), "-days", "2", "-extfile", at("extensions"), "-out", at("cert.pem"));
  const database = join(home, ".pki/nssdb");
  mkdirSync(database, { recursive: true });
  execFileSync("certutil", ["-d", `sql:${database}`, "-N", "--empty-password"]);
  execFileSync("certutil", ["-d", `sql:${database}`, "-A", "-t", "C,,", "-n", "hospital", "-i", at("ca.pem")]);
}

/**
 * Starts one in a directory of its own; `peers` are the lines of `[peers]`. Browsers that run with `home` as HOME trust
 * its certificate.
 */
export async function startRelay(directory, peers) {
  const home = join(directory, "home");
  certificate(directory, home);
  const secrets = join(directory, "turn.secrets");
  execFileSync(PROGRAM, ["secrets", "rotate", "--file", secrets], { stdio: "ignore" });
  const ports = { turn: await freePort(), tls: await freePort(), admin: await freePort() };
  const config = join(directory, "turn.toml");
  writeFileSync(config, `
[turn]
listen = ["127.0.0.1:${ports.turn}"]
relay = ["127.0.0.1"]
secrets_file = "${secrets}"
[[turn.tcp]]
listen = "127.0.0.1:${ports.turn}"
[[turn.tls]]
listen = "127.0.0.1:${ports.tls}"
[turn.certificate]
cert_file = "${join(directory, "cert.pem")}"
key_file = "${join(directory, "key.pem")}"
[peers]
${peers}
[admin]
listen = "127.0.0.1:${ports.admin}"
`);
  const log = openSync(join(directory, "turn.log"), "w");
  const child = spawn(PROGRAM, ["--config", config], { stdio: ["ignore", log, log] });
  closeSync(log);
  const admin_url = `http://127.0.0.1:${ports.admin}`;
  const deadline = Date.now() + PATIENCE_MS;
  while (!await fetch(`${admin_url}/healthz`).then((answer) => answer.ok, () => false)) {
    assert.ok(Date.now() < deadline && child.exitCode === null, `the relay starts: ${readFileSync(join(directory, "turn.log"))}`);
  }
  return {
    child, home, secrets, admin_url,
    ca: join(directory, "ca.pem"),
    secret: readFileSync(secrets, "utf8").trim().split(/\s+/)[1],
    urls: {
      udp: `turn:127.0.0.1:${ports.turn}?transport=udp`,
      tcp: `turn:127.0.0.1:${ports.turn}?transport=tcp`,
      tls: `turns:127.0.0.1:${ports.tls}?transport=tcp`,
    },
    /** One sample, by its whole name; `undefined` until there is one. */
    async sample(name) {
      const text = await (await fetch(`${admin_url}/metrics`)).text();
      const line = text.split("\n").find((one) => one.startsWith(`${name} `));
      return line && Number(line.slice(name.length + 1));
    },
    stop: () => child.kill("SIGKILL"),
  };
}
