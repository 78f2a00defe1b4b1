import type { Snapshot, Totals } from "../api/types";
import {
  type Format,
  formatChange,
  formatCount,
  formatMs,
  formatPercent,
  formatPerSecond,
  formatPoints,
  formatRatio,
  NOTHING,
} from "./format";
import { ERROR_RATE, type Level, levelOf, UTILIZATION } from "./level";
import { lengthOf, type Span } from "./time";
import type { Timeline, Value } from "./timeline";

/** What a tile tells of: a snapshot where the page is live, a window's totals where it is not. */
export type Reading = Pick<
  Totals,
  | "req_rate"
  | "error_rate_pct"
  | "latency_p50"
  | "latency_p95"
  | "latency_p99"
  | "token_rate_in"
  | "token_rate_out"
  | "cache_hit_ratio"
  | "concurrent_requests"
  | "max_workers"
  | "worker_utilization"
  | "rate_limit_rps"
>;

export interface TileSpec {
  readonly id: string;
  readonly title: string;
  /** The values, each with what it is called where there are several. */
  readonly values: readonly {
    readonly label: string;
    readonly of: (reading: Reading) => Value;
    readonly format: Format;
  }[];
  readonly level?: (reading: Reading) => Level;
  /** How the window stands to the one before. */
  readonly change: (now: Totals, before: Totals) => string | null;
  readonly spark: (timeline: Timeline) => readonly Value[];
  /** The sparkline is of rates, which count by the time they cover. */
  readonly isRate?: boolean;
}

export const TILES: readonly TileSpec[] = [
  {
    id: "requests",
    title: "Requests",
    values: [{ label: "", of: (r) => r.req_rate, format: formatPerSecond }],
    change: (now, before) => formatChange(now.req_rate, before.req_rate),
    spark: (timeline) => timeline.numbers("req_rate"),
    isRate: true,
  },
  {
    id: "errors",
    title: "Error rate",
    values: [{ label: "", of: (r) => r.error_rate_pct, format: formatPercent }],
    level: (reading) => levelOf(reading.error_rate_pct, ERROR_RATE),
    change: (now, before) => formatPoints(now.error_rate_pct, before.error_rate_pct),
    spark: (timeline) => timeline.numbers("error_rate_pct"),
  },
  {
    id: "latency",
    title: "Latency",
    values: [
      { label: "p50", of: (r) => r.latency_p50, format: formatMs },
      { label: "p95", of: (r) => r.latency_p95, format: formatMs },
      { label: "p99", of: (r) => r.latency_p99, format: formatMs },
    ],
    change: (now, before) => named("p95", formatChange(now.latency_p95, before.latency_p95)),
    spark: (timeline) => timeline.numbers("latency_p95"),
  },
  {
    id: "tokens",
    title: "Tokens",
    values: [
      { label: "in", of: (r) => r.token_rate_in, format: formatPerSecond },
      { label: "out", of: (r) => r.token_rate_out, format: formatPerSecond },
    ],
    change: (now, before) => {
      const both = (t: Totals) => addUp([t.token_rate_in, t.token_rate_out]);
      return formatChange(both(now), both(before));
    },
    spark: (timeline) => {
      const outputs = timeline.numbers("token_rate_out");
      return timeline.numbers("token_rate_in").map((input, i) => addUp([input, outputs[i]]));
    },
    isRate: true,
  },
  {
    id: "cache",
    title: "Cache hits",
    values: [{ label: "", of: (r) => r.cache_hit_ratio, format: formatRatio }],
    change: (now, before) =>
      formatPoints(percent(now.cache_hit_ratio), percent(before.cache_hit_ratio)),
    spark: (timeline) => {
      const writes = timeline.numbers("token_rate_cache_write");
      const reads = timeline.numbers("token_rate_cache_read");
      return timeline
        .numbers("token_rate_in")
        .map((input, i) => cacheHitRatio(input, reads[i], writes[i]));
    },
  },
  {
    id: "concurrency",
    title: "Concurrency",
    values: [
      { label: "", of: (r) => r.concurrent_requests, format: formatCount },
      { label: "of", of: (r) => r.max_workers, format: formatCount },
      { label: "=", of: (r) => r.worker_utilization, format: formatRatio },
    ],
    level: (reading) => levelOf(reading.worker_utilization, UTILIZATION),
    change: (now, before) => formatChange(now.concurrent_requests, before.concurrent_requests),
    spark: (timeline) => timeline.numbers("concurrent_requests"),
  },
  {
    id: "rate-limit",
    title: "Rate limit",
    values: [{ label: "", of: (r) => r.rate_limit_rps, format: formatPerSecond }],
    change: (now, before) => formatChange(now.rate_limit_rps, before.rate_limit_rps),
    spark: (timeline) => timeline.numbers("rate_limit_rps"),
  },
];

