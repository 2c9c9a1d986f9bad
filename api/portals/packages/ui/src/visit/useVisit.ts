import { ApiError, type ClinicApi, type Message, type Visit, type VisitParticipant } from "@medmesh/client";
import { useCallback, useEffect, useMemo, useState } from "react";

export interface LiveVisit {
  readonly visit: Visit | null;
  readonly error: unknown;
  readonly messages: readonly Message[];
  /** Live updates arrive. */
  readonly live: boolean;
  readonly you: VisitParticipant | null;
  take(visit: Visit): void;
  addMessage(message: Message): void;
  reload(): void;
}

/** Newest version wins, however it arrived. */
function newer(before: Visit | null, next: Visit): Visit {
  const merged = next.you === undefined && before !== null ? { ...next, you: before.you ?? null } : next;
  return before !== null && before.version > next.version ? before : merged;
}

function withMessage(before: readonly Message[], message: Message): readonly Message[] {
  if (before.some((known) => known.id === message.id)) return before;
  return [...before, message].sort((a, b) => a.sent_at.localeCompare(b.sent_at) || a.id.localeCompare(b.id));
}

/** A visit and its messages, first loaded and then followed. */
export function useVisit(api: ClinicApi, visitId: string): LiveVisit {
  const [visit, setVisit] = useState<Visit | null>(null);
  const [messages, setMessages] = useState<readonly Message[]>([]);
  const [error, setError] = useState<unknown>(null);
  const [live, setLive] = useState(false);
  const [turn, setTurn] = useState(0);

  const take = useCallback((next: Visit) => setVisit((before) => newer(before, next)), []);
  const addMessage = useCallback((message: Message) => setMessages((before) => withMessage(before, message)), []);

  useEffect(() => {
    let over = false;
    let stop: (() => void) | null = null;
    setError(null);
    const start = async () => {
      const [loaded, past] = await Promise.all([api.visit(visitId), api.messages(visitId).catch(() => [])]);
      if (over) return;
      take(loaded);
      for (const message of past) addMessage(message);
      stop = api.follow(visitId, past.at(-1)?.id ?? null, {
        visit: take,
        message: addMessage,
        connected: setLive,
        refused: (cause) => { if (cause.status !== 401) setError(cause); },
      });
    };
    start().catch((cause: unknown) => {
      if (!over && !(cause instanceof ApiError && cause.status === 401)) setError(cause);
    });
    return () => {
      over = true;
      stop?.();
    };
  }, [api, visitId, turn, take, addMessage]);

  const you = useMemo(() => visit?.participants.find((participant) => participant.participant_id === visit.you) ?? null, [visit]);
  const reload = useCallback(() => setTurn((n) => n + 1), []);
  return { visit, error, messages, live, you, take, addMessage, reload };
}
