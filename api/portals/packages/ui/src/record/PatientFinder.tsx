import type { Person } from "@medmesh/client";
import { useState, type FormEvent } from "react";
import { useAccount } from "../account/Gate.tsx";
import { Avatar, Button, Card, Check, Empty, Notice, TextField } from "../components/basics.tsx";
import { Icon } from "../components/Icon.tsx";
import { useAttempt } from "../hooks/attempt.ts";
import { errorText } from "../hooks/errors.ts";
import { useI18n } from "../i18n/I18n.tsx";

interface Props {
  /** Who was found before; kept by the page, in memory: names are not for the address bar. */
  readonly found: readonly Person[] | null;
  readonly onFound: (found: readonly Person[]) => void;
  readonly onPick: (person: Person) => void;
  /** Offers to look for those whose record rests, too. */
  readonly urgent?: boolean;
}

/** Finding a patient by name, spelt roughly. */
export function PatientFinder({ found, onFound, onPick, urgent = false }: Props) {
  const { t } = useI18n();
  const { api } = useAccount();
  const [name, setName] = useState("");
  const [emergency, setEmergency] = useState(false);
  const { busy, error, attempt } = useAttempt();
  const search = (event: FormEvent) => {
    event.preventDefault();
    void attempt(async () => onFound(await api.care.patientSearch(name.trim(), emergency)));
  };
  return (
    <>
      <form className="row row-form" onSubmit={search} role="search">
        <TextField label={t.care.search} hint={t.care.searchHint} required maxLength={120} autoComplete="off" value={name} onChange={(event) => setName(event.target.value)} data-testid="patient-search" />
        <Button type="submit" tone="primary" busy={busy} data-testid="patient-search-submit">{t.care.searchSubmit}</Button>
      </form>
      {urgent && <Check label={t.rights.rest.emergency} hint={t.rights.rest.emergencyHint} checked={emergency} onChange={(event) => setEmergency(event.target.checked)} data-testid="patient-emergency" />}
      {error !== null && <Notice tone="error" testId="patient-search-error">{errorText(error, t)}</Notice>}
      {found?.length === 0 && <Card><Empty icon="people" title={t.care.noMatch}>{t.care.noMatchHint}</Empty></Card>}
      {found !== null && found.length > 0 && (
        <ul className="doors doors-close">
          {found.map((person) => (
            <li key={person.id}>
              <button type="button" className="door" onClick={() => onPick(person)} data-testid="patient-match">
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
