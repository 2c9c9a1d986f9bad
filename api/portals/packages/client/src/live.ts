/** The live side of a visit: its state and its messages, resumed by `Last-Event-ID` so that none is lost. */
import { ApiError } from "./problem.ts";
import { EventParser, type ServerEvent } from "./sse.ts";
import { BACKGROUND, type Transport } from "./transport.ts";
import type { Message, Visit } from "./types.ts";

/** The server pings more often than this; a silent stream is a dead one. */
const SILENCE_MAX_MS = 40_000;
const BACKOFF_BASE_MS = 300;
const BACKOFF_MAX_MS = 8_000;

export interface LiveHandlers {
  visit(visit: Visit): void;
  message(message: Message): void;
  /** `true` while the stream is up. */
  connected(up: boolean): void;
  /** It does not get through, and goes on trying. */
  troubled(error: unknown): void;
  /** The stream ended for good: signed out, or the visit is gone. */
  refused(error: ApiError): void;
}

/**
 * Follows a visit from its first message on until the returned function is called. It is all a page has to read of the
 * visit, and what comes again after an interruption is only what is new: each reading is an entry in the patient's record.
 */
export function followVisit(transport: Transport, visitId: string, handlers: LiveHandlers): () => void {
  const stop = new AbortController();
  let lastId: string | null = null;
  let version: number | null = null;
  let failures = 0;

  const dispatch = (event: ServerEvent) => {
    if (event.event === "visit") {
      const visit = JSON.parse(event.data) as Visit;
      version = visit.version;
      handlers.visit(visit);
    }
    if (event.event === "message") {
      const message = JSON.parse(event.data) as Message;
      lastId = event.id ?? message.id;
      handlers.message(message);
    }
  };

  const readOnce = async () => {
    const quiet = new AbortController();
    let alarm = setTimeout(() => quiet.abort(), SILENCE_MAX_MS);
    try {
      const headers: Record<string, string> = { Accept: "text/event-stream", ...BACKGROUND };
      if (lastId !== null) headers["Last-Event-ID"] = lastId;
      const signal = AbortSignal.any([stop.signal, quiet.signal]);
      const known = version === null ? "" : `?seen=${version}`;
      const response = await transport.open(`/v1/visits/${encodeURIComponent(visitId)}/events${known}`, headers, signal);
      if (response.body === null) return;
      handlers.connected(true);
      const parser = new EventParser();
      const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
      for (;;) {
        const { done, value } = await reader.read();
        if (done) return;
        failures = 0;
        clearTimeout(alarm);
        alarm = setTimeout(() => quiet.abort(), SILENCE_MAX_MS);
        for (const event of parser.push(value)) dispatch(event);
      }
    } finally {
      clearTimeout(alarm);
      if (!stop.signal.aborted) handlers.connected(false);
    }
  };

  const run = async () => {
    while (!stop.signal.aborted) {
      try {
        await readOnce();
      } catch (error) {
        if (error instanceof ApiError && !error.isPassing) return handlers.refused(error);
        if (!stop.signal.aborted) handlers.troubled(error);
      }
      failures += 1;
      const wait = Math.min(BACKOFF_BASE_MS * 2 ** failures, BACKOFF_MAX_MS) * (0.5 + Math.random() / 2);
      await new Promise<void>((done) => {
        const timer = setTimeout(done, wait);
        stop.signal.addEventListener("abort", () => { clearTimeout(timer); done(); }, { once: true });
      });
    }
  };
  void run();
  return () => stop.abort();
}
