/**
 * A participant's presence in one visit, from the waiting room to leaving: prepares early, joins fast, and comes back by
 * itself when an edge, a network or a page goes away. At most one connection is in use; a second exists only while moving.
 */
import { EdgeConnection, type ConnectionHandlers } from "./connection.ts";
import { createProofKey, type ProofKey } from "./keys.ts";
import type { Quality, RosterEntry, ServerMessage, Slot, Source } from "./messages.ts";
import type { EdgeProbes, ProbeResult } from "./probes.ts";
import { type CallReport, summarise } from "./report.ts";
import { Store } from "./store.ts";
import { Timings } from "./timings.ts";
import { EdgeWalk } from "./walk.ts";
import { type Credential, WhipError } from "./whip.ts";
import { WishBook } from "./wishes.ts";

export interface SessionGrant {
  readonly participant_id: string;
  readonly join_token: string;
  readonly resume_token: string;
  readonly edges: readonly { readonly id: string; readonly name: string; readonly region: string; readonly whip_url: string }[];
  readonly ice_servers: readonly { readonly urls: readonly string[]; readonly username?: string; readonly credential?: string }[];
}

/** What the session asks of the control plane; the REST client fits. */
export interface Signalling {
  session(request: { visit_id: string; probes: readonly ProbeResult[]; key: JsonWebKey }): Promise<SessionGrant>;
}

export type Phase = "idle" | "joining" | "connected" | "reconnecting" | "failed" | "ended" | "left";

export interface RemoteVideo {
  readonly key: string;
  readonly participant: string;
  readonly source: "camera" | "screen";
  readonly stream: MediaStream;
  /** Not being sent: the network has no room for it. */
  readonly paused: boolean;
}

export interface SessionState {
  readonly phase: Phase;
  /** Of the last failure to join. */
  readonly error: unknown;
  /** Why the room ended it, in the edge's word (`replaced`, `visit_ended`, …). */
  readonly endedBecause: string | null;
  readonly participant: string | null;
  readonly edge: { readonly name: string; readonly region: string } | null;
  readonly roster: readonly RosterEntry[];
  readonly videos: readonly RemoteVideo[];
  readonly audios: readonly { readonly key: string; readonly stream: MediaStream }[];
  readonly speaker: string | null;
  readonly quality: Quality | null;
}

const IDLE: SessionState = {
  phase: "idle", error: null, endedBecause: null, participant: null, edge: null,
  roster: [], videos: [], audios: [], speaker: null, quality: null,
};

/** A join waits this long for probes still under way, then goes with what is known. */
const PROBES_WAIT_MS = 400;
const RESUME_BACKOFF_BASE_MS = 250;
const RESUME_BACKOFF_MAX_MS = 4_000;
/** Rounds of all edges: about three minutes of pauses. Whoever was away longer joins again by hand. */
const RESUME_ROUNDS_MAX = 60;
/** A control plane that does not answer must not keep anybody from the edges there are. */
const RENEW_WAIT_MS = 3_000;

