import { usePath, VisitPage } from "@medmesh/ui";
import { Visits } from "./Visits.tsx";

export function Patient() {
  const [place, visitId, call] = usePath();
  if (place === "visit" && visitId !== undefined) return <VisitPage key={visitId} visitId={visitId} inCall={call === "call"} />;
  return <Visits />;
}
