import type { ByKey, NumberField } from "../api/types";
import { MINUTE_MS } from "./time";
import type { Timeline, Value } from "./timeline";

/** A column for uPlot: null breaks the line, undefined does not. */
export type Column = (number | null | undefined)[];

/** Where the rows of several timelines lie on one time axis. */
export interface Alignment {
  /** The axis, in seconds as uPlot wants it. */
  readonly x: number[];
  /** For each timeline, the row at each place: its index, GAP, or NO_ROW where the line goes on. */
  readonly rows: readonly Int32Array[];
}

const GAP = -1;
const NO_ROW = -2;

/** One time axis for all timelines from `start` on, each moved by `shiftMs` of its own. */
export function align(
  timelines: readonly Timeline[],
  start: number,
  shiftsMs: readonly number[] = [],
): Alignment {
  const marked = timelines.map((timeline, i) => markGaps(timeline, start, shiftsMs[i] ?? 0));
  const times = unite(marked.map((one) => one.times));
  const rows = marked.map((one) => (one.times === times ? one.rows : spread(one, times)));
  return { x: times.map((ms) => ms / 1000), rows };
}

interface Marked {
  readonly times: number[];
  readonly rows: Int32Array;
}

/** A timeline's own times, with a GAP after each row that an outage follows. */
function markGaps(timeline: Timeline, start: number, shiftMs: number): Marked {
  const { times, stepMs, gapMs } = timeline;
  const at: number[] = [];
  const rows = new Int32Array(2 * times.length); // a gap after each row at most
  let before = Number.POSITIVE_INFINITY;
  for (let i = 0; i < times.length; i += 1) {
    const time = (times[i] ?? 0) + shiftMs;
    if (time < start) continue;
    if (time - before > gapMs) rows[at.push(before + stepMs) - 1] = GAP;
    rows[at.push(time) - 1] = i;
    before = time;
  }
  return { times: at, rows: rows.subarray(0, at.length) };
}

/** All times, ascending, each once; the first list itself where all are the same. */
function unite(lists: readonly number[][]): number[] {
  const first = lists[0] ?? [];
  const isSame = lists.every(
    (list) => list.length === first.length && list.every((time, i) => time === first[i]),
  );
  return isSame ? first : [...new Set(lists.flat())].sort((a, b) => a - b);
}

function spread({ times, rows }: Marked, onto: readonly number[]): Int32Array {
  const places = new Int32Array(onto.length).fill(GAP);
  let next = 0;
  for (let i = 0; i < onto.length; i += 1) {
    if (next < times.length && onto[i] === times[next]) {
      places[i] = rows[next] ?? GAP;
      next += 1;
    } else if (next > 0 && next < times.length && (rows[next - 1] ?? GAP) !== GAP) {
      places[i] = rows[next] === GAP ? GAP : NO_ROW;
    }
  }
  return places;
}

/** A timeline's values, laid out on the axis. */
export function layOut(values: readonly Value[], rows: Int32Array): Column {
  const column: Column = new Array(rows.length);
  for (let i = 0; i < rows.length; i += 1) {
    const row = rows[i] ?? GAP;
    column[i] = row >= 0 ? values[row] : row === GAP ? null : undefined;
  }
  return column;
}

/** Each column on top of those before it; a null stays a gap and adds nothing to what is above. */
export function stack(columns: readonly Column[]): Column[] {
  const sums: number[] = [];
  return columns.map((column) =>
    column.map((value, i) => {
      if (value == null) return value;
      sums[i] = (sums[i] ?? 0) + value;
      return sums[i];
    }),
  );
}

/** Looked up once: objects with numbers for keys, as status codes are, are slow to go through. */
const knownKeys = new WeakMap<ByKey, readonly string[]>();

function keysIn(object: ByKey): readonly string[] {
  const keys = knownKeys.get(object) ?? Object.keys(object);
  knownKeys.set(object, keys);
  return keys;
}

/** The keys of all objects, in the order of `compare`. Objects do not change. */
export function keysOf(
  columns: Iterable<readonly (ByKey | null)[]>,
  compare?: (a: string, b: string) => number,
): string[] {
  const keys = new Set<string>();
  for (const column of columns) {
    for (const object of column) if (object) for (const key of keysIn(object)) keys.add(key);
  }
  return [...keys].sort(compare);
}

/** One key of every object; 0 where the object does not have it, null where there is no object. */
export function pick(objects: readonly (ByKey | null)[], key: string): Value[] {
  return objects.map((object) => (object ? (object[key] ?? 0) : null));
}

/**
 * Events per minute, from their rates per second: at every row those of the minute up to it, so
 * that a single event is not drawn as twelve per minute for five seconds. A rate counts by the time
 * it covers: the row after missed scrapes tells of all of them.
 */
export function perMinute(timeline: Timeline, field: NumberField): Value[] {
  const { times } = timeline;
  const rates = timeline.numbers(field);
  const seconds = timeline.numbers("elapsed_s");
  let [first, events, covered, busy] = [0, 0, 0, 0];
  const count = (row: number, sign: 1 | -1) => {
    const [rate, elapsed] = [rates[row] ?? null, seconds[row] ?? null];
    if (rate === null || elapsed === null) return;
    events += sign * rate * elapsed;
    covered += sign * elapsed;
    if (rate > 0) busy += sign;
  };
  return rates.map((rate, i) => {
    count(i, 1);
    while ((times[first] ?? 0) <= (times[i] ?? 0) - MINUTE_MS) {
      count(first, -1);
      first += 1;
    }
    // What is left of an addition and its opposite is a crumb.
    if (busy === 0) events = 0;
    return rate === null || covered <= 0 ? null : (events / covered) * 60;
  });
}

/** Places that are values with no value on either side: a line would not show them. */
export function isolated(column: ArrayLike<number | null | undefined>): number[] {
  const found: number[] = [];
  let before: number | null = null; // the place of the value before, unless a gap came after it
  let isAlone = false;
  for (let i = 0; i < column.length; i += 1) {
    const value = column[i];
    if (value === undefined) continue;
    if (value === null) {
      if (before !== null && isAlone) found.push(before);
      before = null;
      continue;
    }
    isAlone = before === null;
    before = i;
  }
  if (before !== null && isAlone) found.push(before);
  return found;
}

/** Least, greatest and last value of the places from `first` to before `end`; null where there is none. */
export function extent(
  column: ArrayLike<number | null | undefined>,
  first = 0,
  end = column.length,
): { min: number; max: number; last: number } | null {
  let [min, max, last] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, Number.NaN];
  for (let i = first; i < end; i += 1) {
    const value = column[i];
    if (value == null) continue;
    if (value < min) min = value;
    if (value > max) max = value;
    last = value;
  }
  return Number.isNaN(last) ? null : { min, max, last };
}

/** The last value that is one. */
export function lastOf(values: readonly Value[]): Value {
  for (let i = values.length - 1; i >= 0; i -= 1) {
    const value = values[i];
    if (value != null) return value;
  }
  return null;
}
