/**
 * One RTCPeerConnection to one edge: prepared early, connected once, never renegotiated.
 * Knows nothing of rooms or fall-backs; `VisitSession` decides when a connection is given up.
 */
import { type ClientMessage, type ServerMessage, type Source, parseServerMessage } from "./messages.ts";
import { addLines, type Lines } from "./offer.ts";
import { answerAfterRestart, iceParameters, restartFragment } from "./sdp.ts";
import type { Timings } from "./timings.ts";
import { type Credential, whipDelete, whipPost, type WhipResource, whipRestart } from "./whip.ts";

/** Until `welcome` names another. */
const HEARTBEAT_MS = 500;
/** Heartbeats without any word from the edge before it counts as gone: a second and a half, so that one late answer is no loss. */
const HEARTBEATS_MISSED_MAX = 3;
/** Relay allocation, checks and DTLS on a slow path; a fall-back edge is waiting meanwhile. */
const CONNECT_TIMEOUT_MS = 8_000;
/** Messages kept until a connection is in use: it greets with a handful. */
const HELD_MAX = 64;

export interface ConnectionHandlers {
  message(message: ServerMessage): void;
  /** The control channel is open. */
  ready(): void;
  /** The edge does not answer any more, or the transport failed. Called once. */
  lost(): void;
}

export interface ConnectOptions {
  readonly whipUrl: string;
  readonly credential: Credential;
  readonly iceServers: readonly RTCIceServer[];
  readonly relayOnly: boolean;
}

const BASE: RTCConfiguration = { bundlePolicy: "max-bundle", rtcpMuxPolicy: "require" };

export class EdgeConnection {
  readonly pc: RTCPeerConnection;
  readonly #lines: Lines;
  readonly #control: RTCDataChannel;
  readonly #offer: Promise<RTCSessionDescriptionInit>;
  readonly #streams = new Map<string, MediaStream>();
  #resource: WhipResource | null = null;
  #credential: Credential | null = null;
  #heartbeat: ReturnType<typeof setInterval> | undefined;
  #heartbeatMs = HEARTBEAT_MS;
  #heardAt = 0;
  #tickedAt = 0;
  #over = false;
  /** What the edge said before this connection was taken into use. */
  #held: ServerMessage[] | null = [];

  /** Makes the connection and its offer; nothing leaves the machine yet. */
  constructor(private readonly handlers: ConnectionHandlers, private readonly timings: Timings) {
    this.pc = new RTCPeerConnection(BASE);
    this.#lines = addLines(this.pc);
    this.#control = this.pc.createDataChannel("control", { ordered: true });
    this.#control.onmessage = (event) => this.#receive(event.data);
    this.#control.onopen = () => this.#open();
    this.#control.onclose = () => this.#lose();
    this.pc.onconnectionstatechange = () => {
      if (this.pc.connectionState === "connected") this.timings.reach("connected");
      if (this.pc.connectionState === "failed") this.#lose();
    };
    this.#offer = this.pc.createOffer();
    this.#offer.catch(() => this.#lose());
  }

  /** Resolves when the offer exists. */
  async prepared(): Promise<void> {
    await this.#offer;
  }

  /** Offers, takes the answer and waits until media can flow. Throws `WhipError`, or `Error` if no path opens in time. */
  async connect(options: ConnectOptions): Promise<void> {
    const offer = await this.#offer;
    this.timings.reach("offer");
    this.pc.setConfiguration({
      ...BASE,
      iceServers: [...options.iceServers],
      iceTransportPolicy: options.relayOnly ? "relay" : "all",
    });
    this.#credential = options.credential;
    // The edge is ICE-lite and needs none of our candidates: the offer goes out while gathering begins.
    const [resource] = await Promise.all([
      whipPost(options.whipUrl, options.credential, offer.sdp ?? ""),
      this.pc.setLocalDescription(offer),
    ]);
    this.#resource = resource;
    this.timings.counters.sdp_exchanges += 1;
    this.timings.reach("answer");
    await this.pc.setRemoteDescription({ type: "answer", sdp: resource.answer });
    await this.#whenConnected();
  }

