import { newIdempotencyKey, type ClientSystem } from "@medmesh/client";
import { Button, Dialog, errorText, Notice, TextArea, TextField, useAccount, useAttempt, useI18n } from "@medmesh/ui";
import { useState, type FormEvent } from "react";
import { pastedKeys } from "./jwks.ts";
import { ScopeChecks } from "./ScopeChecks.tsx";

interface Props {
  onClose(): void;
  onAdded(system: ClientSystem): void;
}

/** Registers a system: what it is called, what it may, and the keys it proves itself with. */
export function NewSystem({ onClose, onAdded }: Props) {
  const { t } = useI18n();
  const { api } = useAccount();
  const [name, setName] = useState("");
  const [scopes, setScopes] = useState<readonly string[]>([]);
  const [text, setText] = useState("");
  const [fault, setFault] = useState<"malformed" | "private" | null>(null);
  const [key, setKey] = useState(newIdempotencyKey);
  const { busy, error, attempt } = useAttempt();
  const submit = (event: FormEvent) => {
    event.preventDefault();
    const pasted = pastedKeys(text);
    setFault("fault" in pasted ? pasted.fault : null);
    if ("fault" in pasted) return;
    void attempt(async () => onAdded(await api.systems.create({ name: name.trim(), scopes, jwks: { keys: pasted.keys } }, key)));
  };
  // Another content is another intent.
  const change = <T,>(set: (value: T) => void) => (value: T) => { set(value); setKey(newIdempotencyKey()); };
  return (
    <Dialog title={t.systems.add} onClose={onClose} testId="system-dialog" wide>
      <form className="form" onSubmit={submit}>
        <TextField label={t.systems.name} hint={t.systems.nameHint} required maxLength={120} autoComplete="off" value={name} onChange={(event) => change(setName)(event.target.value)} data-testid="system-name" />
        <ScopeChecks scopes={scopes} onChange={change(setScopes)} />
        <TextArea
          label={t.systems.keys} hint={t.systems.keysHint} error={fault === null ? null : t.systems.fault[fault]} required rows={6} autoComplete="off" spellCheck={false}
          value={text} onChange={(event) => { change(setText)(event.target.value); setFault(null); }} data-testid="system-keys"
        />
        {error !== null && <Notice tone="error" testId="system-error">{errorText(error, t, t.systems.errors)}</Notice>}
        <div className="row row-end">
          <Button onClick={onClose}>{t.common.cancel}</Button>
          <Button type="submit" tone="primary" busy={busy} disabled={scopes.length === 0} data-testid="system-submit">{t.systems.add}</Button>
        </div>
      </form>
    </Dialog>
  );
}
