import type { Person } from "@medmesh/client";
import { Avatar, Button, Card, Check, Empty, errorText, go, Icon, Notice, TextField, useAccount, useAttempt, useI18n, usePath } from "@medmesh/ui";
import { useState, type FormEvent } from "react";
import { PatientPage } from "./PatientPage.tsx";

/** Finding a patient by name. Who was found stays in memory: names are not for the address bar. */
export function Patients() {
  const { t } = useI18n();
  const { api } = useAccount();
  const [, patientId] = usePath();
  const [name, setName] = useState("");
  const [emergency, setEmergency] = useState(false);
  const [found, setFound] = useState<readonly Person[] | null>(null);
  const { busy, error, attempt } = useAttempt();
  const search = (event: FormEvent) => {
    event.preventDefault();
    void attempt(async () => setFound(await api.care.patientSearch(name.trim(), emergency)));
  };
  if (patientId !== undefined) return <PatientPage key={patientId} patientId={patientId} name={found?.find((person) => person.id === patientId)?.display_name ?? null} />;
  return (
    <>
      <header className="page-head">
        <h1>{t.care.patients}</h1>
        <p className="lead">{t.care.lead}</p>
      </header>
      <form className="row row-form" onSubmit={search} role="search">
        <TextField label={t.care.search} hint={t.care.searchHint} required maxLength={120} autoComplete="off" value={name} onChange={(event) => setName(event.target.value)} data-testid="patient-search" />
        <Button type="submit" tone="primary" busy={busy} data-testid="patient-search-submit">{t.care.searchSubmit}</Button>
      </form>
      <Check label={t.rights.rest.emergency} hint={t.rights.rest.emergencyHint} checked={emergency} onChange={(event) => setEmergency(event.target.checked)} data-testid="patient-emergency" />
      {error !== null && <Notice tone="error">{errorText(error, t)}</Notice>}
      {found?.length === 0 && <Card><Empty icon="people" title={t.care.noMatch}>{t.care.noMatchHint}</Empty></Card>}
      {found !== null && found.length > 0 && (
        <ul className="doors doors-close">
          {found.map((person) => (
            <li key={person.id}>
              <button type="button" className="door" onClick={() => go(["patients", person.id])} data-testid="patient-match">
                <Avatar name={person.display_name} id={person.id} />
                <strong>{person.display_name}</strong>
                <Icon name="right" />
              </button>
            </li>
          ))}
        </ul>
      )}
    </>
  );
}
