import { newIdempotencyKey, type AccountLink, type Person, type Role } from "@medmesh/client";
import { Button, Check, Dialog, errorText, LANGUAGE_NAMES, LANGUAGES, Notice, PASSWORD_CHARS_MAX, PASSWORD_CHARS_MIN, SelectField, TextField, useAccount, useAttempt, useI18n } from "@medmesh/ui";
import { useRef, useState, type FormEvent } from "react";
import { ROLES } from "./roles.ts";

export interface Newcomer {
  readonly person: Person;
  readonly isInvited: boolean;
  /** Only where the clinic sends no mail. */
  readonly link?: AccountLink | null | undefined;
}

/** Somebody new: invited to choose their own password, or given a first one. */
export function NewPerson({ onClose, onCreated }: { readonly onClose: () => void; readonly onCreated: (newcomer: Newcomer) => void }) {
  const { t, language } = useI18n();
  const { api } = useAccount();
  const [form, setForm] = useState({ display_name: "", email: "", locale: language as string });
  const [password, setPassword] = useState<string | null>(null);
  const [roles, setRoles] = useState<readonly Role[]>(["patient"]);
  const { busy, error, attempt } = useAttempt();
  const key = useRef(newIdempotencyKey());
  /** Another content is another intent. */
  const changing = <T,>(change: (value: T) => void) => (value: T) => {
    key.current = newIdempotencyKey();
    change(value);
  };
  const set = (field: keyof typeof form) => changing((event: { target: { value: string } }) => setForm({ ...form, [field]: event.target.value }));
  const choose = changing((next: readonly Role[]) => setRoles(next));
  const setSecret = changing((next: string | null) => setPassword(next));

  const create = async () => {
    const person = { ...form, display_name: form.display_name.trim(), email: form.email.trim(), roles };
    if (password !== null) return onCreated({ person: await api.personCreate({ ...person, password }, key.current), isInvited: false });
    const invitation = await api.invitationCreate(person, key.current);
    onCreated({ person: invitation.person, isInvited: true, link: invitation.link });
  };
  const submit = (event: FormEvent) => {
    event.preventDefault();
    void attempt(create);
  };
  return (
    <Dialog title={t.admin.newPerson} onClose={onClose} testId="person-dialog">
      <form className="form" onSubmit={submit}>
        <TextField label={t.admin.name} required autoComplete="off" value={form.display_name} onChange={set("display_name")} data-testid="person-name" />
        <TextField label={t.admin.email} type="email" required autoComplete="off" value={form.email} onChange={set("email")} data-testid="person-email" />
        <Check label={t.clinic.givePassword} hint={t.clinic.givePasswordHint} checked={password !== null} onChange={(event) => setSecret(event.target.checked ? "" : null)} data-testid="person-with-password" />
        {password !== null && (
          <TextField
            label={t.admin.password} hint={t.admin.passwordHint} type="password" required minLength={PASSWORD_CHARS_MIN} maxLength={PASSWORD_CHARS_MAX} autoComplete="new-password"
            value={password} onChange={(event) => setSecret(event.target.value)} data-testid="person-password"
          />
        )}
        <fieldset className="fieldset">
          <legend>{t.admin.roles}</legend>
          {ROLES.map((role) => (
            <Check
              key={role} label={t.admin.role[role]} checked={roles.includes(role)} data-testid={`person-role-${role}`}
              onChange={(event) => choose(event.target.checked ? [...roles, role] : roles.filter((known) => known !== role))}
            />
          ))}
        </fieldset>
        <SelectField label={t.common.language} value={form.locale} onChange={set("locale")}>
          {LANGUAGES.map((code) => <option key={code} value={code}>{LANGUAGE_NAMES[code]}</option>)}
        </SelectField>
        {error !== null && <Notice tone="error" testId="person-error">{errorText(error, t, { unprocessable: t.setPassword.guessable })}</Notice>}
        <div className="row row-end">
          <Button onClick={onClose}>{t.common.cancel}</Button>
          <Button type="submit" tone="primary" busy={busy} disabled={roles.length === 0} data-testid="person-submit">{password === null ? t.clinic.invite : t.admin.createPerson}</Button>
        </div>
      </form>
    </Dialog>
  );
}
