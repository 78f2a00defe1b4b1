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
  /** Rows further apart than this have an outage between them. */
  readonly gapMs: number;
  /** Begin of the first row that belongs to the view, ms; what comes before it is not wanted. */
  readonly from: number;
  /** Rows that are complete, made by the service; null where the page makes them all. */
  readonly rows: Slice | null;
  /** Snapshots of the row that is still growing, and of those after it; null where none does. */
  readonly tail: Slice | null;
}

type Timing = Pick<Config, "scrape_interval" | "retention_5s">;

/** A line goes on over so many ticks of which one or two are missing. */
const GAP_TICKS = 2.5;

/**
 * The plan for a view of at most `points` rows.
 *
 * The service averages rows in bins that lie on multiples of their width, and so does this page
 * with what comes live. The service's rows therefore end with the last complete bin; snapshots
 * after it are fetched as they are, so that the bin they fall into can grow. `now` is the service's
 * time. It answers with snapshots where a request is no longer than an hour and they are still
 * kept, and otherwise with minutes; what is asked for here is clearly one or the other.
 */
export function planHistory(
  span: Span,
  isLive: boolean,
  points: number,
  timing: Timing,
  now: number,
): Plan {
  const intervalMs = Math.round(timing.scrape_interval * 1000);
  const isFine = hasSnapshots(span, timing, now);
  const baseMs = isFine ? intervalMs : Math.max(MINUTE_MS, intervalMs);
  const stepMs = Math.max(1, Math.ceil(lengthOf(span) / points / baseMs)) * baseMs;
  const from = isFine
    ? Math.ceil(span.start / stepMs) * stepMs
    : Math.floor(span.start / stepMs) * stepMs;
  const last = Math.min(span.end, now); // nothing is known of the future
  const plan = { stepMs, baseMs, gapMs: gapOf(stepMs, intervalMs), from };
  if (isFine && stepMs === intervalMs) {
    return { ...plan, rows: { start: from, end: last, points: null }, tail: null };
  }
  // One row more in front makes the request longer than an hour where the view is.
  const start = isFine ? from : from - stepMs;
  const end = endOfBins(start, last, stepMs, now - intervalMs, isFine);
  const rows = end > start ? bins(start, end, stepMs) : null;
  const tailStart = Math.max(end, from);
  const tail = isLive || tailStart <= last ? { start: tailStart, end: last, points: null } : null;
  return { ...plan, rows, tail };
}

/**
 * The plan for one row per minute. Up to one hour the service has no minutes, and its bins are
 * whole ticks, of which a minute need not be made: then the page makes them.
 */
export function planMinutes(span: Span, isLive: boolean, timing: Timing, now: number): Plan {
  const intervalMs = Math.round(timing.scrape_interval * 1000);
  const from = Math.ceil(span.start / MINUTE_MS) * MINUTE_MS;
  const last = Math.min(Math.ceil(span.end / MINUTE_MS) * MINUTE_MS - 1, now);
  const gapMs = gapOf(MINUTE_MS, intervalMs);
  const plan = { stepMs: MINUTE_MS, baseMs: MINUTE_MS, gapMs, from };
  if (hasSnapshots(span, timing, now)) {
    return { ...plan, rows: null, tail: { start: from, end: last, points: null } };
  }
  const start = from - 2 * MINUTE_MS;
  const end = endOfBins(start, last, MINUTE_MS, now - intervalMs, false);
  const tail = isLive || end <= last ? { start: end, end: last, points: null } : null;
  return { ...plan, rows: end > start ? bins(start, end, MINUTE_MS) : null, tail };
}

/** Whether the service has snapshots for all of a span, and answers with them. */
function hasSnapshots(span: Span, timing: Timing, now: number): boolean {
  return lengthOf(span) <= HOUR_MS && span.start >= now - timing.retention_5s * 1000;
}

/** A row missing between averages of several ticks is an outage of more than two of them. */
function gapOf(stepMs: number, intervalMs: number): number {
  return stepMs >= 2 * intervalMs ? 1.5 * stepMs : GAP_TICKS * stepMs;
}

/**
 * Where the complete bins of a view end: with the view, but before what may still grow. A snapshot
 * may be a tick late, so a bin that ended a moment ago is not complete yet.
 */
function endOfBins(
  start: number,
  last: number,
  stepMs: number,
  completeUntil: number,
  isFine: boolean,
): number {
  const complete = Math.floor(completeUntil / stepMs) * stepMs;
  const wanted = (Math.floor(last / stepMs) + 1) * stepMs;
  const end = Math.max(start, Math.min(wanted, complete));
  return isFine && end - start > HOUR_MS ? end - stepMs : end;
}

/** Whole bins up to `end`, which is not in them: so the service makes them exactly `stepMs` wide. */
function bins(start: number, end: number, stepMs: number): Slice {
  return { start, end: end - 1, points: (end - start) / stepMs };
}
