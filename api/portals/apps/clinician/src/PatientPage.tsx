import { ApiError, CARE_ROLES, newIdempotencyKey, type CareRole, type CareTeamMember, type Referral } from "@medmesh/client";
import { Avatar, Badge, Button, Card, Confirm, Dialog, errorText, go, Icon, Loading, Notice, SelectField, TextField, useAccount, useAttempt, useI18n, usePages, useResource } from "@medmesh/ui";
import { useRef, useState, type FormEvent } from "react";
import { BreakGlassDialog } from "./BreakGlass.tsx";
import { Consents } from "./Consents.tsx";

const PEOPLE_MAX = 200;
type Open = { readonly kind: "glass" | "member" | "referral" } | { readonly kind: "end"; readonly member: CareTeamMember } | { readonly kind: "end-referral"; readonly referral: Referral } | null;

/** Who cares for a patient; and the way in when it is urgent. */
export function PatientPage({ patientId, name }: { readonly patientId: string; readonly name: string | null }) {
  const { t, format } = useI18n();
  const { api, session } = useAccount();
  /** Nurses and coordinators see who cares for a patient; clinicians say who does. */
  const leads = session.person.roles.includes("clinician");
  const team = usePages(`team ${patientId}`, (cursor) => api.care.careTeam(patientId, cursor === undefined ? {} : { cursor }));
  const referrals = usePages(`referrals ${patientId}`, (cursor) => api.care.referrals(patientId, cursor === undefined ? {} : { cursor }));
  const [open, setOpen] = useState<Open>(null);
  const [opened, setOpened] = useState<string | null>(null);
  const close = () => setOpen(null);
  const isHidden = team.error instanceof ApiError && (team.error.status === 403 || team.error.status === 404);
  return (
    <>
      <header className="page-head page-head-row">
        <div>
          <Button tone="quiet" icon="left" onClick={() => go(["patients"])} data-testid="patient-back">{t.care.back}</Button>
          <h1>{name ?? t.care.patients}</h1>
        </div>
        <Button icon="flag" onClick={() => setOpen({ kind: "glass" })} data-testid="glass-open">{t.care.glass}</Button>
      </header>
      {opened !== null && <Notice tone="warning" testId="glass-opened">{t.care.glassOpen(format.moment(opened))}</Notice>}
      {isHidden && <Notice testId="patient-hidden">{t.care.teamHidden}</Notice>}
      {!isHidden && (
        <div className="stack">
          <Card>
            <section className="section" aria-label={t.care.team}>
              <h2>{t.care.team}</h2>
              {team.error !== null && <Notice tone="error">{errorText(team.error, t)}</Notice>}
              {team.loading && <Loading />}
              {team.isEmpty && <p className="muted">{t.care.teamNone}</p>}
              <ul className="lines">
                {team.items.map((member) => (
                  <li key={member.id} className="line" data-testid="care-member">
                    <Avatar name={member.person.display_name} id={member.person.id} size="small" />
                    <div className="line-text">
                      <p className="line-title">{member.person.display_name} <Badge>{t.care.role[member.role]}</Badge></p>
                      <p className="muted">{t.care.since(format.date(member.from_at))}{member.until_at && ` · ${t.care.until(format.date(member.until_at))}`}</p>
                    </div>
                    {leads && <Button onClick={() => setOpen({ kind: "end", member })} aria-label={t.care.endMember(member.person.display_name)} data-testid="care-end">{t.care.end}</Button>}
                  </li>
                ))}
              </ul>
              {leads && <div className="row"><Button icon="plus" onClick={() => setOpen({ kind: "member" })} data-testid="care-add">{t.care.addMember}</Button></div>}
            </section>
          </Card>
          <Card>
            <section className="section" aria-label={t.care.referrals}>
              <h2>{t.care.referrals}</h2>
              {referrals.error !== null && <Notice tone="error">{errorText(referrals.error, t)}</Notice>}
              {referrals.isEmpty && <p className="muted">{t.care.referralsNone}</p>}
              <ul className="lines">
                {referrals.items.map((referral) => (
                  <li key={referral.id} className="line" data-testid="referral">
                    <Icon name="right" />
                    <div className="line-text">
                      <p className="line-title">{t.care.referralLine(referral.from.display_name, referral.to.display_name)}</p>
                      {referral.reason && <p>{referral.reason}</p>}
                      <p className="muted">{t.care.since(format.date(referral.created_at))} · {t.care.until(format.date(referral.until_at))}</p>
                    </div>
                    {leads && <Button onClick={() => setOpen({ kind: "end-referral", referral })} aria-label={t.care.endMember(referral.to.display_name)} data-testid="referral-end">{t.care.end}</Button>}
                  </li>
                ))}
              </ul>
              {leads && <div className="row"><Button icon="plus" onClick={() => setOpen({ kind: "referral" })} data-testid="referral-add">{t.care.refer}</Button></div>}
            </section>
          </Card>
          <Consents patientId={patientId} />
        </div>
      )}
      {open?.kind === "glass" && <BreakGlassDialog patientId={patientId} name={name} onClose={close} onOpened={(glass) => { close(); setOpened(glass.until_at); }} />}
      {open?.kind === "member" && <AddMember patientId={patientId} onClose={close} onAdded={() => { close(); void team.reload(); }} />}
      {open?.kind === "referral" && <Refer patientId={patientId} onClose={close} onAdded={() => { close(); void referrals.reload(); }} />}
      {open?.kind === "end" && <Confirm title={t.care.endQuestion} submit={t.care.end} onClose={close} onConfirm={async () => { await api.care.careTeamEnd(open.member); close(); await team.reload(); }}>{t.care.endHint(open.member.person.display_name)}</Confirm>}
      {open?.kind === "end-referral" && <Confirm title={t.care.endReferralQuestion} submit={t.care.end} onClose={close} onConfirm={async () => { await api.care.referralEnd(open.referral); close(); await referrals.reload(); }}>{t.care.endHint(open.referral.to.display_name)}</Confirm>}
    </>
  );
}

