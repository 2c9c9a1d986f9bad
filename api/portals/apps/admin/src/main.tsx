import type { Role } from "@medmesh/client";
import { Gate, mount } from "@medmesh/ui";
import "@medmesh/ui/styles.css";
import { Admin } from "./Admin.tsx";

/** Everybody who works at a clinic; what each finds here goes by their roles. */
const STAFF: readonly Role[] = ["admin", "scheduler", "support", "auditor", "sre", "clinician", "nurse", "pharmacist", "care_coordinator"];

mount(<Gate portal="admin" roles={STAFF}><Admin /></Gate>);
