import type { LocalMedia, VisitSession } from "@medmesh/media";
import { useCallback, useEffect, useLayoutEffect, useMemo, useRef, useState } from "react";
import { useAccount } from "../account/Gate.tsx";
import { Button, Notice } from "../components/basics.tsx";
import { Icon, Mark } from "../components/Icon.tsx";
import { useArrival, useTitle } from "../components/Shell.tsx";
import { giveFocusBack } from "../hooks/focus.ts";
import { useStore } from "../hooks/store.ts";
import { useI18n } from "../i18n/I18n.tsx";
import { AudioOut } from "./AudioOut.tsx";
import { ChatPanel } from "./ChatPanel.tsx";
import { Controls, type Panel } from "./Controls.tsx";
import { Admit, People } from "./People.tsx";
import { Settings } from "./Settings.tsx";
import { Stage } from "./Stage.tsx";
import { type Chat, useChat } from "./useChat.ts";
import type { LiveVisit } from "./useVisit.ts";

interface Props {
  readonly live: LiveVisit;
  readonly visitId: string;
  readonly session: VisitSession;
  readonly media: LocalMedia;
  readonly title: string;
  readonly onLeave: () => void;
}

/** The visit itself. */
export function Call({ live, visitId, session, media, title, onLeave }: Props) {
  const { t } = useI18n();
  const { api } = useAccount();
  const state = useStore(session.state);
  const { preference, screen, cameraFailure, microphoneFailure } = useStore(media.state);
  const [tried, setTried] = useState<"camera" | "microphone" | null>(null);
  const [panel, setPanel] = useState<Panel>(null);
  const [settings, setSettings] = useState(false);
  const { visit, take, reload } = live;
  const you = state.participant ?? live.you?.participant_id ?? null;
  const chat = useChat(api, visitId, you, live.messages, live.addMessage);
  const unread = useUnread(chat, you, panel === "chat");
  const nameOf = useNames(live);
  const news = useNews(session, nameOf, t);
  const head = useArrival<HTMLHeadingElement>("call");
  useTitle(title);

  const failure = tried === "camera" ? cameraFailure : microphoneFailure;
  const present = useMemo(() => new Set(state.roster.map((entry) => entry.participant)), [state.roster]);
  const waiting = visit?.participants.filter((participant) => participant.state === "waiting" && !present.has(participant.participant_id)) ?? [];
  const mayAdmit = live.you?.role === "clinician";
  // Somebody whose name the last answer did not have.
  const strangers = state.roster.some((entry) => visit !== null && !visit.participants.some((known) => known.participant_id === entry.participant));
  useEffect(() => {
    if (strangers) api.visit(visitId).then(take, () => undefined);
  }, [strangers, api, visitId, take]);
  const end = () => { api.visitEnd(visitId).then(take, reload); };

  return (
    <div className="call" data-testid="call" data-phase={state.phase}>
      <header className="call-top">
        <h1 ref={head} tabIndex={-1} className="call-title"><Mark size={24} /> <span>{title}</span></h1>
        <QualityMark session={session} />
      </header>
      <main className="call-main" data-panel={panel ?? "none"}>
        <div className="call-stage">
          <div className="call-notices">
            {state.phase === "reconnecting" && <Notice tone="warning" testId="reconnecting">{t.call.reconnecting}</Notice>}
            {state.quality?.state === "audio_only" && <Notice tone="warning" testId="audio-only">{t.call.audioOnly}</Notice>}
            {tried !== null && failure !== null && (
              <Notice tone="warning" testId="device-trouble" action={<Button onClick={() => setTried(null)}>{t.common.close}</Button>}>{t.check.failure[tried][failure]}</Notice>
            )}
            {screen !== null && <Notice action={<Button onClick={() => void media.setScreen(false)}>{t.call.stopSharing}</Button>}>{t.call.sharing}</Notice>}
            {mayAdmit && visit !== null && panel !== "people" && waiting.map((participant) => (
              <Notice key={participant.participant_id} testId="waiting-banner" action={<Admit visit={visit} participant={participant} onVisit={take} />}>
                {t.call.waitingBanner(participant.person.display_name)}
              </Notice>
            ))}
            <AudioOut audios={state.audios} speaker={preference.speaker} />
          </div>
          <Stage session={session} media={media} nameOf={nameOf} />
        </div>
        {panel !== null && (
          <SidePanel title={panel === "chat" ? t.chat.title : t.people.title} onClose={() => setPanel(null)}>
            {panel === "chat" && <ChatPanel chat={chat} you={you} nameOf={nameOf} />}
            {panel === "people" && visit !== null && (
              <div className="side-scroll">
                <People visit={visit} present={present} onVisit={take} />
                {mayAdmit && <EndForAll onEnd={end} />}
              </div>
            )}
          </SidePanel>
        )}
      </main>
      <Controls
        media={media} panel={panel} unread={unread} waiting={mayAdmit ? waiting.length : 0}
        onPanel={setPanel} onSettings={() => setSettings(true)} onLeave={onLeave} onTried={setTried}
      />
      {settings && <Settings media={media} session={session} onClose={() => setSettings(false)} />}
      <p className="visually-hidden" role="status" data-testid="news">{news}</p>
    </div>
  );
}

