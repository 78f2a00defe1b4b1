import type { ByKey } from "../api/types";
import { formatMs, trimZeros } from "./format";
import { lengthOf, type Span } from "./time";
import type { Timeline } from "./timeline";

/** The bounds zai-proxy's histogram has, in s; empty buckets are not sent, but are there. */
const USUAL_BOUNDS = [
  0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300,
].map(String);

/** Counts by time and bucket. */
export interface Heat {
  /** Keys of the buckets, ascending: upper bounds in s, "+Inf" the last. */
  readonly bounds: readonly string[];
  readonly columns: number;
  /** Count of bucket b in column c at `c * bounds.length + b`; -1 where nothing is known. */
  readonly counts: Float64Array;
  readonly max: number;
  readonly start: number; // ms, of the first column
  readonly stepMs: number;
}

export function compareBounds(a: string, b: string): number {
  return boundOf(a) - boundOf(b);
}

function boundOf(key: string): number {
  return key === "+Inf" ? Number.POSITIVE_INFINITY : Number(key);
}

/** The buckets between the least and the greatest in use, those that stayed empty too. */
export function allBounds(inUse: readonly string[]): string[] {
  const finite = inUse.filter((key) => key !== "+Inf");
  if (!finite.every((key) => USUAL_BOUNDS.includes(key))) return [...inUse];
  const hasInfinite = inUse.includes("+Inf");
  const first = USUAL_BOUNDS.indexOf(finite[0] ?? "");
  const last = hasInfinite ? USUAL_BOUNDS.length - 1 : USUAL_BOUNDS.indexOf(finite.at(-1) ?? "");
  const between = first === -1 ? [] : USUAL_BOUNDS.slice(first, last + 1);
  return [...between, ...(hasInfinite ? ["+Inf"] : [])];
}

/** A row's counts beside numbers of their keys: an object whose keys are looked up is slow to go through. */
interface Row {
  readonly keys: Uint16Array;
  readonly counts: Float64Array;
}

const numbers = new Map<string, number>();

/** The number of a key, which stays its own; a proxy has about a dozen. */
function numberOf(key: string): number {
  const number = numbers.get(key) ?? numbers.size;
  numbers.set(key, number);
  return number;
}

/** A row is drawn hundreds of times and changes only while it grows, into another object. */
const rows = new WeakMap<ByKey, Row>();

function rowOf(object: ByKey): Row {
  const known = rows.get(object);
  if (known) return known;
  const entries = Object.entries(object);
  const row = {
    keys: Uint16Array.from(entries, ([key]) => numberOf(key)),
    counts: Float64Array.from(entries, ([, count]) => count),
  };
  rows.set(object, row);
  return row;
}

/** The matrix of a timeline's `latency_buckets` over a span; `bounds` as `boundsOf` gives them. */
export function heatOf(timeline: Timeline, span: Span, bounds: readonly string[]): Heat {
  const { stepMs, times } = timeline;
  const start = Math.floor(span.start / stepMs) * stepMs;
  const columns = Math.ceil(lengthOf(span) / stepMs) + 1;
  const counts = new Float64Array(columns * bounds.length).fill(-1);
  const places: number[] = []; // in `bounds`, by the number of a key
  for (let i = 0; i < bounds.length; i += 1) places[numberOf(bounds[i] ?? "")] = i;
  const objects = timeline.objects("latency_buckets");
  let max = 0;
  for (let i = 0; i < times.length; i += 1) {
    const column = Math.floor(((times[i] ?? 0) - start) / stepMs);
    const object = objects[i];
    if (column < 0 || column >= columns || !object) continue;
    const first = column * bounds.length;
    if (counts[first] === -1) counts.fill(0, first, first + bounds.length);
    const row = rowOf(object);
    for (let k = 0; k < row.keys.length; k += 1) {
      const bucket = places[row.keys[k] ?? -1];
      if (bucket === undefined) continue;
      const count = (counts[first + bucket] ?? 0) + (row.counts[k] ?? 0);
      counts[first + bucket] = count;
      if (count > max) max = count;
    }
  }
  return { bounds, columns, counts, max, start, stepMs };
}

/** The buckets of several timelines together, so that their maps have the same rows. */
export function boundsOf(timelines: readonly Timeline[]): string[] {
  const isUsed: boolean[] = [];
  for (const timeline of timelines) {
    for (const object of timeline.objects("latency_buckets")) {
      if (!object) continue;
      const { keys, counts } = rowOf(object);
      for (let k = 0; k < keys.length; k += 1)
        if ((counts[k] ?? 0) > 0) isUsed[keys[k] ?? 0] = true;
    }
  }
  const inUse = [...numbers].filter(([, number]) => isUsed[number]).map(([key]) => key);
  return allBounds(inUse.sort(compareBounds));
}

/** All requests on a map, by bucket. */
export function totalsOf({ bounds, columns, counts }: Heat): number[] {
  const totals = bounds.map(() => 0);
  for (let i = 0; i < columns * bounds.length; i += 1) {
    const bucket = i % bounds.length;
    totals[bucket] = (totals[bucket] ?? 0) + Math.max(0, counts[i] ?? 0);
  }
  return totals;
}

/** From 0 for none to `steps` for the most; logarithmic, so that a few stay visible beside many. */
export function intensity(count: number, max: number, steps: number): number {
  if (count <= 0 || max <= 0) return 0;
  return 1 + Math.round(((steps - 1) * Math.log1p(count)) / Math.log1p(max));
}

/** Limits of bucket `index`: `1 s – 2.5 s`, `over 300 s`. */
export function bucketLabel(bounds: readonly string[], index: number): string {
  const upper = bounds[index] ?? "";
  const lower = bounds[index - 1] ?? USUAL_BOUNDS[USUAL_BOUNDS.indexOf(upper) - 1];
  if (upper === "+Inf") return lower ? `over ${secondsLabel(lower)}` : "any";
  return `${lower ? secondsLabel(lower) : "0"} – ${secondsLabel(upper)}`;
}

/** A bound on an axis, which has no room for more than three digits: 5 ms, 333 ms, 2.5 s, ∞. */
export function axisLabel(bound: string): string {
  const seconds = boundOf(bound);
  return Number.isFinite(seconds) ? trimZeros(formatMs(1000 * seconds)) : "∞";
}

/** A bound as it is: 5 ms, 333.333 ms, 2.5 s, ∞. */
export function secondsLabel(bound: string): string {
  const seconds = boundOf(bound);
  if (seconds === Number.POSITIVE_INFINITY) return "∞";
  return seconds < 1 ? `${Number((seconds * 1000).toPrecision(6))} ms` : `${seconds} s`;
}
