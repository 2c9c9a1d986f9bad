import type { ReactNode } from "react";
import { useAttempt } from "../hooks/attempt.ts";
import { errorText } from "../hooks/errors.ts";
import { useI18n } from "../i18n/I18n.tsx";
import { Button, Dialog, Notice } from "./basics.tsx";

interface Props {
  readonly title: string;
  readonly children: ReactNode;
  readonly submit: string;
  readonly tone?: "primary" | "danger";
  /** What it means here when the service says no. */
  readonly errors?: Readonly<Record<string, string>>;
  readonly testId?: string;
  onConfirm(): Promise<void>;
  onClose(): void;
}

/** A question before something that cannot be taken back; stays open, with the reason, when it fails. */
export function Confirm({ title, children, submit, tone = "danger", errors = {}, testId = "confirm", onConfirm, onClose }: Props) {
  const { t } = useI18n();
  const { busy, error, attempt } = useAttempt();
  return (
    <Dialog title={title} onClose={onClose} testId={testId}>
      <div>{children}</div>
      {error !== null && <Notice tone="error" testId={`${testId}-error`}>{errorText(error, t, errors)}</Notice>}
      <div className="row row-end">
        <Button onClick={onClose}>{t.common.cancel}</Button>
        <Button tone={tone} busy={busy} onClick={() => void attempt(onConfirm)} data-testid={`${testId}-submit`}>{submit}</Button>
      </div>
    </Dialog>
  );
}
