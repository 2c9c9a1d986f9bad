import type { ClinicApi, Session } from "@medmesh/client";
import { Button, Dialog } from "../components/basics.tsx";
import { useI18n } from "../i18n/I18n.tsx";
import { ProofForm } from "./ProofForm.tsx";

interface Props {
  readonly api: ClinicApi;
  readonly session: Session;
  readonly onProved: (session: Session) => void;
  readonly onCancel: () => void;
}

/** Asks for a proof in the middle of things, because what was asked for weighs more than the rest. */
export function StepUp({ api, session, onProved, onCancel }: Props) {
  const { t } = useI18n();
  return (
    <Dialog title={t.secondStep.title} onClose={onCancel} testId="step-up">
      <ProofForm
        api={api} session={session} name="step-up" prove={async (proof) => onProved(await api.account.stepUp(proof))}
        head={(typed) => (
          <div>
            <p>{t.account.stepUpLead}</p>
            <p className="muted">{leadOf(typed)}</p>
          </div>
        )}
      >
        <Button tone="quiet" onClick={onCancel} data-testid="step-up-cancel">{t.common.cancel}</Button>
      </ProofForm>
    </Dialog>
  );

  function leadOf(typed: string | null): string {
    if (typed === "recovery_code") return t.secondStep.recoveryLead;
    if (typed === "totp") return t.secondStep.codeLead;
    return typed === "password" ? t.account.passwordLead : t.secondStep.passkeyLead;
  }
}
