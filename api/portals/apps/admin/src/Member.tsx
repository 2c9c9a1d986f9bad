import type { Person, Role } from "@medmesh/client";
import { Button, Check, Dialog, errorText, Notice, useAccount, useAttempt, useI18n } from "@medmesh/ui";
import { useState, type FormEvent } from "react";
import { ROLES } from "./roles.ts";

interface Props {
  readonly person: Person;
  onClose(): void;
  onChanged(person: Person): void;
}

/** What somebody is to the clinic: their roles, and whether they may sign in. */
export function Member({ person, onClose, onChanged }: Props) {
  const { t } = useI18n();
  const { api, session } = useAccount();
  const [roles, setRoles] = useState<readonly Role[]>(person.roles);
  const [active, setActive] = useState(person.active);
  const { busy, error, attempt } = useAttempt();
  const isOneself = session.person.id === person.id;
  // The service decides; what it would refuse in any case is not offered.
  const isFixed = (role: Role) => (role === "patient" && person.roles.includes("patient")) || (isOneself && !person.roles.includes(role));
  const isSame = active === person.active && ROLES.every((role) => roles.includes(role) === person.roles.includes(role));
  const submit = (event: FormEvent) => {
    event.preventDefault();
    void attempt(async () => onChanged(await api.personUpdate(person, { roles, active })));
  };
  const errors = { forbidden: t.clinic.member.ownRaise, state_conflict: t.clinic.member.needed, unprocessable: t.clinic.member.patientStays };
  return (
    <Dialog title={t.clinic.member.of(person.display_name)} onClose={onClose} testId="member-dialog">
      <form className="form" onSubmit={submit}>
        {isOneself && <Notice>{t.clinic.member.own}</Notice>}
        <fieldset className="fieldset">
          <legend>{t.admin.roles}</legend>
          {ROLES.map((role) => (
            <Check
              key={role} label={t.admin.role[role]} checked={roles.includes(role)} disabled={isFixed(role)} data-testid={`member-role-${role}`}
              onChange={(event) => setRoles(event.target.checked ? [...roles, role] : roles.filter((known) => known !== role))}
            />
          ))}
        </fieldset>
        <Check label={t.clinic.member.active} hint={t.clinic.member.activeHint} checked={active} onChange={(event) => setActive(event.target.checked)} data-testid="member-active" />
        {error !== null && <Notice tone="error" testId="member-error">{errorText(error, t, errors)}</Notice>}
        <div className="row row-end">
          <Button onClick={onClose}>{t.common.cancel}</Button>
          <Button type="submit" tone={active ? "primary" : "danger"} busy={busy} disabled={isSame || roles.length === 0} data-testid="member-submit">{t.clinic.member.save}</Button>
        </div>
      </form>
    </Dialog>
  );
}
