import { ApiError } from "@medmesh/client";
import { Button, Card, ConsentHistory, errorText, Loading, Notice, useAccount, useI18n, usePages } from "@medmesh/ui";
import { useState } from "react";
import { NoteConsent } from "./NoteConsent.tsx";

/** What a patient agreed to; clinicians write down what was signed on paper or said before them. */
export function Consents({ patientId }: { readonly patientId: string }) {
  const { t } = useI18n();
  const { api, session } = useAccount();
  const said = usePages(`said ${patientId}`, (cursor) => api.care.consents(patientId, cursor === undefined ? {} : { cursor }));
  const [noting, setNoting] = useState(false);
  const [noted, setNoted] = useState(false);
  const isHidden = said.error instanceof ApiError && (said.error.status === 403 || said.error.status === 404);
  if (isHidden) return null;
  return (
    <Card>
      <section className="section" aria-label={t.record.consent.title}>
        <h2>{t.record.consent.title}</h2>
        {noted && <Notice tone="good" testId="consent-noted">{t.noted.consentNoted}</Notice>}
        {said.error !== null && <Notice tone="error">{errorText(said.error, t)}</Notice>}
        {said.loading && <Loading />}
        {said.isEmpty && <p className="muted">{t.noted.nothingSaid}</p>}
        {said.items.length > 0 && <ConsentHistory said={said.items} own={false} />}
        <div className="row">
          {session.person.roles.includes("clinician") && <Button icon="plus" onClick={() => { setNoted(false); setNoting(true); }} data-testid="consent-note">{t.noted.noteConsent}</Button>}
          {said.more !== null && <Button onClick={said.more}>{t.common.more}</Button>}
        </div>
      </section>
      {noting && <NoteConsent patientId={patientId} onClose={() => setNoting(false)} onNoted={() => { setNoting(false); setNoted(true); void said.reload(); }} />}
    </Card>
  );
}
