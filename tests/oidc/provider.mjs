// A real OpenID provider for the tests: `node provider.mjs REDIRECT_URI`. Prints its issuer as one
// line and ends when its standard input does.
//
// What a provider never does by itself is done at the door, told through `POST /test`:
//   { "subject": "…" }  who signs in from now on, without being asked
//   { "claims": {…} }   claims put into ID tokens before they are signed anew with the true key
//   { "forge": "none" | "hs256" | "stranger" }  how ID tokens are signed instead
//   { "rotate": true }  the signing key changes, and only the new one is shown
//   { "away": true }    every request is answered with 503
//   { "mute": true }    people are let in, but no code is redeemed: 503
import { createServer } from "node:http";
import { createHmac, createPrivateKey, createPublicKey, generateKeyPairSync, randomUUID, sign } from "node:crypto";
import * as oidc from "oidc-provider";

const Provider = oidc.Provider ?? oidc.default;
const redirectUri = process.argv[2];
const client = { id: "clinic one", secret: "a secret: with/odd characters%" };

const encode = (value) => Buffer.from(typeof value === "string" ? value : JSON.stringify(value)).toString("base64url");
const decode = (part) => JSON.parse(Buffer.from(part, "base64url").toString());

const state = { subject: "subject-1", claims: {}, forge: null, away: false, mute: false };
let issuer, provider, signer;

function rotate() {
  const { privateKey } = generateKeyPairSync("rsa", { modulusLength: 2048 });
  const kid = randomUUID();
  signer = { key: privateKey, kid };
  provider = new Provider(issuer, {
    clients: [{
      client_id: client.id,
      client_secret: client.secret,
      redirect_uris: [redirectUri],
      response_types: ["code"],
      grant_types: ["authorization_code"],
    }],
    jwks: { keys: [{ ...privateKey.export({ format: "jwk" }), kid, use: "sig", alg: "RS256" }] },
    cookies: { keys: ["of no worth"] },
    pkce: { required: () => true },
    features: { devInteractions: { enabled: false } },
    interactions: { url: (_ctx, interaction) => `/interaction/${interaction.uid}` },
    findAccount: (_ctx, id) => ({ accountId: id, claims: () => ({ sub: id }) }),
  });
  provider.on("server_error", (_ctx, error) => console.error(error));
}

/** Signs whoever it is told in, and agrees to whatever is asked. */
async function interact(request, response) {
  const { params, prompt, grantId } = await provider.interactionDetails(request, response);
  if (prompt.name === "login") {
    return provider.interactionFinished(request, response, { login: { accountId: state.subject } }, { mergeWithLastSubmission: false });
  }
  const grant = grantId ? await provider.Grant.find(grantId) : new provider.Grant({ accountId: state.subject, clientId: params.client_id });
  grant.addOIDCScope("openid");
  const consent = { grantId: await grant.save() };
  return provider.interactionFinished(request, response, { consent }, { mergeWithLastSubmission: true });
}

function forged(token) {
  const [header, body] = token.split(".");
  const claims = { ...decode(body), ...state.claims };
  const alg = { none: "none", hs256: "HS256" }[state.forge] ?? "RS256";
  const input = `${encode({ ...decode(header), alg })}.${encode(claims)}`;
  if (alg === "none") return `${input}.`;
  if (alg === "HS256") {
    const secret = createPublicKey(signer.key).export({ format: "pem", type: "spki" });
    return `${input}.${createHmac("sha256", secret).update(input).digest("base64url")}`;
  }
  const key = state.forge === "stranger" ? generateKeyPairSync("rsa", { modulusLength: 2048 }).privateKey : createPrivateKey(signer.key.export({ format: "pem", type: "pkcs8" }));
  return `${input}.${sign("sha256", Buffer.from(input), key).toString("base64url")}`;
}

/** Gathers the token endpoint's answer, so that its token can be another. */
function tamper(response) {
  const { write, end } = response;
  const parts = [];
  response.write = (part) => (parts.push(Buffer.from(part)), true);
  response.end = (part) => {
    if (part) parts.push(Buffer.from(part));
    let body = Buffer.concat(parts).toString();
    if (response.statusCode === 200) {
      const tokens = JSON.parse(body);
      body = JSON.stringify({ ...tokens, id_token: forged(tokens.id_token) });
      response.setHeader("content-length", Buffer.byteLength(body));
    }
    response.write = write;
    end.call(response, body);
    return response;
  };
}

async function told(request, response) {
  const parts = [];
  for await (const part of request) parts.push(part);
  const order = JSON.parse(Buffer.concat(parts).toString());
  if (order.rotate) rotate();
  for (const name of ["subject", "claims", "forge", "away", "mute"]) if (name in order) state[name] = order[name];
  response.writeHead(204).end();
}

const server = createServer(async (request, response) => {
  try {
    if (request.url === "/test") return await told(request, response);
    if (state.away || (state.mute && request.url === "/token")) return response.writeHead(503).end();
    if (request.url.startsWith("/interaction/")) return await interact(request, response);
    if (request.url === "/token" && (state.forge || Object.keys(state.claims).length)) tamper(response);
    return await provider.callback()(request, response);
  } catch (error) {
    console.error(error);
    if (!response.headersSent) response.writeHead(500);
    response.end();
  }
});
server.listen(0, "127.0.0.1", () => {
  issuer = `http://127.0.0.1:${server.address().port}`;
  rotate();
  console.log(issuer);
});
process.stdin.resume().on("end", () => process.exit(0));