interface AddProps {
  readonly patientId: string;
  onClose(): void;
  onAdded(): void;
}

function AddMember({ patientId, onClose, onAdded }: AddProps) {
  const { t } = useI18n();
  const { api } = useAccount();
  const [role, setRole] = useState<CareRole>("clinician");
  const [person, setPerson] = useState("");
  const people = useResource(role, async () => (await api.people({ role, limit: PEOPLE_MAX })).items);
  const { busy, error, attempt } = useAttempt();
  const key = useRef(newIdempotencyKey());
  const submit = (event: FormEvent) => {
    event.preventDefault();
    void attempt(async () => { await api.care.careTeamAdd(patientId, { person_id: person, role }, key.current); onAdded(); });
  };
  return (
    <Dialog title={t.care.addMember} onClose={onClose} testId="care-dialog">
      <form className="form" onSubmit={submit}>
        <SelectField label={t.care.as} value={role} onChange={(event) => { key.current = newIdempotencyKey(); setPerson(""); setRole(event.target.value as CareRole); }} data-testid="care-role">
          {CARE_ROLES.map((known) => <option key={known} value={known}>{t.care.role[known]}</option>)}
        </SelectField>
        <SelectField label={t.care.member} required value={person} onChange={(event) => { key.current = newIdempotencyKey(); setPerson(event.target.value); }} data-testid="care-person">
          <option value="">{t.care.chooseMember}</option>
          {(people.data ?? []).map((known) => <option key={known.id} value={known.id}>{known.display_name}</option>)}
        </SelectField>
        {error !== null && <Notice tone="error" testId="care-error">{errorText(error, t)}</Notice>}
        <div className="row row-end"><Button onClick={onClose}>{t.common.cancel}</Button><Button type="submit" tone="primary" busy={busy} data-testid="care-submit">{t.care.addMember}</Button></div>
      </form>
    </Dialog>
  );
}

function Refer({ patientId, onClose, onAdded }: AddProps) {
  const { t } = useI18n();
  const { api, session } = useAccount();
  const [to, setTo] = useState("");
  const [reason, setReason] = useState("");
  const people = useResource("clinicians", async () => (await api.people({ role: "clinician", limit: PEOPLE_MAX })).items);
  const { busy, error, attempt } = useAttempt();
  const key = useRef(newIdempotencyKey());
  const submit = (event: FormEvent) => {
    event.preventDefault();
    const why = reason.trim();
    void attempt(async () => { await api.care.referralCreate(patientId, { to_id: to, ...(why === "" ? {} : { reason: why }) }, key.current); onAdded(); });
  };
  return (
    <Dialog title={t.care.refer} onClose={onClose} testId="referral-dialog">
      <form className="form" onSubmit={submit}>
        <SelectField label={t.care.referTo} required value={to} onChange={(event) => { key.current = newIdempotencyKey(); setTo(event.target.value); }} data-testid="referral-to">
          <option value="">{t.care.chooseMember}</option>
          {(people.data ?? []).filter((known) => known.id !== session.person.id).map((known) => <option key={known.id} value={known.id}>{known.display_name}</option>)}
        </SelectField>
        <TextField label={t.care.reason} maxLength={500} autoComplete="off" value={reason} onChange={(event) => { key.current = newIdempotencyKey(); setReason(event.target.value); }} data-testid="referral-reason" />
        {error !== null && <Notice tone="error" testId="referral-error">{errorText(error, t)}</Notice>}
        <div className="row row-end"><Button onClick={onClose}>{t.common.cancel}</Button><Button type="submit" tone="primary" busy={busy} data-testid="referral-submit">{t.care.refer}</Button></div>
      </form>
    </Dialog>
  );
}
