import { Gate, mount } from "@medmesh/ui";
import "@medmesh/ui/styles.css";
import { Admin } from "./Admin.tsx";

mount(<Gate portal="admin" roles={["admin"]}><Admin /></Gate>);