function SidePanel({ title, onClose, children }: { readonly title: string; readonly onClose: () => void; readonly children: React.ReactNode }) {
  const { t } = useI18n();
  const head = useRef<HTMLHeadingElement>(null);
  const opener = useRef<Element | null>(null);
  useLayoutEffect(() => {
    opener.current = document.activeElement;
    head.current?.focus();
  }, [title]);
  useLayoutEffect(() => () => giveFocusBack(opener.current), []);
  return (
    <aside className="side" aria-label={title} onKeyDown={(event) => { if (event.key === "Escape") onClose(); }}>
      <header className="side-head">
        <h2 ref={head} tabIndex={-1}>{title}</h2>
        <button type="button" className="icon-button" aria-label={t.common.close} onClick={onClose}><Icon name="close" /></button>
      </header>
      {children}
    </aside>
  );
}

function EndForAll({ onEnd }: { readonly onEnd: () => void }) {
  const { t } = useI18n();
  const [asked, setAsked] = useState<boolean | null>(null);
  // The question takes the place of the button, and the button that of the question: the focus goes along.
  if (!asked) return <Button tone="quiet" autoFocus={asked === false} onClick={() => setAsked(true)} data-testid="end-visit">{t.call.endForAll}</Button>;
  return (
    <div className="end-visit" role="group" aria-label={t.call.endQuestion}>
      <p><strong>{t.call.endQuestion}</strong> {t.call.endHint}</p>
      <div className="row">
        <Button tone="danger" onClick={onEnd} data-testid="end-visit-confirm">{t.call.endForAll}</Button>
        <Button autoFocus onClick={() => setAsked(false)} data-testid="end-visit-cancel">{t.common.cancel}</Button>
      </div>
    </div>
  );
}

const BARS = { good: 3, fair: 2, poor: 1, audio_only: 1, unknown: 0 } as const;

function QualityMark({ session }: { readonly session: VisitSession }) {
  const { t } = useI18n();
  const { quality, phase } = useStore(session.state);
  const level = phase === "connected" ? quality?.state ?? "good" : "unknown";
  return (
    <p className={`quality quality-${level}`} data-testid="quality" data-state={level}>
      <span className="quality-bars" aria-hidden="true" data-bars={BARS[level]}><i /><i /><i /></span>
      <span className="quality-text">{t.call.qualityState[level]}</span>
    </p>
  );
}

function useNames(live: LiveVisit): (participant: string) => string {
  const { t } = useI18n();
  const participants = live.visit?.participants;
  return useCallback(
    (id: string) => participants?.find((known) => known.participant_id === id)?.person.display_name ?? t.common.unnamed,
    [participants, t],
  );
}

/** Messages of others since the chat was last open. */
function useUnread(chat: Chat, you: string | null, open: boolean): number {
  const theirs = chat.entries.filter((entry) => entry.state === "sent" && entry.participant !== you).length;
  const [seen, setSeen] = useState<number | null>(null);
  useEffect(() => {
    if (open || seen === null) setSeen(theirs);
  }, [open, theirs, seen]);
  return open ? 0 : Math.max(0, theirs - (seen ?? theirs));
}

/** The latest event, in words for a screen reader. */
function useNews(session: VisitSession, nameOf: (participant: string) => string, t: ReturnType<typeof useI18n>["t"]): string {
  const { roster, participant, phase } = useStore(session.state);
  const before = useRef<{ people: ReadonlySet<string>; phase: string }>({ people: new Set(), phase });
  const [news, setNews] = useState("");
  useEffect(() => {
    const people = new Set(roster.map((entry) => entry.participant).filter((id) => id !== participant));
    const came = [...people].find((id) => !before.current.people.has(id));
    const went = [...before.current.people].find((id) => !people.has(id));
    if (came !== undefined) setNews(t.call.joined(nameOf(came)));
    else if (went !== undefined) setNews(t.call.left(nameOf(went)));
    else if (before.current.phase === "reconnecting" && phase === "connected") setNews(t.call.reconnected);
    before.current = { people, phase };
  }, [roster, participant, phase, nameOf, t]);
  return news;
}
