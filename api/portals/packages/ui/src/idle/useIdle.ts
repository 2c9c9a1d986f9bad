import { createContext, useContext, useEffect, useRef, useState } from "react";
import { onStamps, stamps } from "./stamps.ts";
import { type IdlePhase, IdleWatch, TICK_MS } from "./watch.ts";

/** What a person does to a page: also by voice or with a switch, which click and type without keys. */
const INPUTS = ["pointerdown", "pointermove", "keydown", "touchstart", "wheel", "click", "input"] as const;
/** After these a page may have slept: it looks at the clock before anybody looks at it. */
const WAKES = ["visibilitychange", "pageshow", "focus"] as const;
const AWAKE: IdlePhase = { kind: "awake" };

export const IdleContext = createContext<IdleWatch | null>(null);

interface Handlers {
  tell(): void;
  lock(): void;
  overtaken(): void;
}

/** Watches while `idleSeconds` is known. */
export function useIdle(idleSeconds: number | null, handlers: Handlers): { readonly watch: IdleWatch | null; readonly phase: IdlePhase } {
  const [state, setState] = useState<{ readonly watch: IdleWatch; readonly phase: IdlePhase } | null>(null);
  const latest = useRef(handlers);
  latest.current = handlers;
  useEffect(() => {
    if (idleSeconds === null) return;
    const watch = new IdleWatch(idleSeconds * 1000, {
      now: () => Date.now(),
      stamps,
      tell: () => latest.current.tell(),
      changed: (phase) => {
        setState({ watch, phase });
        if (phase.kind === "locked") latest.current.lock();
        if (phase.kind === "overtaken") latest.current.overtaken();
      },
    });
    setState({ watch, phase: AWAKE });
    const stop = attend(watch);
    return () => {
      stop();
      setState(null);
    };
  }, [idleSeconds]);
  return state ?? { watch: null, phase: AWAKE };
}

/** Brings a page's events and the time to a watch. */
function attend(watch: IdleWatch): () => void {
  const input = () => watch.input();
  const tick = () => watch.tick();
  const timer = setInterval(tick, TICK_MS);
  for (const name of INPUTS) window.addEventListener(name, input, { capture: true, passive: true });
  for (const name of WAKES) window.addEventListener(name, tick, { capture: true });
  const forget = onStamps(tick);
  return () => {
    clearInterval(timer);
    for (const name of INPUTS) window.removeEventListener(name, input, { capture: true });
    for (const name of WAKES) window.removeEventListener(name, tick, { capture: true });
    forget();
  };
}

/** While it holds, nobody is idle for touching nothing. It is asked every second. */
export function useAwake(holds: () => boolean): void {
  const watch = useContext(IdleContext);
  const latest = useRef(holds);
  latest.current = holds;
  useEffect(() => watch?.hold(() => latest.current()), [watch]);
}
