import { newIdempotencyKey, type Person, type Role } from "@medmesh/client";
import { Avatar, Badge, Button, Card, Check, Dialog, Empty, errorText, LANGUAGE_NAMES, LANGUAGES, Loading, Notice, SelectField, TextField, useAccount, useI18n, useResource } from "@medmesh/ui";
import { useRef, useState, type FormEvent } from "react";

const ROLES: readonly Role[] = [
  "patient", "clinician", "nurse", "scheduler", "pharmacist",
  "care_coordinator", "admin", "support", "auditor", "sre",
];
const PAGE = 50;
const PASSWORD_CHARS_MIN = 15;

export function People() {
  const { t } = useI18n();
  const { api } = useAccount();
  const [role, setRole] = useState<Role | "">("");
  const [more, setMore] = useState<{ items: readonly Person[]; cursor: string | null } | null>(null);
  const [creating, setCreating] = useState(false);
  const [created, setCreated] = useState<string | null>(null);
  const query = role === "" ? { limit: PAGE } : { role, limit: PAGE };
  const people = useResource(role, () => api.people(query));
  const cursor = more === null ? people.data?.next_cursor ?? null : more.cursor;
  const shown = [...(people.data?.items ?? []), ...(more?.items ?? [])];

  const loadMore = async () => {
    if (cursor === null) return;
    const page = await api.people({ ...query, cursor });
    setMore({ items: [...(more?.items ?? []), ...page.items], cursor: page.next_cursor ?? null });
  };

  return (
    <>
      <header className="page-head page-head-row">
        <h1>{t.admin.people}</h1>
        <Button tone="primary" icon="plus" onClick={() => setCreating(true)} data-testid="person-new">{t.admin.newPerson}</Button>
      </header>
      {created !== null && <Notice tone="good" testId="person-created">{t.admin.personCreated(created)}</Notice>}
      <div className="filters">
        <SelectField label={t.admin.filter} value={role} onChange={(event) => { setMore(null); setRole(event.target.value as Role | ""); }}>
          <option value="">{t.admin.all}</option>
          {ROLES.map((known) => <option key={known} value={known}>{t.admin.role[known]}</option>)}
        </SelectField>
      </div>
      {people.error !== null && <Notice tone="error">{errorText(people.error, t)}</Notice>}
      {people.loading && <Loading />}
      {people.data !== null && shown.length === 0 && <Card><Empty icon="people" title={t.admin.noPeople} /></Card>}
      {shown.length > 0 && (
        <div className="table-wrap" role="region" aria-label={t.admin.people} tabIndex={0}>
          <table className="table">
            <thead><tr><th scope="col">{t.admin.name}</th><th scope="col">{t.admin.email}</th><th scope="col">{t.admin.roles}</th><th scope="col">{t.admin.status}</th></tr></thead>
            <tbody>
              {shown.map((person) => (
                <tr key={person.id} data-testid="person-row">
                  <th scope="row"><span className="cell-person"><Avatar name={person.display_name} id={person.id} size="small" /> {person.display_name}</span></th>
                  <td data-label={t.admin.email}>{person.email ?? "–"}</td>
                  <td data-label={t.admin.roles}>{person.roles.map((known) => t.admin.role[known]).join(", ")}</td>
                  <td data-label={t.admin.status}><Badge tone={person.active ? "good" : "off"}>{person.active ? t.admin.active : t.admin.inactive}</Badge></td>
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
      {cursor !== null && <Button onClick={() => void loadMore()}>{t.common.more}</Button>}
      {creating && <NewPerson onClose={() => setCreating(false)} onCreated={(person) => { setCreating(false); setCreated(person.display_name); setMore(null); void people.reload(); }} />}
    </>
  );
}

function NewPerson({ onClose, onCreated }: { readonly onClose: () => void; readonly onCreated: (person: Person) => void }) {
  const { t, language } = useI18n();
  const { api } = useAccount();
  const [form, setForm] = useState({ display_name: "", email: "", password: "", locale: language as string });
  const [roles, setRoles] = useState<readonly Role[]>(["patient"]);
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<unknown>(null);
  const key = useRef(newIdempotencyKey());
  const set = (field: keyof typeof form) => (event: { target: { value: string } }) => {
    // Another content is another intent.
    key.current = newIdempotencyKey();
    setForm({ ...form, [field]: event.target.value });
  };
  const submit = async (event: FormEvent) => {
    event.preventDefault();
    setBusy(true);
    setError(null);
    try {
      onCreated(await api.personCreate({ ...form, display_name: form.display_name.trim(), email: form.email.trim(), roles }, key.current));
    } catch (cause) {
      setError(cause);
      setBusy(false);
    }
  };
  return (
    <Dialog title={t.admin.newPerson} onClose={onClose} testId="person-dialog">
      <form className="form" onSubmit={(event) => void submit(event)}>
        <TextField label={t.admin.name} required autoComplete="off" value={form.display_name} onChange={set("display_name")} data-testid="person-name" />
        <TextField label={t.admin.email} type="email" required autoComplete="off" value={form.email} onChange={set("email")} data-testid="person-email" />
        <TextField label={t.admin.password} hint={t.admin.passwordHint} type="password" required minLength={PASSWORD_CHARS_MIN} autoComplete="new-password" value={form.password} onChange={set("password")} data-testid="person-password" />
        <fieldset className="fieldset">
          <legend>{t.admin.roles}</legend>
          {ROLES.map((role) => (
            <Check
              key={role} label={t.admin.role[role]} checked={roles.includes(role)} data-testid={`person-role-${role}`}
              onChange={(event) => { key.current = newIdempotencyKey(); setRoles(event.target.checked ? [...roles, role] : roles.filter((known) => known !== role)); }}
            />
          ))}
        </fieldset>
        <SelectField label={t.common.language} value={form.locale} onChange={set("locale")}>
          {LANGUAGES.map((code) => <option key={code} value={code}>{LANGUAGE_NAMES[code]}</option>)}
        </SelectField>
        {error !== null && <Notice tone="error">{errorText(error, t)}</Notice>}
        <div className="row row-end">
          <Button onClick={onClose}>{t.common.cancel}</Button>
          <Button type="submit" tone="primary" busy={busy} disabled={roles.length === 0} data-testid="person-submit">{t.admin.createPerson}</Button>
        </div>
      </form>
    </Dialog>
  );
}
