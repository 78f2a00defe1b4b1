import type { Config } from "../api/types";
import { HOUR_MS, lengthOf, MINUTE_MS, type Span } from "./time";

/** A request of `/api/metrics`: both ends in ms and included; null points for rows as they are. */
export interface Slice {
  readonly start: number;
  readonly end: number;
  readonly points: number | null;
}

/** How the history of a view is fetched, so that it goes on seamlessly with live snapshots. */
export interface Plan {
  /** Width of a row in ms: as many rows as the chart has pixels, or fewer. */
  readonly stepMs: number;
  /** What rows are averages of, in ms: snapshots, or minutes where the view is longer than 1 h. */
  readonly baseMs: number;
  /** Rows that are complete, made by the service; null where the page makes them all. */
  readonly rows: Slice | null;
  /** Snapshots of the row that is still growing, and of those after it; null for a fixed view. */
  readonly tail: Slice | null;
}

type Timing = Pick<Config, "scrape_interval" | "retention_5s">;

/**
 * The plan for a view of at most `points` rows.
 *
 * The service averages rows in bins that lie on multiples of their width, and so does this page
 * with what comes live. History therefore ends with the last complete bin; snapshots after it are
 * fetched as they are, so that the bin they fall into can grow. `now` is the service's time.
 */
export function planHistory(
  span: Span,
  isLive: boolean,
  points: number,
  timing: Timing,
  now: number,
): Plan {
  const intervalMs = timing.scrape_interval * 1000;
  const isFine = lengthOf(span) <= HOUR_MS && span.start >= now - timing.retention_5s * 1000;
  const baseMs = isFine ? intervalMs : Math.max(MINUTE_MS, intervalMs);
  const stepMs = Math.max(1, Math.ceil(lengthOf(span) / points / baseMs)) * baseMs;
  const start = Math.ceil(span.start / stepMs) * stepMs;
  if (!isLive) {
    return { stepMs, baseMs, rows: bins(start, span.end, stepMs, baseMs, isFine), tail: null };
  }
  if (stepMs === intervalMs) {
    return { stepMs, baseMs, rows: { start, end: now, points: null }, tail: null };
  }
  // A snapshot may be a tick late, so the bin that ended a moment ago is not complete yet.
  const growing = Math.max(start, Math.floor((now - intervalMs) / stepMs) * stepMs);
  return {
    stepMs,
    baseMs,
    rows: bins(start, growing - 1, stepMs, baseMs, isFine),
    tail: { start: growing, end: now, points: null },
  };
}

/**
 * The plan for one row per minute. Up to one hour the service has no minutes, and its bins are
 * whole ticks, of which a minute need not be made: then the page makes them.
 */
export function planMinutes(span: Span, isLive: boolean, timing: Timing, now: number): Plan {
  const intervalMs = timing.scrape_interval * 1000;
  const isFine = lengthOf(span) <= HOUR_MS && span.start >= now - timing.retention_5s * 1000;
  const start = Math.ceil(span.start / MINUTE_MS) * MINUTE_MS;
  const whole = { stepMs: MINUTE_MS, baseMs: MINUTE_MS };
  if (isFine) return { ...whole, rows: null, tail: { start, end: span.end, points: null } };
  if (!isLive) return { ...whole, rows: { start, end: span.end, points: null }, tail: null };
  const growing = Math.floor((now - intervalMs) / MINUTE_MS) * MINUTE_MS;
  return {
    ...whole,
    rows: { start, end: growing - 1, points: null },
    tail: { start: growing, end: now, points: null },
  };
}

/** Whole bins from `start` on; with `points` the service makes them exactly `stepMs` wide. */
function bins(start: number, last: number, stepMs: number, baseMs: number, isFine: boolean): Slice {
  let count = Math.max(1, Math.floor(last / stepMs) - start / stepMs + 1);
  // The service answers with snapshots up to one hour, so rounding must not make it longer.
  while (isFine && count > 1 && count * stepMs > HOUR_MS) count -= 1;
  const end = start + count * stepMs - 1;
  return { start, end, points: stepMs === baseMs ? null : count };
}
