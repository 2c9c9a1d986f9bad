import type { Disclosure } from "@medmesh/client";
import { Badge } from "../components/basics.tsx";
import { Icon } from "../components/Icon.tsx";
import { useI18n } from "../i18n/I18n.tsx";

/** One line of the account of what left the clinic: all that 45 CFR 164.528(b)(2) asks for. */
export function DisclosureLine({ item }: { readonly item: Disclosure }) {
  const { t, format } = useI18n();
  return (
    <li className="line" data-testid="disclosure" data-basis={item.basis}>
      <Icon name="document" />
      <div className="line-text">
        <p className="line-title">{item.recipient} <Badge tone={item.basis === "breach" ? "attention" : "calm"}>{t.noted.basis[item.basis] ?? item.basis}</Badge></p>
        {item.address && <p className="muted">{item.address}</p>}
        <p>{t.record.access.outsideLine(item.description, item.purpose)}</p>
        <p className="muted">{t.noted.given(format.dateTime(item.disclosed_at))} · {t.noted.notedAt(format.dateTime(item.recorded_at))}</p>
      </div>
    </li>
  );
}
