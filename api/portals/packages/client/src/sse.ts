/** Server-sent events over fetch (WHATWG HTML §9.2): unlike `EventSource` it can start from an id and tells why it failed. */

export interface ServerEvent {
  readonly event: string;
  readonly data: string;
  readonly id: string | null;
}

/** An event longer than this is no event of ours. */
const EVENT_CHARS_MAX = 256 * 1024;

/** Cuts a stream of text into events; feed it chunks in order. Keeps at most one unfinished event. */
export class EventParser {
  #rest = "";
  #event = "";
  #data: string[] = [];
  #id: string | null = null;

  push(chunk: string): ServerEvent[] {
    this.#rest += chunk;
    if (this.#rest.length > EVENT_CHARS_MAX) throw new Error("event too long");
    const events: ServerEvent[] = [];
    for (;;) {
      const end = /\r\n|\n|\r(?!$)/.exec(this.#rest);
      if (end === null) return events;
      const line = this.#rest.slice(0, end.index);
      this.#rest = this.#rest.slice(end.index + end[0].length);
      const event = this.#line(line);
      if (event !== null) events.push(event);
    }
  }

  #line(line: string): ServerEvent | null {
    if (line === "") return this.#finish();
    if (line.startsWith(":")) return null;
    const colon = line.indexOf(":");
    const field = colon < 0 ? line : line.slice(0, colon);
    const value = colon < 0 ? "" : line.slice(colon + 1).replace(/^ /, "");
    if (field === "event") this.#event = value;
    else if (field === "data") this.#data.push(value);
    else if (field === "id" && !value.includes("\0")) this.#id = value;
    return null;
  }

  #finish(): ServerEvent | null {
    const event = this.#data.length === 0 ? null : { event: this.#event || "message", data: this.#data.join("\n"), id: this.#id };
    this.#event = "";
    this.#data = [];
    this.#id = null;
    return event;
  }
}
