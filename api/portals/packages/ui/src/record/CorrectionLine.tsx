import type { Correction } from "@medmesh/client";
import type { ReactNode } from "react";
import { Badge } from "../components/basics.tsx";
import { Icon } from "../components/Icon.tsx";
import { useI18n } from "../i18n/I18n.tsx";

/** A correction with what both sides said; `name` says whose, where that is not oneself. */
export function CorrectionLine({ correction, name, children }: { readonly correction: Correction; readonly name?: string; readonly children?: ReactNode }) {
  const { t, format } = useI18n();
  const words = t.rights.corrections;
  const isLate = correction.state === "open" && new Date(correction.due_at) < new Date();
  const tone = correction.state === "accepted" ? "good" : correction.state === "declined" ? "off" : isLate ? "attention" : "calm";
  return (
    <li className="line" data-testid="correction" data-state={correction.state}>
      <Icon name="document" />
      <div className="line-text">
        <p className="line-title">{name ?? correction.what} <Badge tone={tone}>{isLate ? words.overdue : words.state[correction.state]}</Badge></p>
        {name !== undefined && <p>{correction.what}</p>}
        <p>{words.becauseOf(correction.why)}</p>
        <p className="muted">{words.asked(format.date(correction.requested_at))}{correction.state === "open" ? ` · ${words.due(format.date(correction.due_at))}` : ""}</p>
        {correction.decided_by && correction.decided_at && <p className="muted">{words.answeredBy(correction.decided_by.display_name, format.date(correction.decided_at))}</p>}
        {correction.reason && <p>{words.declinedBecause(correction.reason)}</p>}
        {correction.disagreement && <p>{words.disagreed(correction.disagreement.statement)}</p>}
      </div>
      {children}
    </li>
  );
}
