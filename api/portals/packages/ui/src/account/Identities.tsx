import type { OutsideIdentity } from "@medmesh/client";
import { useState } from "react";
import { Button, Card, Notice } from "../components/basics.tsx";
import { Confirm } from "../components/Confirm.tsx";
import { Icon } from "../components/Icon.tsx";
import { useAttempt } from "../hooks/attempt.ts";
import { errorText } from "../hooks/errors.ts";
import { useResource } from "../hooks/resource.ts";
import { useI18n } from "../i18n/I18n.tsx";
import { useAccount } from "./Gate.tsx";
import { refusalText } from "./outside.ts";

/** Identities at the clinic's own sign-in service. */
export function Identities() {
  const { t, format } = useI18n();
  const { api, refusal } = useAccount();
  const identities = useResource("identities", () => api.oidc.identities());
  const [removing, setRemoving] = useState<OutsideIdentity | null>(null);
  const { busy, error, attempt } = useAttempt();
  const link = () => attempt(async () => location.assign(await api.oidc.link()));
  return (
    <Card data-testid="identities">
      <section className="section" aria-label={t.account.outside.title}>
        <h2>{t.account.outside.title}</h2>
        <p className="muted">{t.account.outside.lead}</p>
        {identities.error !== null && <Notice tone="error">{errorText(identities.error, t)}</Notice>}
        {refusal !== null && error === null && <Notice tone="error" testId="identity-refusal">{refusalText(refusal, t)}</Notice>}
        {error !== null && <Notice tone="error" testId="identity-error">{errorText(error, t, { not_found: t.account.outside.none })}</Notice>}
        <ul className="lines">
          {(identities.data ?? []).map((identity) => (
            <li key={identity.id} className="line" data-testid="identity">
              <Icon name="building" />
              <div className="line-text">
                <p className="line-title">{identity.issuer}</p>
                <p className="muted">{t.account.made(format.date(identity.linked_at))}{identity.used_at !== null && ` · ${t.account.used(format.moment(identity.used_at))}`}</p>
              </div>
              <Button onClick={() => setRemoving(identity)} aria-label={t.account.removeNamed(identity.issuer)} data-testid="identity-remove">{t.account.remove}</Button>
            </li>
          ))}
        </ul>
        <div className="row"><Button icon="plus" busy={busy} onClick={() => void link()} data-testid="identity-link">{t.account.outside.link}</Button></div>
      </section>
      {removing !== null && (
        <Confirm title={t.account.outside.removeQuestion} submit={t.account.remove} onClose={() => setRemoving(null)} onConfirm={async () => {
          await api.oidc.unlink(removing.id);
          setRemoving(null);
          await identities.reload();
        }}>{t.account.outside.removeHint(removing.issuer)}</Confirm>
      )}
    </Card>
  );
}
