import { useState } from "react";
import { Button, Check } from "../components/basics.tsx";
import { useI18n } from "../i18n/I18n.tsx";

/** Recovery codes, shown this once: to be copied or printed; going on wants a yes. */
export function Codes({ codes, onDone }: { readonly codes: readonly string[]; readonly onDone: () => void }) {
  const { t } = useI18n();
  const [kept, setKept] = useState(false);
  const [copied, setCopied] = useState(false);
  const copy = async () => {
    await navigator.clipboard.writeText(codes.join("\n"));
    setCopied(true);
  };
  return (
    <>
      <ol className="codes">
        {codes.map((code) => <li key={code}><code className="secret" data-testid="recovery-code">{code}</code></li>)}
      </ol>
      <div className="row">
        <Button icon="copy" onClick={() => void copy()} data-testid="codes-copy">{t.account.copy}</Button>
        <Button icon="print" onClick={() => window.print()} data-testid="codes-print">{t.account.print}</Button>
        <span role="status" className="muted">{copied ? t.account.copied : ""}</span>
      </div>
      <Check label={t.enrol.kept} checked={kept} onChange={(event) => setKept(event.target.checked)} data-testid="enrol-kept" />
      <Button tone="primary" large disabled={!kept} onClick={onDone} data-testid="enrol-done">{t.enrol.done}</Button>
    </>
  );
}
