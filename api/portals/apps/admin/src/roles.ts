import type { Role } from "@medmesh/client";

/** Every role, in the order they are offered. */
export const ROLES: readonly Role[] = [
  "patient", "clinician", "nurse", "scheduler", "pharmacist",
  "care_coordinator", "admin", "support", "auditor", "sre",
];