  /** After a change of network: new ICE credentials on the same connection. Throws if the edge cannot be asked. */
  async restartIce(): Promise<void> {
    const { pc } = this;
    const resource = this.#resource;
    if (resource === null || this.#credential === null || this.#over) throw new Error("not connected");
    const offer = await pc.createOffer({ iceRestart: true });
    await pc.setLocalDescription(offer);
    const ice = iceParameters(offer.sdp ?? "");
    if (ice === null) throw new Error("an offer has ICE parameters");
    this.timings.counters.ice_restarts += 1;
    const fragment = await whipRestart(resource, this.#credential, restartFragment(ice));
    const answer = answerAfterRestart(resource.answer, fragment);
    this.#resource = { ...resource, answer };
    await pc.setRemoteDescription({ type: "answer", sdp: answer });
    this.#heardAt = performance.now();
  }

  /** Puts a track on its m-line, or takes it off; never a new negotiation. */
  async setTrack(source: Source, track: MediaStreamTrack | null): Promise<void> {
    const sender = this.#lines.senders[source];
    if (!this.#over && sender.track !== track) await sender.replaceTrack(track);
  }

  /** The stream of a receive slot; the same object each time. */
  stream(mid: string): MediaStream | null {
    const known = this.#streams.get(mid);
    if (known !== undefined) return known;
    const line = this.#lines.receivers.find((transceiver) => transceiver.mid === mid);
    if (line === undefined) return null;
    const stream = new MediaStream([line.receiver.track]);
    this.#streams.set(mid, stream);
    return stream;
  }

  /** From here on messages are passed on, beginning with those that came early. */
  use(): void {
    const early = this.#held ?? [];
    this.#held = null;
    for (const message of early) this.handlers.message(message);
  }

  send(message: ClientMessage): void {
    if (this.#control.readyState === "open") this.#control.send(JSON.stringify(message));
  }

  /** Closes for good. `tellEdge` frees the place there at once. */
  close(tellEdge: boolean): void {
    if (tellEdge) {
      this.send({ type: "leave" });
      if (this.#resource !== null && this.#credential !== null) whipDelete(this.#resource, this.#credential).catch(() => undefined);
    }
    this.#over = true;
    clearInterval(this.#heartbeat);
    this.pc.close();
  }

  async #whenConnected(): Promise<void> {
    const { pc } = this;
    if (pc.connectionState === "connected") return;
    await new Promise<void>((resolve, reject) => {
      const finish = (error: Error | null) => {
        clearTimeout(timer);
        pc.removeEventListener("connectionstatechange", look);
        if (error === null) resolve();
        else reject(error);
      };
      const look = () => {
        if (pc.connectionState === "connected") finish(null);
        if (pc.connectionState === "failed" || pc.connectionState === "closed") finish(new Error("no path to the edge"));
      };
      const timer = setTimeout(() => finish(new Error("no path to the edge in time")), CONNECT_TIMEOUT_MS);
      pc.addEventListener("connectionstatechange", look);
    });
  }

  #open(): void {
    this.timings.reach("control");
    this.#beat(HEARTBEAT_MS);
    this.handlers.ready();
  }

  #receive(data: unknown): void {
    this.#heardAt = performance.now();
    const message = parseServerMessage(data);
    if (message === null || this.#over) return;
    if (message.type === "welcome" && message.heartbeat_ms >= 100) this.#beat(message.heartbeat_ms);
    if (this.#held === null) this.handlers.message(message);
    else if (this.#held.length < HELD_MAX) this.#held.push(message);
  }

  #beat(everyMs: number): void {
    clearInterval(this.#heartbeat);
    this.#heartbeatMs = everyMs;
    this.#heardAt = this.#tickedAt = performance.now();
    this.#heartbeat = setInterval(() => this.#tick(), everyMs);
  }

  #tick(): void {
    const now = performance.now();
    // A page that was asleep heard nothing because it did not listen.
    if (now - this.#tickedAt > 2 * this.#heartbeatMs) this.#heardAt = now;
    this.#tickedAt = now;
    // Half a beat of grace below the limit: ticks and answers are never in step.
    if (now - this.#heardAt > (HEARTBEATS_MISSED_MAX - 0.5) * this.#heartbeatMs) {
      this.timings.counters.heartbeats_missed += HEARTBEATS_MISSED_MAX;
      this.#lose();
      return;
    }
    this.send({ type: "ping", t: Math.round(now) });
  }

  #lose(): void {
    if (this.#over) return;
    this.#over = true;
    clearInterval(this.#heartbeat);
    this.handlers.lost();
  }
}
