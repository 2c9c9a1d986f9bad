import type { ClinicApi, Session } from "@medmesh/client";
import { Button } from "../components/basics.tsx";
import { useTitle } from "../components/Shell.tsx";
import { useI18n } from "../i18n/I18n.tsx";
import { ProofForm } from "./ProofForm.tsx";
import { SignInFrame } from "./SignInFrame.tsx";

interface Props {
  readonly api: ClinicApi;
  readonly session: Session;
  readonly onSession: (session: Session) => void;
  readonly onSignOut: () => void;
}

/** The second step of signing in. */
export function SecondStep({ api, session, onSession, onSignOut }: Props) {
  const { t } = useI18n();
  useTitle(t.secondStep.title);
  return (
    <SignInFrame>
      <div className="sign-in-form" data-testid="second-step">
        <ProofForm
          api={api} session={session} name="second-step" prove={async (proof) => onSession(await api.account.mfaVerify(proof))}
          head={(typed) => (
            <div>
              <h1>{t.secondStep.title}</h1>
              <p className="lead">{typed === "recovery_code" ? t.secondStep.recoveryLead : typed === "totp" ? t.secondStep.codeLead : t.secondStep.passkeyLead}</p>
            </div>
          )}
        >
          <Button tone="quiet" onClick={onSignOut} data-testid="sign-out">{t.common.signOut}</Button>
        </ProofForm>
      </div>
    </SignInFrame>
  );
}
