/** The four builds: three portals under their own paths, and the chooser at `/`. */
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("..", import.meta.url));

export const PORTALS = [
  { name: "home", base: "/" },
  { name: "patient", base: "/patient/" },
  { name: "clinician", base: "/clinician/" },
  { name: "admin", base: "/admin/" },
];

/** Stands in the built pages where the service puts the nonce of each answer (`control-plane/src/http/portals/shell.rs`). */
export const NONCE_MARK = "__MEDMESH_NONCE__";

/** Vite's configuration of one portal. Nothing may be inlined: the pages' policy allows only what carries the answer's nonce. */
export function configOf(portal) {
  return {
    configFile: false,
    root: `${root}apps/${portal.name}`,
    base: portal.base,
    cacheDir: `${root}node_modules/.vite/${portal.name}`,
    logLevel: "warn",
    html: { cspNonce: NONCE_MARK },
    resolve: { dedupe: ["react", "react-dom"] },
    build: {
      outDir: `${root}dist/${portal.name}`,
      emptyOutDir: true,
      assetsInlineLimit: 0,
      modulePreload: { polyfill: false },
      target: "es2022",
      sourcemap: false,
      reportCompressedSize: false,
      chunkSizeWarningLimit: 600,
    },
  };
}
