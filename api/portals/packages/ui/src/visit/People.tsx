import { newIdempotencyKey, type Visit, type VisitParticipant } from "@medmesh/client";
import { useId, useRef, useState, type FormEvent } from "react";
import { useAccount } from "../account/Gate.tsx";
import { Avatar, Badge, Button, Notice, SelectField } from "../components/basics.tsx";
import { errorText } from "../hooks/errors.ts";
import { useResource } from "../hooks/resource.ts";
import { useI18n } from "../i18n/I18n.tsx";

interface Props {
  readonly visit: Visit;
  /** Participants who are connected to the room right now. */
  readonly present: ReadonlySet<string>;
  readonly onVisit: (visit: Visit) => void;
}

/** Who is here and who is not yet; the clinician lets people in and adds more. */
export function People({ visit, present, onVisit }: Props) {
  const { t } = useI18n();
  const { session } = useAccount();
  const you = visit.participants.find((participant) => participant.participant_id === visit.you);
  const mayAdmit = you?.role === "clinician" && visit.state !== "ended";
  const isHere = (participant: VisitParticipant) => present.has(participant.participant_id);
  const here = visit.participants.filter(isHere);
  const others = visit.participants.filter((participant) => !isHere(participant));
  return (
    <div className="people" data-testid="people">
      {here.length > 0 && <Group title={t.people.inCall} people={here} visit={visit} isHere={isHere} mayAdmit={mayAdmit} onVisit={onVisit} me={session.person.id} />}
      {others.length > 0 && <Group title={here.length > 0 ? t.people.others : t.people.title} people={others} visit={visit} isHere={isHere} mayAdmit={mayAdmit} onVisit={onVisit} me={session.person.id} />}
      {mayAdmit && <AddPerson visit={visit} onVisit={onVisit} />}
    </div>
  );
}

interface GroupProps {
  readonly title: string;
  readonly people: readonly VisitParticipant[];
  readonly visit: Visit;
  readonly isHere: (participant: VisitParticipant) => boolean;
  readonly mayAdmit: boolean;
  readonly onVisit: (visit: Visit) => void;
  readonly me: string;
}

function Group({ title, people, visit, isHere, mayAdmit, onVisit, me }: GroupProps) {
  const titleId = useId();
  const { t } = useI18n();
  return (
    <div>
      <p className="group-title" id={titleId}>{title}</p>
      <ul className="person-list" aria-labelledby={titleId}>
        {people.map((participant) => {
          const state = isHere(participant) ? "in_call" : participant.state;
          const waits = participant.state === "waiting";
          return (
            <li key={participant.participant_id} className="person" data-testid="person" data-participant={participant.participant_id} data-state={state}>
              <Avatar name={participant.person.display_name} id={participant.person.id} size="small" />
              <span className="person-name">
                {participant.person.display_name}{participant.person.id === me && ` (${t.common.you})`}
                <small>{t.people.role[participant.role]}</small>
              </span>
              {mayAdmit && waits
                ? <Admit visit={visit} participant={participant} onVisit={onVisit} />
                : <Badge tone={state === "in_call" ? "good" : waits ? "attention" : "off"}>{t.people.state[state]}</Badge>}
            </li>
          );
        })}
      </ul>
    </div>
  );
}

export function Admit({ visit, participant, onVisit }: { readonly visit: Visit; readonly participant: VisitParticipant; readonly onVisit: (visit: Visit) => void }) {
  const { t } = useI18n();
  const { api } = useAccount();
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<unknown>(null);
  const admit = async () => {
    setBusy(true);
    setError(null);
    try {
      // People are let into an open visit; opening is part of the first admission.
      if (visit.state !== "open") await api.visitOpen(visit.id);
      onVisit(await api.visitAdmit(visit.id, participant.participant_id));
    } catch (cause) {
      setError(cause);
    }
    setBusy(false);
  };
  return (
    <span className="admit">
      <Button tone="primary" busy={busy} onClick={() => void admit()} aria-label={t.visits.admitName(participant.person.display_name)} data-testid="admit" data-participant={participant.participant_id}>
        {t.visits.admit}
      </Button>
      {error !== null && <span className="field-error" role="alert">{errorText(error, t)}</span>}
    </span>
  );
}

function AddPerson({ visit, onVisit }: { readonly visit: Visit; readonly onVisit: (visit: Visit) => void }) {
  const { t } = useI18n();
  const { api } = useAccount();
  const [open, setOpen] = useState(false);
  const people = useResource(open ? "people" : "", async () => (open ? (await api.people({ limit: 100 })).items : []));
  const [chosen, setChosen] = useState("");
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<unknown>(null);
  const [added, setAdded] = useState<string | null>(null);
  const key = useRef(newIdempotencyKey());
  const inVisit = new Set(visit.participants.map((participant) => participant.person.id));
  const choices = (people.data ?? []).filter((person) => person.active && !inVisit.has(person.id));

  const submit = async (event: FormEvent) => {
    event.preventDefault();
    if (chosen === "") return;
    setBusy(true);
    setError(null);
    try {
      onVisit(await api.participantAdd(visit.id, chosen, key.current));
      setAdded(choices.find((person) => person.id === chosen)?.display_name ?? "");
      setChosen("");
      key.current = newIdempotencyKey();
    } catch (cause) {
      setError(cause);
    }
    setBusy(false);
  };

  if (!open) return <Button icon="plus" onClick={() => setOpen(true)} data-testid="add-person">{t.people.add}</Button>;
  return (
    <form className="add-person" onSubmit={(event) => void submit(event)}>
      <SelectField label={t.people.add} hint={t.people.addHint} value={chosen} onChange={(event) => setChosen(event.target.value)} data-testid="add-person-select">
        <option value="">{t.people.choose}</option>
        {choices.map((person) => <option key={person.id} value={person.id}>{person.display_name}</option>)}
      </SelectField>
      {(error ?? people.error) !== null && <Notice tone="error">{errorText(error ?? people.error, t)}</Notice>}
      {added !== null && <Notice tone="good">{t.people.added(added)}</Notice>}
      <Button type="submit" busy={busy} disabled={chosen === ""} data-testid="add-person-submit">{t.people.addSubmit}</Button>
    </form>
  );
}
