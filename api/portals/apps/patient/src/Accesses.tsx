import type { BreakGlass } from "@medmesh/client";
import { AccessLine, Badge, Card, Check, DisclosureLine, errorText, Icon, ListFrame, Notice, useAccount, useI18n, usePages } from "@medmesh/ui";
import { useState } from "react";

const PAGE = 50;

/** Who saw the record, when and why; what was opened in an emergency; what left the clinic. */
export function Accesses() {
  const { t } = useI18n();
  const { api, session } = useAccount();
  const me = session.person.id;
  const [others, setOthers] = useState(true);
  const query = others ? { limit: PAGE, others_only: "true" } : { limit: PAGE };
  const accesses = usePages(`accesses ${others}`, (cursor) => api.audit.accesses(me, cursor === undefined ? query : { ...query, cursor }));
  const broken = usePages("broken", (cursor) => api.care.breakGlassOf(me, cursor === undefined ? {} : { cursor }));
  const reasons = new Map(broken.items.map((glass) => [glass.id, glass]));
  return (
    <>
      <header className="page-head">
        <h1>{t.record.access.title}</h1>
        <p className="lead">{t.record.access.lead}</p>
      </header>
      {broken.error !== null && <Notice tone="error">{errorText(broken.error, t)}</Notice>}
      {broken.items.length > 0 && <Emergencies items={broken.items} />}
      <Check label={t.record.access.othersOnly} checked={others} onChange={(event) => setOthers(event.target.checked)} data-testid="accesses-others" />
      <ListFrame pages={accesses} icon="eye" empty={t.record.access.empty} emptyHint={t.record.access.emptyHint}>
        <Card><ul className="lines">{accesses.items.map((access) => <AccessLine key={access.id} access={access} glass={reasons.get(access.break_glass_id ?? "")} />)}</ul></Card>
      </ListFrame>
      <Outside />
    </>
  );
}

function Emergencies({ items }: { readonly items: readonly BreakGlass[] }) {
  const { t, format } = useI18n();
  return (
    <Card className="card-attention">
      <section className="section" aria-label={t.record.access.emergencies}>
        <h2>{t.record.access.emergencies}</h2>
        <p className="muted">{t.record.access.emergenciesLead}</p>
        <ul className="lines">
          {items.map((glass) => (
            <li key={glass.id} className="line" data-testid="emergency">
              <Icon name="flag" />
              <div className="line-text">
                <p className="line-title">{glass.person.display_name} <Badge tone={glass.finding === "unjustified" ? "attention" : glass.finding ? "good" : "calm"}>{glass.finding ? t.record.access.finding[glass.finding] : t.record.access.unreviewed}</Badge></p>
                <p>{t.record.access.reason(glass.reason)}</p>
                <p className="muted">{format.moment(glass.opened_at)} · {t.record.access.until(format.moment(glass.until_at))}</p>
              </div>
            </li>
          ))}
        </ul>
      </section>
    </Card>
  );
}

/** The account of disclosures. */
function Outside() {
  const { t } = useI18n();
  const { api, session } = useAccount();
  const outside = usePages("outside", (cursor) => api.audit.disclosures(session.person.id, cursor === undefined ? {} : { cursor }));
  return (
    <section className="section" aria-label={t.record.access.outside}>
      <h2>{t.record.access.outside}</h2>
      <ListFrame pages={outside} icon="document" empty={t.record.access.outsideNone}>
        <Card>
          <ul className="lines">
            {outside.items.map((item) => <DisclosureLine key={item.id} item={item} />)}
          </ul>
        </Card>
      </ListFrame>
    </section>
  );
}
