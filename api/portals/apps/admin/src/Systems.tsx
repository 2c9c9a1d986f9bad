import type { ClientSystem } from "@medmesh/client";
import { Badge, Button, Card, errorText, Icon, ListFrame, Notice, useAccount, useI18n, usePages, useResource } from "@medmesh/ui";
import { useState } from "react";
import { ChangeSystem } from "./ChangeSystem.tsx";
import { NewSystem } from "./NewSystem.tsx";

/** Programs of the clinic that ask the service by themselves. */
export function Systems() {
  const { t } = useI18n();
  const { api } = useAccount();
  const [adding, setAdding] = useState(false);
  const [open, setOpen] = useState<ClientSystem | null>(null);
  const [said, setSaid] = useState<string | null>(null);
  const systems = usePages("systems", (cursor) => api.systems.list(cursor === undefined ? {} : { cursor }));
  const done = (what: string) => {
    setAdding(false);
    setOpen(null);
    setSaid(what);
    void systems.reload();
  };
  return (
    <>
      <header className="page-head page-head-row">
        <div>
          <h1>{t.systems.title}</h1>
          <p className="lead">{t.systems.lead}</p>
        </div>
        <Button tone="primary" icon="plus" onClick={() => { setSaid(null); setAdding(true); }} data-testid="system-new">{t.systems.add}</Button>
      </header>
      {said !== null && <Notice tone="good" testId="system-saved">{said}</Notice>}
      <ListFrame pages={systems} icon="device" empty={t.systems.none} emptyHint={t.systems.noneHint}>
        <Card><ul className="lines">{systems.items.map((system) => <Line key={system.id} system={system} onChange={() => { setSaid(null); setOpen(system); }} />)}</ul></Card>
      </ListFrame>
      <Guide />
      {adding && <NewSystem onClose={() => setAdding(false)} onAdded={(system) => done(t.systems.added(system.name))} />}
      {open !== null && <ChangeSystem system={open} onClose={() => { setOpen(null); void systems.reload(); }} onChanged={(system) => done(t.systems.changed(system.name))} />}
    </>
  );
}

function Line({ system, onChange }: { readonly system: ClientSystem; readonly onChange: () => void }) {
  const { t, format } = useI18n();
  const { session } = useAccount();
  const used = system.last_used_at ? t.systems.used(format.dateTime(system.last_used_at, session.clinic.time_zone)) : t.systems.unused;
  return (
    <li className="line" data-testid="system" data-enabled={system.enabled}>
      <Icon name="device" />
      <div className="line-text">
        <p className="line-title">{system.name} <Badge tone={system.enabled ? "good" : "off"}>{system.enabled ? t.systems.letIn : t.systems.shutOut}</Badge></p>
        <p>{format.list(system.scopes.map((scope) => t.systems.scopes[scope] ?? scope))}</p>
        <p className="muted">{used} · {t.systems.keysNamed(format.list(system.jwks.keys.map((key) => key.kid)))}</p>
        <Copied label={t.systems.id} text={system.id} testId="system-id" />
      </div>
      <div className="row"><Button onClick={onChange} aria-label={t.systems.changeNamed(system.name)} data-testid="system-change">{t.systems.change}</Button></div>
    </li>
  );
}

/** A text that goes into somebody else's settings. */
function Copied({ label, text, testId }: { readonly label: string; readonly text: string; readonly testId: string }) {
  const { t } = useI18n();
  const [copied, setCopied] = useState(false);
  const copy = async () => {
    await navigator.clipboard.writeText(text);
    setCopied(true);
  };
  return (
    <div className="row">
      <span className="muted">{label}</span> <code className="secret" data-testid={testId}>{text}</code>
      <Button icon="copy" onClick={() => void copy()} aria-label={t.systems.copyNamed(label)} data-testid={`${testId}-copy`}>{t.account.copy}</Button>
      <span role="status" className="muted">{copied ? t.account.copied : ""}</span>
    </div>
  );
}

/** What the people who run such a system have to know. */
function Guide() {
  const { t } = useI18n();
  const { api } = useAccount();
  const endpoint = useResource("token endpoint", () => api.systems.tokenEndpoint());
  return (
    <Card data-testid="system-guide">
      <section className="section" aria-label={t.systems.guide}>
        <h2>{t.systems.guide}</h2>
        <ol className="how">
          <li>{t.systems.guideKey}</li>
          <li>{t.systems.guideId}</li>
          <li>{t.systems.guideToken}</li>
        </ol>
        {endpoint.error !== null && <Notice tone="error">{errorText(endpoint.error, t)}</Notice>}
        {endpoint.data !== null && <Copied label={t.systems.endpoint} text={endpoint.data} testId="token-endpoint" />}
      </section>
    </Card>
  );
}
