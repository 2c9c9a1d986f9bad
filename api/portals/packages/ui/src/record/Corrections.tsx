import { CORRECTION_CHARS_MAX, type Correction } from "@medmesh/client";
import { useState } from "react";
import { useAccount } from "../account/Gate.tsx";
import { Button, Card, Check, Dialog, Notice, TextArea } from "../components/basics.tsx";
import { ListFrame } from "../components/ListFrame.tsx";
import { useAttempt } from "../hooks/attempt.ts";
import { errorText } from "../hooks/errors.ts";
import { usePages } from "../hooks/pages.ts";
import { useI18n } from "../i18n/I18n.tsx";
import { CorrectionLine } from "./CorrectionLine.tsx";

/** What patients want corrected, for whoever answers: what is due first comes first. */
export function CorrectionsPage() {
  const { t } = useI18n();
  const { api, session } = useAccount();
  const words = t.rights.corrections;
  const [onlyOpen, setOnlyOpen] = useState(true);
  const [answering, setAnswering] = useState<Correction | null>(null);
  const asked = usePages(`corrections ${onlyOpen}`, (cursor) => api.rights.correctionQueue({ ...(onlyOpen ? { state: "open" as const } : {}), ...(cursor === undefined ? {} : { cursor }) }));
  return (
    <>
      <header className="page-head">
        <h1>{words.staffTitle}</h1>
        <p className="lead">{words.staffLead}</p>
      </header>
      <Check label={words.onlyOpen} checked={onlyOpen} onChange={(event) => setOnlyOpen(event.target.checked)} data-testid="corrections-only-open" />
      <ListFrame pages={asked} icon="document" empty={words.none}>
        <Card>
          <ul className="lines">
            {asked.items.map((correction) => (
              <CorrectionLine key={correction.id} correction={correction} name={correction.patient.display_name}>
                {correction.state === "open" && correction.patient.id !== session.person.id && (
                  <Button tone="primary" onClick={() => setAnswering(correction)} aria-label={words.answerTo(correction.patient.display_name)} data-testid="correction-answer">{words.answer}</Button>
                )}
              </CorrectionLine>
            ))}
          </ul>
        </Card>
      </ListFrame>
      {answering !== null && <Answer correction={answering} onClose={() => setAnswering(null)} onAnswered={() => { setAnswering(null); void asked.reload(); }} />}
    </>
  );
}

function Answer({ correction, onClose, onAnswered }: { readonly correction: Correction; readonly onClose: () => void; readonly onAnswered: () => void }) {
  const { t } = useI18n();
  const { api } = useAccount();
  const words = t.rights.corrections;
  const [reason, setReason] = useState("");
  const { busy, error, attempt } = useAttempt();
  const accept = () => attempt(async () => { await api.rights.correctionAccept(correction); onAnswered(); });
  const decline = () => attempt(async () => { await api.rights.correctionDecline(correction, reason); onAnswered(); });
  return (
    <Dialog title={words.answerTo(correction.patient.display_name)} onClose={onClose} testId="correction-dialog">
      <p>{correction.what}</p>
      <p>{words.becauseOf(correction.why)}</p>
      <p className="muted">{words.acceptHint}</p>
      <TextArea label={words.reason} hint={words.reasonHint} value={reason} maxLength={CORRECTION_CHARS_MAX} onChange={(event) => setReason(event.target.value)} data-testid="correction-reason" />
      {error !== null && <Notice tone="error" testId="correction-error">{errorText(error, t, { state_conflict: words.answeredBefore, version_mismatch: words.answeredBefore })}</Notice>}
      <div className="row row-end">
        <Button onClick={onClose}>{t.common.cancel}</Button>
        <Button busy={busy} disabled={reason.trim() === ""} onClick={() => void decline()} data-testid="correction-decline">{words.decline}</Button>
        <Button tone="primary" busy={busy} onClick={() => void accept()} data-testid="correction-accept">{words.accept}</Button>
      </div>
    </Dialog>
  );
}
