import type { Consent } from "@medmesh/client";
import { Card } from "../components/basics.tsx";
import { useI18n } from "../i18n/I18n.tsx";

/** Digits of a digest that are enough to compare two by eye; the rest is in the title. */
const DIGITS_SHOWN = 16;

/** Every version of what a patient said, and what proves it. `own` where the patient reads it. */
export function ConsentHistory({ said, own }: { readonly said: readonly Consent[]; readonly own: boolean }) {
  const { t, format } = useI18n();
  const by = (consent: Consent) => {
    if (consent.signed_by === "session") return own ? t.record.consent.bySession : t.noted.bySession;
    return `${consent.signed_by === "paper" ? t.record.consent.byPaper : t.record.consent.byWitness} ${consent.recorded_by.display_name}`;
  };
  const decided = (consent: Consent) => (own ? t.record.consent.decision : t.noted.decision)[consent.decision];
  const part = (consent: Consent) => (!own && consent.segment === "general" ? t.noted.general : t.record.consent.segment[consent.segment]);
  return (
    <Card>
      <ul className="lines">
        {said.map((consent) => (
          <li key={consent.id} className="line" data-testid="consent-version" data-signed-by={consent.signed_by}>
            <div className="line-text">
              <p className="line-title">{decided(consent)}: {t.record.consent.purpose[consent.purpose]}, {part(consent)}</p>
              <p className="muted">{format.dateTime(consent.recorded_at)} · {t.record.consent.version(consent.version)} · {by(consent)} · {consent.document}</p>
              {consent.proof_sha256 && <p className="muted" title={consent.proof_sha256} data-testid="consent-proof">{t.noted.scanOf(consent.proof_sha256.slice(0, DIGITS_SHOWN))}</p>}
            </div>
          </li>
        ))}
      </ul>
    </Card>
  );
}
