/** `npm run dev [patient|clinician|admin|home] [control plane URL]`: one portal from source, the API passed on. */
import { createServer } from "vite";
import { configOf, PORTALS } from "./portals.mjs";

const [name = "patient", api = "http://127.0.0.1:8080"] = process.argv.slice(2);
const portal = PORTALS.find((candidate) => candidate.name === name);
if (portal === undefined) throw new Error(`no portal named ${name}`);
const server = await createServer({ ...configOf(portal), html: {}, logLevel: "info", server: { host: "127.0.0.1", proxy: { "/v1": { target: api } } } });
await server.listen();
server.printUrls();
