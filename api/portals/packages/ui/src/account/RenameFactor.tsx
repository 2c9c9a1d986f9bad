import { useState, type FormEvent } from "react";
import { Button, Dialog, Notice, TextField } from "../components/basics.tsx";
import { useAttempt } from "../hooks/attempt.ts";
import { errorText } from "../hooks/errors.ts";
import { useI18n } from "../i18n/I18n.tsx";

/** Longest name the service takes, characters. */
const NAME_CHARS_MAX = 60;

interface Props {
  readonly name: string;
  onRename(name: string): Promise<void>;
  onClose(): void;
}

/** What somebody calls a passkey or an app of theirs. */
export function RenameFactor({ name, onRename, onClose }: Props) {
  const { t } = useI18n();
  const [typed, setTyped] = useState(name);
  const { busy, error, attempt } = useAttempt();
  const submit = (event: FormEvent) => {
    event.preventDefault();
    void attempt(() => onRename(typed.trim()));
  };
  return (
    <Dialog title={t.account.renameTitle} onClose={onClose} testId="rename-dialog">
      <form className="form" onSubmit={submit}>
        <TextField
          label={t.account.factorName} hint={t.account.factorNameHint} required maxLength={NAME_CHARS_MAX} autoComplete="off"
          value={typed} onChange={(event) => setTyped(event.target.value)} data-testid="rename-name"
        />
        {error !== null && <Notice tone="error" testId="rename-error">{errorText(error, t)}</Notice>}
        <div className="row row-end">
          <Button onClick={onClose}>{t.common.cancel}</Button>
          <Button type="submit" tone="primary" busy={busy} disabled={typed.trim() === ""} data-testid="rename-submit">{t.account.rename}</Button>
        </div>
      </form>
    </Dialog>
  );
}
