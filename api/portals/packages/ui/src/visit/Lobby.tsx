import type { LocalMedia, SessionState } from "@medmesh/media";
import { WhipError } from "@medmesh/media";
import { useAccount } from "../account/Gate.tsx";
import { Button, Card, Notice } from "../components/basics.tsx";
import { Icon } from "../components/Icon.tsx";
import { errorText } from "../hooks/errors.ts";
import { useI18n } from "../i18n/I18n.tsx";
import { ApiError, type Visit, type VisitParticipant } from "@medmesh/client";
import { Preview } from "./DeviceCheck.tsx";
import { People } from "./People.tsx";

interface Props {
  readonly visit: Visit;
  readonly you: VisitParticipant | null;
  readonly media: LocalMedia;
  readonly state: SessionState;
  /** After leaving, rather than before coming; and why, if it was not their own doing. */
  readonly left: { readonly because: string | null } | null;
  readonly onJoin: () => void;
  readonly onCheck: () => void;
  readonly onVisit: (visit: Visit) => void;
  readonly onExit: () => void;
}

/** Before and after: the waiting room, the door, and the way back in. */
export function Lobby({ visit, you, media, state, left, onJoin, onCheck, onVisit, onExit }: Props) {
  const { t, format } = useI18n();
  const { session } = useAccount();
  const ended = visit.state === "ended";
  // Whoever was let in stays let in; but before the visit is open nobody but the clinician joins.
  const letIn = you?.state === "admitted" || you?.state === "in_call" || you?.state === "left";
  const admitted = you?.role === "clinician" || (letIn && visit.state === "open");
  const host = visit.participants.find((participant) => participant.role === "clinician");
  const hostName = host === undefined || host.person.id === session.person.id ? t.lobby.careTeam : host.person.display_name;
  const text = ended ? { title: t.lobby.endedTitle, lead: t.lobby.endedLead }
    : left ? { title: t.lobby.leftTitle, lead: left.because === "replaced" ? t.lobby.elsewhere : left.because === "unreachable" ? t.lobby.unreachable : t.lobby.leftLead }
    : you?.role === "clinician" ? { title: t.lobby.clinicianTitle, lead: t.lobby.clinicianLead }
    : admitted ? { title: t.lobby.readyTitle(hostName), lead: t.lobby.readyLead }
    : { title: t.lobby.waitingTitle, lead: t.lobby.waitingLead(hostName) };
  const joining = state.phase === "joining";

  return (
    <section className="lobby" aria-labelledby="lobby-title" data-testid="lobby" data-state={ended ? "ended" : admitted ? "ready" : "waiting"}>
      <div className="lobby-columns">
        <Card className="lobby-card">
          {!admitted && !ended && <Calm />}
          <div role="status">
            <h1 id="lobby-title">{text.title}</h1>
            <p className="lead">{text.lead}</p>
          </div>
          {!admitted && !ended && <p className="muted">{t.lobby.waitingCalm}</p>}
          <p className="lobby-time"><Icon name="clock" /> {format.timeRange(visit.starts_at, visit.ends_at)}</p>
          {state.phase === "failed" && <Notice tone="error" testId="join-error"><strong>{t.lobby.failed}.</strong> {joinErrorText(state.error, t)}</Notice>}
          <div className="row">
            {admitted && !ended && (
              <Button tone="primary" large icon="camera" busy={joining} onClick={onJoin} data-testid="join">
                {joining ? t.lobby.joining : left ? t.lobby.rejoin : t.lobby.join}
              </Button>
            )}
            {!ended && <Button large onClick={onCheck}>{t.lobby.checkAgain}</Button>}
            {(ended || left !== null) && <Button tone={ended ? "primary" : "quiet"} onClick={onExit} data-testid="to-visits">{t.lobby.toVisits}</Button>}
          </div>
        </Card>
        <div className="lobby-side">
          {!ended && <Preview media={media} />}
          {you?.role !== "patient" && !ended && <Card><People visit={visit} present={NOBODY} onVisit={onVisit} /></Card>}
        </div>
      </div>
    </section>
  );
}

const NOBODY: ReadonlySet<string> = new Set();

function joinErrorText(error: unknown, t: ReturnType<typeof useI18n>["t"]): string {
  if (error instanceof ApiError) return errorText(error, t);
  if (error instanceof WhipError && error.code === "visit_full") return t.errors.visit_full;
  if (error instanceof WhipError && error.status !== 0) return t.errors.other;
  return t.errors.media;
}

/** A slow breath, while waiting; still for whoever asked for no motion. */
function Calm() {
  return <div className="calm" aria-hidden="true"><span /><span /><span /></div>;
}
