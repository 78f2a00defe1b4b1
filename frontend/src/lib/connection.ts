import type { StreamState } from "../api/stream";

const DELAYS_MS = [1000, 2000, 4000, 8000, 15_000, 30_000];

/** How long to wait before the next attempt; spread, so that not all pages come at once. */
export function retryDelayMs(attempt: number, random: number): number {
  const delay = DELAYS_MS[Math.min(attempt, DELAYS_MS.length - 1)] ?? 30_000;
  return delay * (0.75 + random / 2);
}

/** Without a snapshot for this many ticks, the data are stale; the service calls that unhealthy. */
const STALE_TICKS = 3;

/** How the page stands to the service, as its header says it. */
export type Connection =
  | { readonly kind: "paused" }
  | { readonly kind: "connecting" }
  | { readonly kind: "reconnecting"; readonly inSeconds: number }
  | { readonly kind: "stale"; readonly ageMs: number }
  | { readonly kind: "waiting" }
  | { readonly kind: "live" };

/** `ageMs` is how long ago the newest snapshot was taken, null where there was none yet. */
export function connectionOf(
  stream: StreamState,
  ageMs: number | null,
  intervalS: number,
  now: number,
): Connection {
  switch (stream.kind) {
    case "closed":
      return { kind: "paused" };
    case "connecting":
      return { kind: "connecting" };
    case "waiting":
      return {
        kind: "reconnecting",
        inSeconds: Math.max(0, Math.ceil((stream.retryAt - now) / 1000)),
      };
    case "open":
      if (ageMs === null) return { kind: "waiting" };
      return isFresh(0, ageMs, intervalS) ? { kind: "live" } : { kind: "stale", ageMs };
  }
}

/** The clocks of two machines are no closer than this to one another, in ms. */
const CLOCK_ERROR_MS = 3000;

/**
 * Whether a snapshot still tells of the present; `now` and its time in ms. One tick more than the
 * service allows, since a scrape may take nearly one itself.
 */
export function isFresh(timestamp: number, now: number, intervalS: number): boolean {
  return now - timestamp <= Math.max((STALE_TICKS + 1) * intervalS * 1000, CLOCK_ERROR_MS);
}
