import { EdgeProbes, LocalMedia, VisitSession } from "@medmesh/media";
import { useCallback, useEffect, useMemo, useRef, useState } from "react";
import { useAccount } from "../account/Gate.tsx";
import { Button, Loading, Notice } from "../components/basics.tsx";
import { Icon } from "../components/Icon.tsx";
import { Shell } from "../components/Shell.tsx";
import { errorText } from "../hooks/errors.ts";
import { go } from "../hooks/path.ts";
import { useStore } from "../hooks/store.ts";
import { useI18n } from "../i18n/I18n.tsx";
import { attends } from "../idle/attends.ts";
import { useAwake } from "../idle/useIdle.ts";
import { Call } from "./Call.tsx";
import { DeviceCheck } from "./DeviceCheck.tsx";
import { storedPreference, usePreferenceKept } from "./devices.tsx";
import { Lobby } from "./Lobby.tsx";
import { useVisit } from "./useVisit.ts";

interface Props {
  readonly visitId: string;
  /** The address says that this person was in the visit: after a reload they come straight back. */
  readonly inCall: boolean;
}

/** From the device check to the farewell; the address is `visit/<id>` before and after, `visit/<id>/call` in between. */
export function VisitPage({ visitId, inCall }: Props) {
  const { t } = useI18n();
  const { api, session: account } = useAccount();
  const live = useVisit(api, visitId);
  const { visit, you, take } = live;
  const [media] = useState(() => new LocalMedia(storedPreference()));
  const [probes] = useState(() => new EdgeProbes(() => api.candidates(visitId)));
  const [round, setRound] = useState(0);
  const [relayOnly, setRelayOnly] = useState(() => new URLSearchParams(location.search).get("relay") === "1");
  const [step, setStep] = useState<"check" | "lobby">(inCall ? "lobby" : "check");
  const [left, setLeft] = useState<{ readonly because: string | null } | null>(null);
  const [busy, setBusy] = useState(false);
  const [error, setError] = useState<unknown>(null);
  usePreferenceKept(media);

  // Each join is a session of its own; `round` counts them.
  const session = useMemo(() => {
    const signalling = { session: api.signalingSession.bind(api) };
    return Object.assign(new VisitSession(visitId, signalling, probes), { round });
  }, [api, visitId, probes, round]);
  session.relayOnly = relayOnly;
  const state = useStore(session.state);
  useAwake(() => {
    const others = state.roster.filter((entry) => entry.participant !== (state.participant ?? you?.participant_id)).length;
    return attends(visit, you, { connected: state.phase === "connected", others }, Date.now());
  });

  useEffect(() => {
    session.timings.expose(window, () => session.report());
    media.onTrack = (source, track, active) => session.setTrack(source, track, active);
    const { microphone, camera, screen, muted } = media.state.get();
    session.setTrack("mic", microphone, !muted);
    session.setTrack("camera", camera, true);
    session.setTrack("screen", screen, true);
    session.prepare().catch(() => undefined);
    return () => session.leave();
  }, [session, media]);
  useEffect(() => {
    const started = media.start();
    void started;
    return () => media.stop();
  }, [media]);

  const join = useCallback(async () => {
    setLeft(null);
    if (you?.role === "clinician" && visit !== null && visit.state !== "open") {
      // Opening and joining do not wait for each other.
      api.visitOpen(visitId).then(take, () => undefined);
    }
    await session.join();
  }, [api, session, take, visit, visitId, you]);

  // After a reload: as soon as it is known that this person may, and their devices have answered.
  const rejoined = useRef(!inCall);
  const starting = useStore(media.state).starting;
  useEffect(() => {
    if (rejoined.current || visit === null || starting) return;
    rejoined.current = true;
    if (visit.state !== "ended") void join();
  }, [visit, starting, join]);

  const { phase, endedBecause } = state;
  useEffect(() => {
    if (phase === "connected") go(["visit", visitId, "call"], true);
    if (phase === "failed") go(["visit", visitId], true);
    if (phase === "left" || phase === "ended") {
      go(["visit", visitId], true);
      void media.setScreen(false);
      setLeft({ because: endedBecause });
      setRound((n) => n + 1);
    }
  }, [phase, endedBecause, visitId, media]);

  const over = visit?.state === "ended";
  useEffect(() => {
    if (over && (phase === "connected" || phase === "reconnecting")) session.leave();
  }, [over, phase, session]);

  const proceed = async () => {
    setBusy(true);
    setError(null);
    try {
      if (you?.role !== "clinician" && you?.state === "expected") take(await api.visitCheckIn(visitId));
      setStep("lobby");
    } catch (cause) {
      setError(cause);
    }
    setBusy(false);
  };

  const others = visit?.participants.filter((participant) => participant.person.id !== account.person.id && participant.role !== "guest") ?? [];
  const title = t.call.title(others[0]?.person.display_name ?? t.lobby.careTeam);
  if (phase === "connected" || phase === "reconnecting") {
    return <Call live={live} visitId={visitId} session={session} media={media} title={title} onLeave={() => session.leave()} />;
  }
  const back = <button type="button" className="nav-link" onClick={() => go([])} data-testid="back"><Icon name="left" /> {t.lobby.toVisits}</button>;
  return (
    <Shell title={title} view={visit === null ? "loading" : step} nav={back}>
      {(error ?? live.error) !== null && (
        <Notice tone="error" action={<Button onClick={() => { setError(null); live.reload(); }}>{t.common.retry}</Button>}>{errorText(error ?? live.error, t)}</Notice>
      )}
      {visit === null ? live.error === null && <Loading />
        : step === "check" && visit.state !== "ended"
          ? <DeviceCheck media={media} relayOnly={relayOnly} onRelayOnly={setRelayOnly} busy={busy} onContinue={() => void proceed()} />
          : <Lobby visit={visit} you={you} media={media} state={state} left={left} onJoin={() => void join()} onCheck={() => setStep("check")} onVisit={take} onExit={() => go([])} />}
    </Shell>
  );
}
