import type { Credential } from "@medmesh/client";
import type { ReactNode } from "react";
import { useI18n } from "../i18n/I18n.tsx";
import { Badge } from "./basics.tsx";
import { Icon } from "./Icon.tsx";

const TONES = { pending: "attention", verified: "good", rejected: "off", withdrawn: "off", expired: "off" } as const;

/** One credential and how it stands, for its owner and for whoever verifies it. */
export function CredentialLine({ credential, showOwner = false, children }: { readonly credential: Credential; readonly showOwner?: boolean; readonly children?: ReactNode }) {
  const { t, format } = useI18n();
  const last = credential.decisions.at(-1);
  const facts = [
    credential.profession && t.admin.role[credential.profession], credential.state,
    credential.expires_on && t.care.credentials.expiresOn(format.date(`${credential.expires_on}T12:00:00Z`, "UTC")),
  ].filter((fact) => fact !== undefined && fact !== null && fact !== "");
  return (
    <li className="line" data-testid="credential" data-status={credential.status} data-kind={credential.kind}>
      <Icon name="shield" />
      <div className="line-text">
        {showOwner && <p className="line-title">{credential.person.display_name}</p>}
        <p className="line-title">{t.care.credentials.kind[credential.kind]} {credential.number} <Badge tone={TONES[credential.status]}>{t.care.credentials.status[credential.status]}</Badge></p>
        {facts.length > 0 && <p className="muted">{facts.join(" · ")}</p>}
        {credential.status === "rejected" && last?.reason && <p>{t.care.credentials.rejectedBecause(last.reason)}</p>}
      </div>
      <div className="row">{children}</div>
    </li>
  );
}