export class VisitSession {
  readonly state = new Store<SessionState>(IDLE);
  readonly timings = new Timings();
  readonly wishes = new WishBook((video) => this.#connection?.send({ type: "wish", video }));
  relayOnly = false;

  readonly #tracks: Record<Source, MediaStreamTrack | null> = { mic: null, camera: null, screen: null };
  readonly #active: Record<Source, boolean> = { mic: false, camera: false, screen: false };
  readonly #paused = new Set<number>();
  #slots: { audio: readonly (Slot | null)[]; video: readonly (Slot | null)[] } = { audio: [], video: [] };
  #key: Promise<ProofKey> | null = null;
  #ready: EdgeConnection | null = null;
  #connection: EdgeConnection | null = null;
  #grant: SessionGrant | null = null;
  #edgeIndex = 0;
  #resuming = false;
  #wake: (() => void) | null = null;
  #unlisten: (() => void) | null = null;

  constructor(private readonly visitId: string, private readonly signalling: Signalling, private readonly probes: EdgeProbes) {}

  /** Everything that can be done before the click: key, probes, connection, offer. Cheap to call again. */
  async prepare(): Promise<void> {
    this.#key ??= createProofKey();
    if (!this.#isOver) this.#ready ??= this.#newConnection();
    await Promise.all([this.#key, this.probes.take(), this.#ready?.prepared()]);
  }

  /** Joins; the outcome is in `state`. Does nothing while a join or a visit is under way. */
  async join(): Promise<void> {
    const { phase } = this.state.get();
    if (phase === "joining" || phase === "connected" || phase === "reconnecting") return;
    this.timings.begin();
    this.state.patch({ ...IDLE, phase: "joining" });
    try {
      this.#grant = await this.#newGrant();
      this.timings.reach("session");
      await this.#joinFirstEdge(this.#grant);
      if (!this.#isOver) this.#listen();
    } catch (error) {
      this.#drop();
      if (!this.#isOver) this.state.patch({ phase: "failed", error });
    }
  }

  /** The track to send for a source, or `null`; `active` is what the others are told. */
  setTrack(source: Source, track: MediaStreamTrack | null, active: boolean): void {
    const told = active && track !== null;
    const changed = this.#active[source] !== told;
    this.#tracks[source] = track;
    this.#active[source] = told;
    for (const connection of [this.#ready, this.#connection]) connection?.setTrack(source, track).catch(() => undefined);
    if (changed) this.#connection?.send({ type: "source", source, active: told });
  }

  /** Notes the first decoded picture of another participant. */
  watchFirstFrame(video: HTMLVideoElement): void {
    if ("requestVideoFrameCallback" in video) video.requestVideoFrameCallback(() => this.timings.reach("first_frame"));
  }

  async report(): Promise<CallReport | null> {
    const stats = await this.#connection?.pc.getStats().catch(() => null);
    return stats ? summarise((stats as unknown as Map<string, Record<string, unknown>>).values()) : null;
  }

  leave(): void {
    this.#finish("left", null, true);
  }

  async #newGrant(): Promise<SessionGrant> {
    await Promise.race([this.prepare(), new Promise((done) => setTimeout(done, PROBES_WAIT_MS))]);
    const key = await this.#key;
    if (key === null) throw new Error("prepare() made a key");
    return this.signalling.session({ visit_id: this.visitId, probes: this.probes.results, key: key.publicJwk });
  }

  async #joinFirstEdge(grant: SessionGrant): Promise<void> {
    let failure: unknown = new Error("no edge was offered");
    for (const [index, edge] of grant.edges.entries()) {
      if (this.#isOver) return;
      this.#edgeIndex = index;
      try {
        const connection = this.#ready ?? this.#newConnection();
        this.#ready = null;
        this.#connection = connection;
        await this.#connect(connection, edge.whip_url, { kind: "join", token: grant.join_token });
        return this.#use(connection);
      } catch (error) {
        failure = error;
        this.#drop();
        if (error instanceof WhipError && error.status >= 400 && error.status < 500) break;
      }
    }
    throw failure;
  }

  async #connect(connection: EdgeConnection, whipUrl: string, credential: Credential): Promise<void> {
    const iceServers = (this.#grant?.ice_servers ?? []).map((server) => ({ ...server, urls: [...server.urls] }));
    await connection.connect({ whipUrl, credential, iceServers, relayOnly: this.relayOnly });
  }

  #use(connection: EdgeConnection): void {
    const edge = this.#grant?.edges[this.#edgeIndex];
    const participant = this.#grant?.participant_id ?? null;
    this.#connection = connection;
    this.state.patch({ phase: "connected", error: null, participant, edge: edge ? { name: edge.name, region: edge.region } : null });
    this.#slots = { audio: [], video: [] };
    connection.use();
    this.wishes.repeat();
    this.#rebuild();
  }

  #newConnection(): EdgeConnection {
    const handlers: ConnectionHandlers = {
      message: (message) => this.#handle(connection, message),
      ready: () => this.#introduce(connection),
      lost: () => {
        if (connection === this.#connection && this.state.get().phase !== "joining") void this.#resume();
      },
    };
    const connection: EdgeConnection = new EdgeConnection(handlers, this.timings);
    for (const source of ["mic", "camera", "screen"] as const) connection.setTrack(source, this.#tracks[source]).catch(() => undefined);
    return connection;
  }

  /** Tells a new edge what it cannot know: what is on, and what is wanted. */
  #introduce(connection: EdgeConnection): void {
    for (const source of ["mic", "camera", "screen"] as const) connection.send({ type: "source", source, active: this.#active[source] });
    if (connection === this.#connection) this.wishes.repeat();
  }

  #handle(from: EdgeConnection, message: ServerMessage): void {
    if (message.type === "ended") {
      // The old edge says so when the participant has moved on to another: only the connection in use counts.
      if (from === this.#connection && !this.#resuming) this.#finish("ended", message.reason, false);
      return;
    }
    if (from !== this.#connection) return;
    if (message.type === "roster") this.state.patch({ roster: message.participants });
    else if (message.type === "speaker") this.state.patch({ speaker: message.participant });
    else if (message.type === "quality") {
      const { estimate_bps, loss_ratio, rtt_ms, state } = message;
      this.state.patch({ quality: { estimate_bps, loss_ratio, rtt_ms, state } });
    } else if (message.type === "migrate") void this.#resume();
    else if (message.type === "slots") {
      this.#slots = message;
      this.#rebuild();
    } else if (message.type === "layer") {
      if (message.rid === null && message.reason === "bandwidth") this.#paused.add(message.slot);
      else this.#paused.delete(message.slot);
      this.#rebuild();
    }
  }

  #rebuild(): void {
    const connection = this.#connection;
    if (connection === null) return;
    const known = new Map(this.state.get().videos.map((video) => [video.key, video]));
    const videos = this.#slots.video.flatMap((slot, index): RemoteVideo[] => {
      const stream = slot === null ? null : connection.stream(slot.mid);
      if (slot === null || stream === null || slot.source === "mic") return [];
      const key = `${slot.participant}|${slot.source}`;
      const paused = this.#paused.has(index);
      const before = known.get(key);
      if (before !== undefined && before.stream === stream && before.paused === paused) return [before];
      return [{ key, participant: slot.participant, source: slot.source, stream, paused }];
    });
    // Every audio slot plays from the start: whoever is mapped onto it is heard with the first packet.
    const audios = this.#slots.audio.flatMap((slot) => {
      const stream = slot === null ? null : connection.stream(slot.mid);
      return slot === null || stream === null ? [] : [{ key: slot.mid, stream }];
    });
    this.state.patch({ videos, audios });
  }

  /** Moves to the next edge that answers; the present picture stays until the new connection is up. */
  async #resume(): Promise<void> {
    const grant = this.#grant;
    if (this.#resuming || this.#isOver || grant === null) return;
    this.#resuming = true;
    this.state.patch({ phase: "reconnecting" });
    const walk = new EdgeWalk(grant.edges.length, this.#edgeIndex);
    try {
      while (walk.rounds < RESUME_ROUNDS_MAX && !this.#isOver) {
        const status = await this.#resumeAt(walk.next());
        if (status === null) return;
        const { renew, pause } = walk.failed(status);
        if (renew && await this.#renewGrant()) walk.restart(this.#grant?.edges.length ?? 0);
        if (pause) await this.#pause(Math.min(RESUME_BACKOFF_BASE_MS * 2 ** walk.rounds, RESUME_BACKOFF_MAX_MS));
      }
      if (!this.#isOver) this.#finish("ended", "unreachable", false);
    } finally {
      this.#resuming = false;
    }
  }

  /** Tries one edge of the grant. `null` when that is settled, else what the edge answered, 0 for nothing. */
  async #resumeAt(index: number): Promise<number | null> {
    const key = await this.#key;
    const grant = this.#grant;
    const edge = grant?.edges[index];
    if (grant === null || key === null || edge === undefined) return 0;
    this.#edgeIndex = index;
    const next = this.#newConnection();
    const before = this.#connection;
    try {
      await this.#connect(next, edge.whip_url, { kind: "resume", token: grant.resume_token, key });
    } catch (error) {
      next.close(false);
      return error instanceof WhipError ? error.status : 0;
    }
    if (this.#isOver) {
      next.close(true);
      return null;
    }
    this.timings.counters.resumes += 1;
    this.#paused.clear();
    this.#use(next);
    before?.close(false);
    return null;
  }

  /** The tokens or the edges are of no use any more: asks for new ones, if the control plane is there. */
  async #renewGrant(): Promise<boolean> {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const late = new Promise<null>((done) => { timer = setTimeout(() => done(null), RENEW_WAIT_MS); });
    try {
      const grant = await Promise.race([this.#newGrant(), late]);
      if (grant !== null) this.#grant = grant;
      return grant !== null;
    } catch {
      // Not now; the walk goes on, and the old tokens may still work on another edge.
      return false;
    } finally {
      clearTimeout(timer);
    }
  }

  async #pause(ms: number): Promise<void> {
    await new Promise<void>((done) => {
      const timer = setTimeout(done, ms * (0.5 + Math.random() / 2));
      this.#wake = () => { clearTimeout(timer); done(); };
    });
    this.#wake = null;
  }

  /** A new network is a reason to try at once. */
  #listen(): void {
    const changed = () => {
      if (this.state.get().phase === "reconnecting") this.#wake?.();
      else if (this.state.get().phase === "connected") this.#connection?.restartIce().catch(() => void this.#resume());
    };
    const network = (navigator as Navigator & { connection?: EventTarget }).connection;
    window.addEventListener("online", changed);
    network?.addEventListener("change", changed);
    this.#unlisten = () => {
      window.removeEventListener("online", changed);
      network?.removeEventListener("change", changed);
    };
  }

  get #isOver(): boolean {
    const { phase } = this.state.get();
    return phase === "left" || phase === "ended";
  }

  #drop(): void {
    this.#connection?.close(false);
    this.#connection = null;
  }

  #finish(phase: "left" | "ended", endedBecause: string | null, tellEdge: boolean): void {
    if (this.#isOver) return;
    this.state.patch({ ...IDLE, phase, endedBecause });
    this.#unlisten?.();
    this.#wake?.();
    this.wishes.close();
    this.#connection?.close(tellEdge);
    this.#ready?.close(false);
    this.#connection = this.#ready = null;
    this.#slots = { audio: [], video: [] };
    this.#paused.clear();
  }
}
