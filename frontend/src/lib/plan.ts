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
  /** Rows of the minute before the view, for what is told per minute; null where none are needed. */
  readonly lead: Slice | null;
  /** Rows that are complete, made by the service; null where the page makes them all. */
  readonly rows: Slice | null;
  /** Complete minutes of the row that is still growing, where their snapshots are gone. */
  readonly minutes: Slice | null;
  /** Snapshots of the row that is still growing, and of those after it; null where none does. */
  readonly tail: Slice | null;
}

type Timing = Pick<Config, "scrape_interval" | "retention_5s">;

/** A line goes on over so many ticks of which one or two are missing. */
const GAP_TICKS = 2.5;
/** How long a request may take, and how far the two clocks may be apart. */
const SLACK_MS = 5000;
/** A snapshot may be a tick late, and this machine's idea of the service's time so far ahead. */
const LEAST_LATE_MS = 2000;

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
  // A row of a minute or more is its own minute.
  const lead = stepMs < MINUTE_MS ? leadOf(from, stepMs, baseMs) : null;
  const plan = { stepMs, baseMs, gapMs: gapOf(stepMs, intervalMs), from, lead };
  if (isFine && stepMs === intervalMs) {
    return { ...plan, rows: { start: from, end: last, points: null }, minutes: null, tail: null };
  }
  const end = endOfBins(from, last, stepMs, timing, now);
  if (isFine) {
    // The service answers with snapshots up to an hour; what is over is part of the tail.
    const fineEnd = end - from > HOUR_MS ? end - stepMs : end;
    return {
      ...plan,
      rows: bins(from, fineEnd, stepMs),
      minutes: null,
      tail: tailOf(fineEnd, last, isLive),
    };
  }
  return { ...plan, ...coarse(from, end, last, stepMs, isLive, timing, now) };
}

/**
 * The plan for one row per minute, the last as a whole unless the page was paused in it. Up to one
 * hour the service has no minutes, and its bins are whole ticks, of which a minute need not be made:
 * then the page makes them.
 */
export function planMinutes(
  span: Span,
  isLive: boolean,
  timing: Timing,
  now: number,
  pausedAt: number | null = null,
): Plan {
  const intervalMs = Math.round(timing.scrape_interval * 1000);
  const from = firstMinute(span);
  const end = Math.ceil(span.end / MINUTE_MS) * MINUTE_MS - 1;
  const last = Math.min(pausedAt === span.end ? pausedAt : end, now);
  const gapMs = gapOf(MINUTE_MS, intervalMs);
  const plan = { stepMs: MINUTE_MS, baseMs: MINUTE_MS, gapMs, from, lead: null };
  if (hasSnapshots(span, timing, now)) {
    const tail = { start: from, end: last, points: null };
    return { ...plan, rows: null, minutes: null, tail };
  }
  const over = endOfBins(from, last, MINUTE_MS, timing, now);
  return { ...plan, ...coarse(from, over, last, MINUTE_MS, isLive, timing, now) };
}

/** The first minute that begins in a span, or where none does, the one that it lies in. */
export function firstMinute({ start, end }: Span): number {
  const next = Math.ceil(start / MINUTE_MS) * MINUTE_MS;
  return next < end ? next : Math.floor(start / MINUTE_MS) * MINUTE_MS;
}

/** Rows of averaged minutes up to `end`, and what comes after it. */
function coarse(
  from: number,
  end: number,
  last: number,
  stepMs: number,
  isLive: boolean,
  timing: Timing,
  now: number,
): Pick<Plan, "rows" | "minutes" | "tail"> {
  // Rows in front that nobody wants make the request longer than an hour where the view is.
  let start = from - stepMs;
  while (end - start <= HOUR_MS) start -= stepMs;
  const rows = end > from ? bins(start, end, stepMs) : null;
  const minute = Math.floor(Math.min(last, completeUntil(timing, now)) / MINUTE_MS) * MINUTE_MS;
  if (end < minute && end < firstSnapshot(timing, now)) {
    const minutes = { start: end, end: minute - 1, points: null };
    return { rows, minutes, tail: tailOf(minute, last, isLive) };
  }
  return { rows, minutes: null, tail: tailOf(end, last, isLive) };
}

function tailOf(start: number, last: number, isLive: boolean): Slice | null {
  return isLive || start <= last ? { start, end: last, points: null } : null;
}

/** Until when no snapshot can be missing any more that may still come. */
export function completeUntil(timing: Pick<Config, "scrape_interval">, now: number): number {
  return now - Math.max(timing.scrape_interval * 1000, LEAST_LATE_MS);
}

/** From when on the service surely has all snapshots. */
function firstSnapshot(timing: Timing, now: number): number {
  return now - timing.retention_5s * 1000 + SLACK_MS;
}

/** Whether the service has snapshots for all of a span, and answers with them when it is over. */
function hasSnapshots(span: Span, timing: Timing, now: number): boolean {
  return lengthOf(span) <= HOUR_MS && span.start >= firstSnapshot(timing, now);
}

/** A row missing between averages of several ticks is an outage of more than two of them. */
function gapOf(stepMs: number, intervalMs: number): number {
  return stepMs >= 2 * intervalMs ? 1.5 * stepMs : GAP_TICKS * stepMs;
}

/**
 * Where the complete bins of a view end: before the one that the view's end cuts through, and before
 * what may still grow. Where the snapshots are gone, nothing can be cut.
 */
function endOfBins(
  from: number,
  last: number,
  stepMs: number,
  timing: Timing,
  now: number,
): number {
  const complete = Math.floor(completeUntil(timing, now) / stepMs) * stepMs;
  const isGone = last < firstSnapshot(timing, now);
  const wanted = Math.floor((last + (isGone ? stepMs : 1)) / stepMs) * stepMs;
  return Math.max(from, Math.min(wanted, complete));
}

function leadOf(from: number, stepMs: number, baseMs: number): Slice | null {
  const start = from - Math.ceil(MINUTE_MS / stepMs) * stepMs;
  if (start < 0) return null;
  return stepMs === baseMs ? { start, end: from - 1, points: null } : bins(start, from, stepMs);
}

/** Whole bins up to `end`, which is not in them: so the service makes them exactly `stepMs` wide. */
function bins(start: number, end: number, stepMs: number): Slice | null {
  return end > start ? { start, end: end - 1, points: (end - start) / stepMs } : null;
}
