import { usePath, VisitPage } from "@medmesh/ui";
import { Schedule } from "./Schedule.tsx";

export function Clinician() {
  const [place, visitId, call] = usePath();
  if (place === "visit" && visitId !== undefined) return <VisitPage key={visitId} visitId={visitId} inCall={call === "call"} />;
  return <Schedule />;
}
