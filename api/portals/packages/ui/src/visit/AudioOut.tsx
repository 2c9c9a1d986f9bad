import { useEffect, useRef, useState } from "react";
import { Button, Notice } from "../components/basics.tsx";
import { useI18n } from "../i18n/I18n.tsx";

type WithSink = HTMLAudioElement & { setSinkId?: (id: string) => Promise<void> };

interface Props {
  readonly audios: readonly { readonly key: string; readonly stream: MediaStream }[];
  readonly speaker: string | undefined;
}

/** Everybody's sound, on the chosen speaker. */
export function AudioOut({ audios, speaker }: Props) {
  const { t } = useI18n();
  const [blocked, setBlocked] = useState(false);
  const elements = useRef(new Map<string, HTMLAudioElement>());
  const resume = () => {
    setBlocked(false);
    for (const element of elements.current.values()) element.play().catch(() => setBlocked(true));
  };
  return (
    <>
      {audios.map(({ key, stream }) => (
        <Sound key={key} stream={stream} speaker={speaker} onBlocked={() => setBlocked(true)} register={(element) => {
          if (element === null) elements.current.delete(key);
          else elements.current.set(key, element);
        }} />
      ))}
      {blocked && <Notice tone="warning" action={<Button tone="primary" onClick={resume}>{t.call.play}</Button>}>{t.call.playBlocked}</Notice>}
    </>
  );
}

function Sound({ stream, speaker, onBlocked, register }: {
  readonly stream: MediaStream; readonly speaker: string | undefined; readonly onBlocked: () => void; readonly register: (element: HTMLAudioElement | null) => void;
}) {
  const element = useRef<HTMLAudioElement>(null);
  const callbacks = useRef({ onBlocked, register });
  callbacks.current = { onBlocked, register };
  useEffect(() => {
    const audio = element.current;
    if (audio === null) return;
    callbacks.current.register(audio);
    audio.srcObject = stream;
    audio.play().catch((error: unknown) => {
      if (error instanceof DOMException && error.name === "NotAllowedError") callbacks.current.onBlocked();
    });
    return () => callbacks.current.register(null);
  }, [stream]);
  useEffect(() => {
    const audio = element.current as WithSink | null;
    if (speaker !== undefined) audio?.setSinkId?.(speaker).catch(() => undefined);
  }, [speaker]);
  return <audio ref={element} autoPlay />;
}
