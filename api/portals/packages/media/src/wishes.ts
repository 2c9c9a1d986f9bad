/** What the layout wants to see, as the ordered wish list the edge takes. */
import type { VideoSource, Wish } from "./messages.ts";

/** Layouts settle within a few frames; one message for all of it. */
const SETTLE_MS = 120;
/** Heights are rounded up to this step, so that a window being dragged is not a flood of wishes. */
const HEIGHT_STEP_PX = 60;
/** No camera or screen is asked for beyond this. */
const HEIGHT_MAX_PX = 1080;

interface Entry extends Wish {
  readonly importance: number;
}

export class WishBook {
  readonly #entries = new Map<string, Entry>();
  #sent = "";
  #timer: ReturnType<typeof setTimeout> | undefined;

  constructor(private readonly send: (wishes: readonly Wish[]) => void) {}

  /** A tile shows `source` of `participant` at `height` CSS pixels × `ratio`. */
  set(participant: string, source: VideoSource, height: number, importance: number, ratio = 1): void {
    const pixels = Math.ceil((height * ratio) / HEIGHT_STEP_PX) * HEIGHT_STEP_PX;
    const bounded = Math.min(Math.max(pixels, HEIGHT_STEP_PX), HEIGHT_MAX_PX);
    this.#entries.set(`${participant}|${source}`, { participant, source, height: bounded, importance });
    this.#schedule();
  }

  /** A tile is gone. */
  delete(participant: string, source: VideoSource): void {
    if (this.#entries.delete(`${participant}|${source}`)) this.#schedule();
  }

  /** The present list, most important first; equal ones by height. */
  list(): Wish[] {
    return [...this.#entries.values()]
      .sort((a, b) => b.importance - a.importance || b.height - a.height || a.participant.localeCompare(b.participant))
      .map(({ participant, source, height }) => ({ participant, source, height }));
  }

  /** Says the list again, to an edge that has not heard it. */
  repeat(): void {
    this.#sent = "";
    if (this.#entries.size > 0) this.#schedule();
  }

  close(): void {
    clearTimeout(this.#timer);
    this.#timer = undefined;
  }

  #schedule(): void {
    this.#timer ??= setTimeout(() => this.#flush(), SETTLE_MS);
  }

  #flush(): void {
    this.#timer = undefined;
    const wishes = this.list();
    const text = JSON.stringify(wishes);
    if (text === this.#sent) return;
    this.#sent = text;
    this.send(wishes);
  }
}
