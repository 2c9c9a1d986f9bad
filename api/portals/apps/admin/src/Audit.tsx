import type { AuditEntry, AuditFilter, AuditFormat, AuditPerson } from "@medmesh/client";
import { Badge, Button, Card, Dialog, errorText, ListFrame, Notice, saveFile, useAccount, useAttempt, useI18n, usePages } from "@medmesh/ui";
import { useState } from "react";
import { AuditFilters, type Narrowed } from "./AuditFilters.tsx";
import { LogHead } from "./LogHead.tsx";

const PAGE = 50;

/** The clinic's audit log with filters, proofs and copies. */
export function Audit() {
  const { t } = useI18n();
  const { api } = useAccount();
  const [form, setForm] = useState<AuditFilter>({});
  const [narrowed, setNarrowed] = useState<Narrowed>({});
  const [shown, setShown] = useState<AuditEntry | null>(null);
  const filter: AuditFilter = { ...form, ...(narrowed.actor ? { actor_id: narrowed.actor.id } : {}), ...(narrowed.patient ? { patient_id: narrowed.patient.id } : {}) };
  const entries = usePages(`audit ${JSON.stringify(filter)}`, (cursor) => api.audit.entries({ ...filter, limit: PAGE, ...(cursor === undefined ? {} : { cursor }) }));
  return (
    <>
      <header className="page-head">
        <h1>{t.audit.title}</h1>
        <p className="lead">{t.audit.lead}</p>
      </header>
      <AuditFilters narrowed={narrowed} onNarrow={setNarrowed} onFilter={setForm} />
      <ListFrame pages={entries} icon="list" empty={t.audit.none}>
        <div className="table-wrap" role="region" aria-label={t.audit.title} tabIndex={0}>
          <table className="table">
            <thead><tr><th scope="col">{t.audit.when}</th><th scope="col">{t.audit.who}</th><th scope="col">{t.audit.what}</th><th scope="col">{t.audit.record}</th><th scope="col">{t.audit.details}</th></tr></thead>
            <tbody>{entries.items.map((entry) => <Entry key={entry.id} entry={entry} onShow={() => setShown(entry)} />)}</tbody>
          </table>
        </div>
      </ListFrame>
      <LogHead />
      <Copies filter={filter} />
      {shown !== null && <Details entry={shown} onClose={() => setShown(null)} onOnly={(only) => { setNarrowed({ ...narrowed, ...only }); setShown(null); }} />}
    </>
  );
}

function useNames() {
  const { t } = useI18n();
  const nameOf = (person: AuditPerson) => person.display_name ?? t.audit.erased;
  return { nameOf, actorOf: (entry: AuditEntry) => entry.client?.name ?? (entry.actor === null ? t.record.system : nameOf(entry.actor)), actOf: (action: string) => t.record.acts[action] ?? action, askedOf: (action: string) => t.record.asked[action] ?? action };
}

function Entry({ entry, onShow }: { readonly entry: AuditEntry; readonly onShow: () => void }) {
  const { t, format } = useI18n();
  const { session } = useAccount();
  const { nameOf, actorOf, actOf, askedOf } = useNames();
  return (
    <tr data-testid="audit-row" data-action={entry.action}>
      <th scope="row"><time dateTime={entry.at}>{format.dateTime(entry.at, session.clinic.time_zone)}</time></th>
      <td data-label={t.audit.who}>{actorOf(entry)}</td>
      <td data-label={t.audit.what}>
        {entry.denied_action ? askedOf(entry.denied_action) : actOf(entry.action)}{" "}
        {entry.outcome === "refused" && <Badge tone="off">{t.audit.refused}</Badge>}
        {entry.break_glass_id !== null && <Badge tone="attention">{t.audit.glass}</Badge>}
      </td>
      <td data-label={t.audit.record}>{entry.patient === null ? "–" : nameOf(entry.patient)}</td>
      <td data-label={t.audit.details}>
        <div className="row">
          <Button onClick={onShow} aria-label={t.audit.detailsOf(actOf(entry.action))} data-testid="audit-details">{t.audit.details}</Button>
          <Proof entry={entry} of={actOf(entry.action)} />
        </div>
      </td>
    </tr>
  );
}

