import { build } from "vite";
import { configOf, PORTALS } from "./portals.mjs";

// In order: the chooser empties `dist`, the others build into it.
for (const portal of PORTALS) await build(configOf(portal));
