import { retryDelayMs } from "../lib/connection";
import { addressOf } from "./client";
import type { LiveEvent } from "./types";

/** What the stream is doing; times are on the `performance.now()` clock, in ms. */
export type StreamState =
  | { readonly kind: "connecting" }
  | { readonly kind: "open" }
  | { readonly kind: "waiting"; readonly retryAt: number }
  | { readonly kind: "closed" };

/**
 * `/api/events`, kept open: what was missed while it was down comes first when it is up again.
 *
 * The browser's EventSource would reconnect by itself, but says neither when, nor tries again
 * after an answer such as 503. So each connection here is a new EventSource that names the last
 * event it knows.
 */
export class EventStream {
  state: StreamState = { kind: "closed" };

  private source: EventSource | null = null;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private attempt = 0;

  /** `lastId` is the id of the last event that need not come again. */
  constructor(
    private lastId: string,
    private readonly onEvent: (event: LiveEvent) => void,
    private readonly onState: () => void,
    /** It is time to try again: `open` or `restart`. */
    private readonly onRetry: () => void,
  ) {}

  open(): void {
    this.close();
    this.set({ kind: "connecting" });
    const source = new EventSource(
      addressOf(`api/events?last_event_id=${encodeURIComponent(this.lastId)}`),
    );
    this.source = source;
    source.onmessage = (message: MessageEvent<string>) => {
      const event = eventIn(message.data);
      if (event === null) return this.retryLater();
      // The greeting proves that it is zaidash that answers, not a proxy's error page.
      if (event.type === "connected") {
        this.attempt = 0;
        this.set({ kind: "open" });
      }
      if (message.lastEventId) this.lastId = message.lastEventId;
      this.onEvent(event);
    };
    source.onerror = () => this.retryLater();
  }

  /** Forget what was missed: go on from another event. */
  restart(lastId: string): void {
    this.lastId = lastId;
    this.open();
  }

  close(): void {
    clearTimeout(this.timer);
    this.source?.close();
    this.source = null;
    this.set({ kind: "closed" });
  }

  private retryLater(): void {
    this.close();
    const delay = retryDelayMs(this.attempt, Math.random());
    this.attempt += 1;
    this.set({ kind: "waiting", retryAt: performance.now() + delay });
    this.timer = setTimeout(this.onRetry, delay);
  }

  private set(state: StreamState): void {
    if (state.kind === this.state.kind && state.kind !== "waiting") return;
    this.state = state;
    this.onState();
  }
}

/** What a message says, null where it is none of zaidash's. */
function eventIn(text: string): LiveEvent | null {
  try {
    return JSON.parse(text) as LiveEvent | null;
  } catch {
    return null;
  }
}
