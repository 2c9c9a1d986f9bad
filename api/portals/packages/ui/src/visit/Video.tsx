import { useEffect, useRef, type Ref } from "react";

interface Props {
  readonly stream: MediaStream | null;
  readonly mirrored?: boolean;
  readonly contain?: boolean;
  readonly label: string;
  /** Called with the element once it shows another stream. */
  readonly onStream?: ((video: HTMLVideoElement) => void) | undefined;
}

/** A silent picture: sound comes from `AudioOut`, so that a tile may come and go without a word lost. */
export function Video({ stream, mirrored = false, contain = false, label, onStream }: Props) {
  const element = useRef<HTMLVideoElement>(null);
  const report = useRef(onStream);
  report.current = onStream;
  useEffect(() => {
    const video = element.current;
    if (video === null || video.srcObject === stream) return;
    video.srcObject = stream;
    if (stream === null) return;
    report.current?.(video);
    video.play().catch(() => undefined);
  }, [stream]);
  const names = `video${mirrored ? " video-mirrored" : ""}${contain ? " video-contain" : ""}`;
  return <video ref={element as Ref<HTMLVideoElement>} className={names} autoPlay playsInline muted aria-label={label} />;
}
