import { Gate, mount } from "@medmesh/ui";
import "@medmesh/ui/styles.css";
import { Clinician } from "./Clinician.tsx";

mount(<Gate portal="clinician" roles={["clinician", "nurse", "pharmacist", "care_coordinator"]}><Clinician /></Gate>);