/** Takes the proof of one entry away. Until a signed head covers it there is none: a second or so. */
function Proof({ entry, of }: { readonly entry: AuditEntry; readonly of: string }) {
  const { t } = useI18n();
  const { api } = useAccount();
  const [saved, setSaved] = useState(false);
  const { busy, error, attempt } = useAttempt();
  const isPending = (entry.leaf_index ?? null) === null && !saved;
  const save = () => attempt(async () => {
    setSaved(false);
    saveFile(await api.audit.proof(entry.id), `proof-${entry.id}.json`);
    setSaved(true);
  });
  return (
    <>
      <Button icon="shield" busy={busy} onClick={() => void save()} aria-label={t.audit.proof.saveOf(of)} data-testid="audit-proof">{t.audit.proof.save}</Button>
      {isPending && error === null && <Badge tone="attention">{t.audit.proof.pending}</Badge>}
      <span role="status" className="muted" data-testid="audit-proof-said">{error !== null ? errorText(error, t) : saved ? t.audit.proof.saved : ""}</span>
    </>
  );
}

interface DetailsProps {
  readonly entry: AuditEntry;
  readonly onClose: () => void;
  /** Shows only what the same person did, or only what was done to the same record. */
  readonly onOnly: (only: Narrowed) => void;
}

function Details({ entry, onClose, onOnly }: DetailsProps) {
  const { t, format } = useI18n();
  const { session } = useAccount();
  const { nameOf, actorOf, actOf, askedOf } = useNames();
  const { actor, patient } = entry;
  const known: Readonly<Record<string, string>> = t.admin.role;
  const rolesOf = (roles: readonly string[] | undefined) => roles === undefined || roles.length === 0 ? null : roles.map((role) => known[role] ?? role).join(", ");
  const facts: readonly (readonly [string, string | null | undefined])[] = [
    [t.audit.when, format.dateTime(entry.at, session.clinic.time_zone)],
    [t.audit.who, [actorOf(entry), ...(entry.actor?.roles ?? []).map((role) => t.admin.role[role])].join(", ")],
    [t.audit.what, actOf(entry.action)],
    [t.audit.why, t.record.why[entry.purpose] ?? entry.purpose],
    [t.audit.outcome, entry.outcome === "done" ? t.audit.done : t.audit.refused],
    [t.audit.wanted, entry.denied_action && askedOf(entry.denied_action)],
    [t.audit.missing, entry.denied_reason && (t.record.missing[entry.denied_reason] ?? entry.denied_reason)],
    [t.audit.rolesBefore, rolesOf(entry.roles?.before)],
    [t.audit.rolesAfter, rolesOf(entry.roles?.after)],
    [t.audit.record, entry.patient === null ? null : nameOf(entry.patient)],
    [t.audit.object, entry.object_id === null ? entry.object_kind : `${entry.object_kind} ${entry.object_id}`],
    [t.audit.session, entry.session_id],
    [t.audit.request, entry.request_id],
    [t.audit.glass, entry.break_glass_id],
    [t.audit.entry, entry.id],
    [t.audit.place, entry.leaf_index === undefined || entry.leaf_index === null ? t.audit.proof.pending : format.number(entry.leaf_index)],
  ];
  return (
    <Dialog title={t.audit.details} onClose={onClose} testId="audit-dialog">
      <dl className="facts">
        {facts.filter(([, value]) => value !== null && value !== undefined).map(([name, value]) => <div key={name}><dt>{name}</dt><dd>{value}</dd></div>)}
      </dl>
      <div className="row">
        {actor !== null && <Button onClick={() => onOnly({ actor: { id: actor.id, name: nameOf(actor) } })} data-testid="audit-narrow-actor">{t.audit.onlyActor(nameOf(actor))}</Button>}
        {patient !== null && <Button onClick={() => onOnly({ patient: { id: patient.id, name: nameOf(patient) } })} data-testid="audit-narrow-record">{t.audit.onlyRecord(nameOf(patient))}</Button>}
      </div>
    </Dialog>
  );
}

function Copies({ filter }: { readonly filter: AuditFilter }) {
  const { t } = useI18n();
  const { api } = useAccount();
  const { busy, error, attempt } = useAttempt();
  const take = (format: AuditFormat) => attempt(async () => saveFile(await api.audit.export(filter, format), format === "csv" ? "audit.csv" : "audit.fhir.json"));
  return (
    <Card>
      <section className="section" aria-label={t.audit.copy}>
        <h2>{t.audit.copy}</h2>
        <p className="muted">{t.audit.copyHint}</p>
        {error !== null && <Notice tone="error" testId="audit-copy-error">{errorText(error, t)}</Notice>}
        <div className="row">
          <Button icon="document" busy={busy} onClick={() => void take("csv")} data-testid="audit-csv">{t.audit.csv}</Button>
          <Button icon="document" busy={busy} onClick={() => void take("fhir")} data-testid="audit-fhir">{t.audit.fhir}</Button>
        </div>
      </section>
    </Card>
  );
}
