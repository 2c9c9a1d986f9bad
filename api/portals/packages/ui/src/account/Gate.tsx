import { ApiError, ClinicApi, type Role, type Session } from "@medmesh/client";
import { createContext, useCallback, useContext, useEffect, useMemo, useRef, useState, type ReactNode } from "react";
import { Button, Loading, Notice } from "../components/basics.tsx";
import { errorText } from "../hooks/errors.ts";
import { useI18n } from "../i18n/I18n.tsx";
import { IdleWarning } from "../idle/IdleWarning.tsx";
import { onStamps, takeTurn } from "../idle/stamps.ts";
import { IdleContext, useIdle } from "../idle/useIdle.ts";
import { chooseLanguage } from "../i18n/language.ts";
import { Enrol } from "./Enrol.tsx";
import { SecondStep } from "./SecondStep.tsx";
import { type Link, takeLink } from "./links.ts";
import { takeRefusal } from "./outside.ts";
import { Register, SignUp } from "./Register.tsx";
import { SetPassword } from "./SetPassword.tsx";
import { SignIn } from "./SignIn.tsx";
import { StepUp } from "./StepUp.tsx";

export interface Account {
  readonly api: ClinicApi;
  readonly session: Session;
  /** Why an outside sign-in that led here came to nothing. */
  readonly refusal: string | null;
  signOut(): void;
  /** The session has changed: another factor, another language. */
  take(session: Session): void;
}

const Context = createContext<Account | null>(null);

export function useAccount(): Account {
  const value = useContext(Context);
  if (value === null) throw new Error("useAccount outside of Gate");
  return value;
}

type State = { readonly kind: "asking" } | { readonly kind: "out"; readonly ended: boolean } | { readonly kind: "in"; readonly session: Session } | { readonly kind: "failed"; readonly error: unknown };

/** Shows its children to somebody signed in who has one of the roles, and the sign-in form to everybody else. */
export function Gate({ portal, roles, children }: { readonly portal: "patient" | "clinician" | "admin"; readonly roles: readonly Role[]; readonly children: ReactNode }) {
  const { t, setLanguage } = useI18n();
  const api = useMemo(() => new ClinicApi(), []);
  const [state, setState] = useState<State>({ kind: "asking" });
  const [link, setLink] = useState<Link | null>(takeLink);
  const [refusal, setRefusal] = useState(takeRefusal);
  const [asked, setAsked] = useState(false);
  const settle = useRef<(proved: boolean) => void>(() => undefined);

  const enter = useCallback((session: Session) => {
    setLanguage(chooseLanguage([session.locale]), false);
    setState({ kind: "in", session });
  }, [setLanguage]);

  const ask = useCallback(async (byItself = false) => {
    setState({ kind: "asking" });
    try {
      enter(await api.session(byItself));
    } catch (error) {
      const signedOut = error instanceof ApiError && error.status === 401;
      setState(signedOut ? { kind: "out", ended: false } : { kind: "failed", error });
    }
  }, [api, enter]);

  useEffect(() => {
    api.onSignedOut = () => {
      setAsked(false);
      settle.current(false);
      setState((before) => (before.kind === "out" ? before : { kind: "out", ended: before.kind === "in" }));
    };
    api.onStepUp = () => {
      setAsked(true);
      return new Promise((done) => { settle.current = done; });
    };
    void ask();
    return () => { api.onSignedOut = api.onStepUp = null; };
  }, [api, ask]);

  const signOut = useCallback(() => {
    api.logout().catch(() => undefined).finally(() => {
      setState({ kind: "out", ended: false });
      takeTurn();
    });
  }, [api]);

  const idle = useIdle(state.kind === "in" ? state.session.idle_timeout_seconds : null, {
    tell: () => void api.session().catch(() => undefined),
    // Nothing stays in the page; then the service ends the session, and should it not hear of it, it does so by itself.
    lock: () => {
      setAsked(false);
      settle.current(false);
      setState({ kind: "out", ended: true });
      api.logout().catch(() => undefined).finally(takeTurn);
    },
    overtaken: () => void ask(true),
  });
  const isOut = state.kind === "out";
  useEffect(() => {
    if (!isOut) return;
    return onStamps((turned) => {
      // Somebody signed in in another tab, which is signing in here.
      if (turned) api.session(true).then(enter, () => undefined);
    });
  }, [isOut, api, enter]);

  /** By the form: what an outside sign-in came to before is over. */
  const entered = (session: Session) => {
    setRefusal(null);
    takeTurn();
    enter(session);
  };
  const proved = (yes: boolean) => {
    setAsked(false);
    settle.current(yes);
  };

  const allowed = state.kind === "in" && state.session.person.roles.some((role) => roles.includes(role));
  const account = useMemo(() => (state.kind === "in" ? { api, session: state.session, refusal, signOut, take: enter } : null), [api, state, refusal, signOut, enter]);

  if (link !== null) {
    const followed = () => {
      history.replaceState(null, "", location.pathname + location.search);
      setLink(null);
    };
    if (link.kind === "set-password") return <SetPassword api={api} portal={portal} token={link.value} onDone={followed} />;
    if (link.kind === "register") return <Register api={api} token={link.value} onDone={followed} />;
    return <SignUp api={api} clinicId={link.value} onDone={followed} />;
  }
  if (state.kind === "asking") return <Loading />;
  if (state.kind === "failed") {
    return (
      <main className="center">
        <Notice tone="error" action={<Button onClick={() => void ask()}>{t.common.retry}</Button>}>{errorText(state.error, t)}</Notice>
      </main>
    );
  }
  if (account === null || !allowed) {
    const refused = state.kind === "in";
    return <SignIn portal={portal} api={api} onSession={entered} refused={refused} ended={state.kind === "out" && state.ended} refusal={refusal} />;
  }
  const { session } = account;
  const warning = idle.phase.kind === "warning" && <IdleWarning seconds={idle.phase.seconds} onStay={() => idle.watch?.stay()} onLock={signOut} />;
  if (session.standing === "mfa_required") return <>{warning}<SecondStep api={api} session={session} onSession={enter} onSignOut={signOut} /></>;
  if (session.standing === "mfa_enrolment_required") return <>{warning}<Enrol api={api} onSession={enter} onSignOut={signOut} /></>;
  return (
    <Context value={account}>
      <IdleContext value={idle.watch}>
        {children}
        {asked && <StepUp api={api} session={session} onProved={(fresh) => { enter(fresh); proved(true); }} onCancel={() => proved(false)} />}
        {warning}
      </IdleContext>
    </Context>
  );
}
