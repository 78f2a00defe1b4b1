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

/** The matrix of a timeline's `latency_buckets` over a span; `bounds` as `boundsOf` gives them. */
export function heatOf(timeline: Timeline, span: Span, bounds: readonly string[]): Heat {
  const { stepMs, times } = timeline;
  const start = Math.floor(span.start / stepMs) * stepMs;
  const columns = Math.ceil(lengthOf(span) / stepMs) + 1;
  const counts = new Float64Array(columns * bounds.length).fill(-1);
  const place = new Map(bounds.map((bound, i) => [bound, i]));
  const objects = timeline.objects("latency_buckets");
  let max = 0;
  for (let row = 0; row < times.length; row += 1) {
    const column = Math.floor(((times[row] ?? 0) - start) / stepMs);
    const object = objects[row];
    if (column < 0 || column >= columns || !object) continue;
    const first = column * bounds.length;
    if (counts[first] === -1) counts.fill(0, first, first + bounds.length);
    for (const key in object) {
      const bucket = place.get(key);
      if (bucket === undefined) continue;
      const count = (counts[first + bucket] ?? 0) + (object[key] ?? 0);
      counts[first + bucket] = count;
      if (count > max) max = count;
    }
  }
  return { bounds, columns, counts, max, start, stepMs };
}

/** The buckets of several timelines together, so that their maps have the same rows. */
export function boundsOf(timelines: readonly Timeline[]): string[] {
  const inUse = new Set<string>();
  for (const timeline of timelines) {
    for (const counts of timeline.objects("latency_buckets")) {
      for (const key in counts) if ((counts[key] ?? 0) > 0) inUse.add(key);
    }
  }
  return allBounds([...inUse].sort(compareBounds));
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

/** A bound as short as can be: 5 ms, 2.5 s, ∞. */
export function secondsLabel(bound: string): string {
  const seconds = boundOf(bound);
  if (seconds === Number.POSITIVE_INFINITY) return "∞";
  return seconds < 1 ? `${Number((seconds * 1000).toPrecision(6))} ms` : `${seconds} s`;
}