/** A snapshot as a reading. */
export function readingOf(snapshot: Snapshot): Reading {
  const { token_rate_in, token_rate_cache_read, token_rate_cache_write } = snapshot;
  return {
    req_rate: snapshot.req_rate ?? null,
    error_rate_pct: snapshot.error_rate_pct ?? null,
    latency_p50: snapshot.latency_p50 ?? null,
    latency_p95: snapshot.latency_p95 ?? null,
    latency_p99: snapshot.latency_p99 ?? null,
    token_rate_in: token_rate_in ?? null,
    token_rate_out: snapshot.token_rate_out ?? null,
    cache_hit_ratio: cacheHitRatio(token_rate_in, token_rate_cache_read, token_rate_cache_write),
    concurrent_requests: snapshot.concurrent_requests ?? null,
    max_workers: snapshot.max_workers ?? null,
    worker_utilization: snapshot.worker_utilization ?? null,
    rate_limit_rps: snapshot.rate_limit_rps ?? null,
  };
}

type Maybe = number | null | undefined;

/** Of all tokens that went in, the share read from the cache; null where none went in. */
export function cacheHitRatio(input: Maybe, read: Maybe, write: Maybe): Value {
  const all = addUp([input, read, write]);
  return all ? (read ?? 0) / all : null;
}

/** The sum of what is known; null where nothing is. */
function addUp(values: readonly Maybe[]): Value {
  let sum: Value = null;
  for (const value of values) if (value != null) sum = (sum ?? 0) + value;
  return sum;
}

function percent(ratio: Value): Value {
  return ratio === null ? null : ratio * 100;
}

function named(name: string, change: string | null): string | null {
  return change && `${name} ${change}`;
}

/** How one variant stands to another over a window: as many lines whatever is known of it. */
export function compareTotals(
  one: Totals | undefined,
  other: Totals | undefined,
): { what: string; change: string }[] {
  const told = (change: typeof formatChange, of: (totals: Totals) => number | null) =>
    (one && other && change(of(one), of(other))) ?? NOTHING;
  return [
    { what: "p50", change: told(formatChange, (totals) => totals.latency_p50) },
    { what: "p95", change: told(formatChange, (totals) => totals.latency_p95) },
    { what: "p99", change: told(formatChange, (totals) => totals.latency_p99) },
    { what: "errors", change: told(formatPoints, (totals) => totals.error_rate_pct) },
    { what: "requests", change: told(formatChange, (totals) => totals.req_rate) },
  ];
}

/** An SVG path of values, broken where there is none. */
export function sparkPath(values: readonly Value[], width: number, height: number): string {
  const known = values.filter((value) => value !== null);
  if (known.length === 0) return "";
  const [low, high] = [Math.min(0, ...known), Math.max(...known)];
  const scale = high > low ? (height - 2) / (high - low) : 0;
  const step = width / Math.max(values.length - 1, 1);
  let path = "";
  let isDrawing = false;
  values.forEach((value, i) => {
    if (value !== null) {
      const [x, y] = [i * step, height - 1 - (value - low) * scale];
      path += `${isDrawing ? "L" : "M"}${x.toFixed(1)} ${y.toFixed(1)}`;
      // A value between two gaps is a dot.
      if (!isDrawing && (values[i + 1] ?? null) === null) path += "h0.1";
    }
    isDrawing = value !== null;
  });
  return path;
}

/** A sparkline has no room for more points than these. */
const SPARK_POINTS = 64;

/**
 * The time between two points of a sparkline, ms: whole rows, two at least, so that none is left
 * without a row because of where it begins.
 */
export function sparkStep(lengthMs: number, stepMs: number): number {
  return Math.max(2, Math.ceil(lengthMs / SPARK_POINTS / stepMs)) * stepMs;
}

/**
 * Averages over every `stepMs` of a span, counted from its end, by weights where there are some; null
 * where nothing is known.
 */
export function thin(
  times: readonly number[],
  values: readonly Value[],
  weights: readonly Value[] | null,
  span: Span,
  stepMs: number,
): Value[] {
  const count = Math.max(1, Math.floor(lengthOf(span) / stepMs));
  const start = span.end - count * stepMs;
  const [sums, all] = [new Float64Array(count), new Float64Array(count)];
  for (let i = 0; i < times.length; i += 1) {
    const [value, place] = [values[i], Math.floor(((times[i] ?? 0) - start) / stepMs)];
    if (value == null || place < 0 || place >= count) continue;
    const weight = weights ? (weights[i] ?? 0) : 1;
    sums[place] = (sums[place] ?? 0) + value * weight;
    all[place] = (all[place] ?? 0) + weight;
  }
  return Array.from(sums, (sum, i) => (all[i] ? sum / all[i] : null));
}
