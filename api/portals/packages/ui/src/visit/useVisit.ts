import type { ClinicApi, Message, Visit, VisitParticipant } from "@medmesh/client";
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

/** A visit and its messages, followed from the first one on. */
export function useVisit(api: ClinicApi, visitId: string): LiveVisit {
  const [visit, setVisit] = useState<Visit | null>(null);
  const [messages, setMessages] = useState<readonly Message[]>([]);
  const [refused, setRefused] = useState<unknown>(null);
  /** Why nothing came yet; who has seen the visit is not told of every interruption. */
  const [trouble, setTrouble] = useState<unknown>(null);
  const [live, setLive] = useState(false);
  const [turn, setTurn] = useState(0);

  const take = useCallback((next: Visit) => setVisit((before) => newer(before, next)), []);
  const addMessage = useCallback((message: Message) => setMessages((before) => withMessage(before, message)), []);

  // The stream begins with the visit and all that was said: a second reading would be a second entry in the patient's record.
  useEffect(() => {
    setRefused(null);
    setTrouble(null);
    return api.follow(visitId, {
      visit: take,
      message: addMessage,
      connected: setLive,
      troubled: setTrouble,
      refused: (cause) => { if (cause.status !== 401) setRefused(cause); },
    });
  }, [api, visitId, turn, take, addMessage]);

  const you = useMemo(() => visit?.participants.find((participant) => participant.participant_id === visit.you) ?? null, [visit]);
  const reload = useCallback(() => setTurn((n) => n + 1), []);
  const error = refused ?? (visit === null ? trouble : null);
  return { visit, error, messages, live, you, take, addMessage, reload };
}
