import { build } from "vite";
import { configOf, PORTALS } from "./portals.mjs";

for (const portal of PORTALS) await build(configOf(portal));
