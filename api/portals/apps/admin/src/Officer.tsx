import type { PrivacyOfficer } from "@medmesh/client";
import { Button, Card, Dialog, errorText, Notice, SelectField, useAccount, useAttempt, useI18n, useResource } from "@medmesh/ui";
import { useState, type FormEvent } from "react";

const PEOPLE_MAX = 200;

/** Whom the clinic tells about emergency access; admins name somebody. */
export function Officer({ onNamed }: { readonly onNamed: () => void }) {
  const { t } = useI18n();
  const { api, session } = useAccount();
  const officer = useResource("officer", () => api.care.privacyOfficer());
  const [open, setOpen] = useState(false);
  const [saved, setSaved] = useState(false);
  const isAdmin = session.person.roles.includes("admin");
  return (
    <Card>
      <section className="section" aria-label={t.care.review.officer}>
        <h2>{t.care.review.officer}</h2>
        {saved && <Notice tone="good" testId="officer-saved">{t.care.review.officerSaved}</Notice>}
        {officer.error !== null && <Notice tone="error">{errorText(officer.error, t)}</Notice>}
        {officer.data !== null && <p data-testid="officer">{officer.data.person ? t.care.review.officerName(officer.data.person.display_name) : t.care.review.officerNone}</p>}
        {isAdmin && officer.data !== null && <div className="row"><Button onClick={() => setOpen(true)} data-testid="officer-change">{t.care.review.officerChange}</Button></div>}
      </section>
      {open && officer.data !== null && <Name officer={officer.data} onClose={() => setOpen(false)} onNamed={(next) => { officer.replace(next); setOpen(false); setSaved(true); onNamed(); }} />}
    </Card>
  );
}

function Name({ officer, onClose, onNamed }: { readonly officer: PrivacyOfficer; readonly onClose: () => void; readonly onNamed: (officer: PrivacyOfficer) => void }) {
  const { t } = useI18n();
  const { api } = useAccount();
  const [person, setPerson] = useState(officer.person?.id ?? "");
  const people = useResource("staff", async () => (await api.people({ limit: PEOPLE_MAX })).items.filter(({ active, roles }) => active && roles.some((role) => role !== "patient")));
  const { busy, error, attempt } = useAttempt();
  const submit = (event: FormEvent) => {
    event.preventDefault();
    void attempt(async () => onNamed(await api.care.privacyOfficerSet(officer, person)));
  };
  return (
    <Dialog title={t.care.review.officer} onClose={onClose} testId="officer-dialog">
      <form className="form" onSubmit={submit}>
        <SelectField label={t.care.member} required value={person} onChange={(event) => setPerson(event.target.value)} data-testid="officer-person">
          <option value="">{t.care.chooseMember}</option>
          {(people.data ?? []).map((known) => <option key={known.id} value={known.id}>{known.display_name}</option>)}
        </SelectField>
        {error !== null && <Notice tone="error" testId="officer-error">{errorText(error, t)}</Notice>}
        <div className="row row-end"><Button onClick={onClose}>{t.common.cancel}</Button><Button type="submit" tone="primary" busy={busy} data-testid="officer-submit">{t.care.review.officerChange}</Button></div>
      </form>
    </Dialog>
  );
}
