import { ApiError, type Person } from "@medmesh/client";
import { AccessLine, Button, Card, DisclosureLine, errorText, ListFrame, Notice, PatientFinder, useAccount, useI18n, usePages, useResource } from "@medmesh/ui";
import { useState } from "react";
import { NoteDisclosure } from "./NoteDisclosure.tsx";

/** What of somebody's record left the clinic, and who saw it here: the privacy officer notes and answers for it, the patient reads it. */
export function Disclosures() {
  const { t } = useI18n();
  const { api, session } = useAccount();
  const officer = useResource("officer", () => api.care.privacyOfficer());
  const [found, setFound] = useState<readonly Person[] | null>(null);
  const [patient, setPatient] = useState<Person | null>(null);
  const isOther = officer.data !== null && officer.data.person?.id !== session.person.id;
  return (
    <>
      <header className="page-head">
        <h1>{t.noted.title}</h1>
        <p className="lead">{t.noted.lead}</p>
      </header>
      {officer.error !== null && <Notice tone="error">{errorText(officer.error, t)}</Notice>}
      {isOther && <Notice testId="disclosures-not-officer">{t.noted.notOfficer}</Notice>}
      {officer.data !== null && !isOther && (patient === null
        ? <PatientFinder found={found} onFound={setFound} onPick={setPatient} />
        : <Account key={patient.id} patient={patient} onBack={() => setPatient(null)} />)}
    </>
  );
}

function Account({ patient, onBack }: { readonly patient: Person; readonly onBack: () => void }) {
  const { t } = useI18n();
  const { api } = useAccount();
  const given = usePages(`given ${patient.id}`, (cursor) => api.audit.disclosures(patient.id, cursor === undefined ? {} : { cursor }));
  const [noting, setNoting] = useState(false);
  const [noted, setNoted] = useState(false);
  const isRefused = given.error instanceof ApiError && (given.error.status === 403 || given.error.status === 404);
  return (
    <section className="section" aria-label={t.noted.accountOf(patient.display_name)}>
      <div className="page-head-row">
        <div>
          <Button tone="quiet" icon="left" onClick={onBack} data-testid="disclosures-back">{t.care.back}</Button>
          <h2 data-testid="disclosures-of">{t.noted.accountOf(patient.display_name)}</h2>
        </div>
        {!isRefused && <Button icon="plus" tone="primary" onClick={() => { setNoted(false); setNoting(true); }} data-testid="disclosure-new">{t.noted.noteDisclosure}</Button>}
      </div>
      {noted && <Notice tone="good" testId="disclosure-noted">{t.noted.disclosureNoted}</Notice>}
      <ListFrame pages={given} icon="document" empty={t.noted.nothingGiven}>
        <Card><ul className="lines">{given.items.map((item) => <DisclosureLine key={item.id} item={item} />)}</ul></Card>
      </ListFrame>
      {!isRefused && <Seen patient={patient} />}
      {noting && <NoteDisclosure patient={patient} onClose={() => setNoting(false)} onNoted={() => { setNoting(false); setNoted(true); void given.reload(); }} />}
    </section>
  );
}

/** As the patient sees it, but for what they did themselves. */
function Seen({ patient }: { readonly patient: Person }) {
  const { t } = useI18n();
  const { api } = useAccount();
  const seen = usePages(`seen ${patient.id}`, (cursor) => api.audit.accesses(patient.id, { others_only: "true", ...(cursor === undefined ? {} : { cursor }) }));
  return (
    <section className="section" aria-label={t.noted.seenOf(patient.display_name)}>
      <h2>{t.noted.seenOf(patient.display_name)}</h2>
      <ListFrame pages={seen} icon="eye" empty={t.noted.seenNone}>
        <Card><ul className="lines">{seen.items.map((access) => <AccessLine key={access.id} access={access} />)}</ul></Card>
      </ListFrame>
    </section>
  );
}
