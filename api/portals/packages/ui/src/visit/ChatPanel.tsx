import { useEffect, useRef, useState, type FormEvent, type KeyboardEvent } from "react";
import { Empty } from "../components/basics.tsx";
import { Icon } from "../components/Icon.tsx";
import { useI18n } from "../i18n/I18n.tsx";
import { type Chat, MESSAGE_CHARS_MAX } from "./useChat.ts";

interface Props {
  readonly chat: Chat;
  readonly you: string | null;
  readonly nameOf: (participant: string) => string;
}

export function ChatPanel({ chat, you, nameOf }: Props) {
  const { t, format } = useI18n();
  const end = useRef<HTMLLIElement>(null);
  useEffect(() => {
    end.current?.scrollIntoView({ block: "end" });
  }, [chat.entries.length]);
  return (
    <div className="chat">
      <div className="chat-scroll" role="log" aria-label={t.chat.title} tabIndex={0}>
        {chat.entries.length === 0 && <Empty icon="chat" title={t.chat.empty} />}
        <ol className="chat-list" data-testid="chat-list">
          {chat.entries.map((entry, index) => {
            const mine = entry.participant === you;
            const sameAuthor = chat.entries[index - 1]?.participant === entry.participant;
            return (
              <li key={entry.key} ref={index === chat.entries.length - 1 ? end : null} className={`message${mine ? " message-mine" : ""}`} data-testid="message" data-state={entry.state}>
                {!sameAuthor && !mine && <span className="message-author">{nameOf(entry.participant ?? "")}</span>}
                {mine && <span className="visually-hidden">{t.chat.from(t.common.you)}</span>}
                <p className="message-body">{entry.body}</p>
                <span className="message-meta">
                  {entry.state === "sent" && entry.sentAt !== null && <time dateTime={entry.sentAt}>{format.time(entry.sentAt)}</time>}
                  {entry.state === "sending" && t.chat.sending}
                  {entry.state === "failed" && (
                    <>
                      {t.chat.notSent}{" "}
                      <button type="button" className="link" onClick={() => chat.resend(entry.key)}>{t.chat.resend}</button>
                    </>
                  )}
                </span>
              </li>
            );
          })}
        </ol>
      </div>
      <Compose onSend={chat.send} />
    </div>
  );
}

function Compose({ onSend }: { readonly onSend: (body: string) => void }) {
  const { t, format } = useI18n();
  const [text, setText] = useState("");
  const body = text.trim();
  const tooLong = body.length > MESSAGE_CHARS_MAX;
  const submit = (event?: FormEvent) => {
    event?.preventDefault();
    if (body === "" || tooLong) return;
    onSend(body);
    setText("");
  };
  const keys = (event: KeyboardEvent) => {
    if (event.key === "Enter" && !event.shiftKey && !event.nativeEvent.isComposing) {
      event.preventDefault();
      submit();
    }
  };
  return (
    <form className="compose" onSubmit={submit}>
      <textarea
        className="input" rows={1} aria-label={t.chat.label} placeholder={t.chat.placeholder} value={text}
        onChange={(event) => setText(event.target.value)} onKeyDown={keys} data-testid="chat-input"
        aria-invalid={tooLong || undefined} aria-describedby={tooLong ? "chat-limit" : undefined}
      />
      <button type="submit" className="round round-brand" aria-label={t.chat.send} aria-disabled={body === "" || tooLong} data-testid="chat-send"><Icon name="send" /></button>
      {tooLong && <p className="field-error" id="chat-limit">{t.chat.tooLong(format.number(MESSAGE_CHARS_MAX))}</p>}
    </form>
  );
}
