import type { BreakGlass, RecordAccess } from "@medmesh/client";
import { useAccount } from "../account/Gate.tsx";
import { Avatar, Badge } from "../components/basics.tsx";
import { useI18n } from "../i18n/I18n.tsx";

/** Who did what to a record, when and why: for its patient, and for the privacy officer who answers for it. */
export function AccessLine({ access, glass }: { readonly access: RecordAccess; readonly glass?: BreakGlass | undefined }) {
  const { t, format } = useI18n();
  const { session } = useAccount();
  const { actor } = access;
  const name = actor?.id === session.person.id ? t.record.you : access.client?.name ?? (access.actor_kind !== "person" ? t.record.system : actor?.display_name ?? t.record.somebody);
  const roles = actor === null || actor.id === session.person.id ? "" : format.list(actor.roles.map((role) => t.admin.role[role]));
  const why = t.record.why[access.purpose] ?? access.purpose;
  // What was refused had no purpose yet, and an emergency says it already.
  const did = access.outcome === "refused" ? (t.record.asked[access.action] ?? t.record.askedOther)
    : access.action === "break_glass_open" ? t.record.acts.break_glass_open : `${t.record.acts[access.action] ?? access.action}, ${why}`;
  return (
    <li className="line" data-testid="access" data-action={access.action} data-emergency={access.break_glass_id !== null}>
      <Avatar name={name} id={actor?.id ?? access.client?.id ?? access.actor_kind} size="small" />
      <div className="line-text">
        <p className="line-title">
          {name} {roles !== "" && <span className="muted">{roles}</span>}
          {access.break_glass_id !== null && <Badge tone="attention">{t.record.access.emergency}</Badge>}
          {access.outcome === "refused" && <Badge tone="off">{t.record.refused}</Badge>}
        </p>
        <p>{did}</p>
        {glass && <p>{t.record.access.reason(glass.reason)}</p>}
        <p className="muted"><time dateTime={access.at}>{format.dateTime(access.at)}</time></p>
      </div>
    </li>
  );
}
