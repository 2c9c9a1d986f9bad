import { type ClinicApi, type Message, newIdempotencyKey } from "@medmesh/client";
import { useCallback, useMemo, useState } from "react";

/** The service's limit for one message. */
export const MESSAGE_CHARS_MAX = 4000;

export interface ChatEntry {
  readonly key: string;
  readonly participant: string | null;
  readonly body: string;
  readonly sentAt: string | null;
  readonly state: "sent" | "sending" | "failed";
}

interface Pending {
  /** Also the Idempotency-Key: however often it is sent, it is stored once. */
  readonly key: string;
  readonly body: string;
  readonly failed: boolean;
}

export interface Chat {
  readonly entries: readonly ChatEntry[];
  send(body: string): void;
  resend(key: string): void;
}

/** What was said, followed by what is still on its way. A message counts as sent when the service has stored it. */
export function useChat(api: ClinicApi, visitId: string, you: string | null, messages: readonly Message[], onStored: (message: Message) => void): Chat {
  const [pending, setPending] = useState<readonly Pending[]>([]);

  const deliver = useCallback(async (key: string, body: string) => {
    try {
      onStored(await api.messageCreate(visitId, body, key));
      setPending((before) => before.filter((entry) => entry.key !== key));
    } catch {
      setPending((before) => before.map((entry) => (entry.key === key ? { ...entry, failed: true } : entry)));
    }
  }, [api, visitId, onStored]);

  const send = useCallback((body: string) => {
    const key = newIdempotencyKey();
    setPending((before) => [...before, { key, body, failed: false }]);
    void deliver(key, body);
  }, [deliver]);

  const resend = useCallback((key: string) => {
    const entry = pending.find((candidate) => candidate.key === key);
    if (entry === undefined) return;
    setPending((before) => before.map((other) => (other.key === key ? { ...other, failed: false } : other)));
    void deliver(key, entry.body);
  }, [pending, deliver]);

  const entries = useMemo((): ChatEntry[] => [
    ...messages.map((message): ChatEntry => ({
      key: message.id, participant: message.participant_id, body: message.body, sentAt: message.sent_at, state: "sent",
    })),
    ...pending.map((entry): ChatEntry => ({
      key: entry.key, participant: you, body: entry.body, sentAt: null, state: entry.failed ? "failed" : "sending",
    })),
  ], [messages, pending, you]);
  return { entries, send, resend };
}
