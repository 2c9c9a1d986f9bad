import { Button, Dialog } from "../components/basics.tsx";
import { useI18n } from "../i18n/I18n.tsx";

/** Said shortly before the screen locks. It is read out once, when it opens; the seconds are for the eye. */
export function IdleWarning({ seconds, onStay, onLock }: { readonly seconds: number; readonly onStay: () => void; readonly onLock: () => void }) {
  const { t } = useI18n();
  return (
    <Dialog title={t.idle.title} onClose={onStay} testId="idle-warning" urgent>
      <p>{t.idle.lead}</p>
      <p className="muted" aria-hidden="true">{t.idle.left(seconds)}</p>
      <div className="row row-end">
        <Button onClick={onLock} data-testid="idle-lock">{t.common.signOut}</Button>
        <Button tone="primary" onClick={onStay} data-first data-testid="idle-stay">{t.idle.stay}</Button>
      </div>
    </Dialog>
  );
}
