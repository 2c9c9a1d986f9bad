import { Gate, mount } from "@medmesh/ui";
import "@medmesh/ui/styles.css";
import { Patient } from "./Patient.tsx";

mount(<Gate portal="patient" roles={["patient"]}><Patient /></Gate>);
