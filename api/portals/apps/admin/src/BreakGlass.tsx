import { ApiError, type BreakGlass as Broken, type Finding } from "@medmesh/client";
import { Badge, Button, Card, Check, Dialog, errorText, Icon, ListFrame, Notice, useAccount, useAttempt, useI18n, usePages } from "@medmesh/ui";
import { useState } from "react";
import { Officer } from "./Officer.tsx";

/** Records opened because it was urgent: the privacy officer looks at each. */
export function BreakGlass() {
  const { t } = useI18n();
  const { api } = useAccount();
  const [onlyOpen, setOnlyOpen] = useState(true);
  const [settling, setSettling] = useState<Broken | null>(null);
  const broken = usePages(`broken ${onlyOpen}`, (cursor) => api.care.breakGlass({ ...(onlyOpen ? { unsettled: "true" } : {}), ...(cursor === undefined ? {} : { cursor }) }));
  const isOther = broken.error instanceof ApiError && (broken.error.status === 403 || broken.error.status === 404);
  return (
    <>
      <header className="page-head">
        <h1>{t.care.review.title}</h1>
        <p className="lead">{t.care.review.lead}</p>
      </header>
      <Officer onNamed={() => void broken.reload()} />
      {isOther ? <Notice testId="glass-not-officer">{t.care.review.notOfficer}</Notice> : (
        <>
          <Check label={t.care.review.onlyOpen} checked={onlyOpen} onChange={(event) => setOnlyOpen(event.target.checked)} data-testid="glass-only-open" />
          <ListFrame pages={broken} icon="flag" empty={t.care.review.none}>
            <Card><ul className="lines">{broken.items.map((glass) => <Line key={glass.id} glass={glass} onSettle={() => setSettling(glass)} />)}</ul></Card>
          </ListFrame>
        </>
      )}
      {settling !== null && <Settle glass={settling} onClose={() => setSettling(null)} onSettled={() => { setSettling(null); void broken.reload(); }} />}
    </>
  );
}

function Line({ glass, onSettle }: { readonly glass: Broken; readonly onSettle: () => void }) {
  const { t, format } = useI18n();
  return (
    <li className="line" data-testid="glass" data-finding={glass.finding ?? "none"}>
      <Icon name="flag" />
      <div className="line-text">
        <p className="line-title">
          {t.care.review.line(glass.person.display_name, glass.patient.display_name)}
          {glass.finding && <Badge tone={glass.finding === "justified" ? "good" : "attention"}>{t.care.review[glass.finding]}</Badge>}
        </p>
        <p>{t.record.access.reason(glass.reason)}</p>
        <p className="muted">{format.dateTime(glass.opened_at)} · {t.record.access.until(format.moment(glass.until_at))}</p>
        {glass.reviewed_by && glass.reviewed_at && <p className="muted">{t.care.review.by(glass.reviewed_by.display_name, format.dateTime(glass.reviewed_at))}</p>}
      </div>
      {!glass.finding && <Button tone="primary" onClick={onSettle} data-testid="glass-settle">{t.care.review.settle}</Button>}
    </li>
  );
}

function Settle({ glass, onClose, onSettled }: { readonly glass: Broken; readonly onClose: () => void; readonly onSettled: () => void }) {
  const { t } = useI18n();
  const { api } = useAccount();
  const { busy, error, attempt } = useAttempt();
  const settle = (finding: Finding) => attempt(async () => { await api.care.breakGlassReview(glass, finding); onSettled(); });
  return (
    <Dialog title={t.care.review.question} onClose={onClose} testId="settle-dialog">
      <p>{t.care.review.line(glass.person.display_name, glass.patient.display_name)}</p>
      <p>{t.record.access.reason(glass.reason)}</p>
      {error !== null && <Notice tone="error" testId="settle-error">{errorText(error, t)}</Notice>}
      <div className="row row-end">
        <Button onClick={onClose}>{t.common.cancel}</Button>
        <Button tone="danger" busy={busy} onClick={() => void settle("unjustified")} data-testid="settle-unjustified">{t.care.review.unjustified}</Button>
        <Button tone="primary" busy={busy} onClick={() => void settle("justified")} data-testid="settle-justified">{t.care.review.justified}</Button>
      </div>
    </Dialog>
  );
}
