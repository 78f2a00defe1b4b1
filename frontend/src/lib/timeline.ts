import type { ByKey, Columns, Field, NumberField, ObjectField, Snapshot } from "../api/types";

export type Value = number | null;
export type Row = Omit<Snapshot, "timestamp" | "variant">;

const OBJECT_FIELDS: ReadonlySet<Field> = new Set(["status_code_rates", "latency_buckets"]);
/** Fields of which a longer row has the sum; of all others it has the average. */
const SUMMED: ReadonlySet<Field> = new Set(["elapsed_s", "latency_buckets"]);

/** For how long at most a row that grows is left as it was drawn, ms. */
const LONGEST_REST_MS = 10_000;

/** What a row counts for in an average. */
type Weight = (row: Row) => number;

const equal: Weight = () => 1;
/** By the time its rates cover: their average times all of it is what was counted. */
const byTime: Weight = (row) => Math.max(row.elapsed_s ?? 0, 1e-15);

/**
 * Rows as one, by the service's rules: nulls are left out, an absent key counts as 0, and rates count
 * by the time they cover. That is always in the result, for it to be averaged again.
 */
export function averageRows(fields: readonly Field[], rows: readonly Row[]): Row {
  const average: Record<string, number | null | ByKey> = {};
  for (const field of new Set<Field>(["elapsed_s", ...fields])) {
    const weigh = isRate(field) ? byTime : equal;
    average[field] = OBJECT_FIELDS.has(field)
      ? mergeObjects(rows, field as ObjectField, weigh)
      : mergeNumbers(rows, field as NumberField, weigh);
  }
  return average as Row;
}

function isRate(field: Field): boolean {
  return /_rates?$|^token_rate_/.test(field);
}

function mergeNumbers(rows: readonly Row[], field: NumberField, weigh: Weight): number | null {
  let [sum, weights] = [0, 0];
  for (const row of rows) {
    const value = row[field];
    if (value != null) {
      sum += value * weigh(row);
      weights += weigh(row);
    }
  }
  if (weights === 0) return null;
  return SUMMED.has(field) ? sum : sum / weights;
}

function mergeObjects(rows: readonly Row[], field: ObjectField, weigh: Weight): ByKey | null {
  const sums: Record<string, number> = {};
  let weights = 0;
  for (const row of rows) {
    const object = row[field];
    if (object == null) continue;
    weights += weigh(row);
    for (const key in object) sums[key] = (sums[key] ?? 0) + (object[key] ?? 0) * weigh(row);
  }
  if (weights === 0) return null;
  if (!SUMMED.has(field)) for (const key in sums) sums[key] = (sums[key] ?? 0) / weights;
  return sums;
}

/**
 * The history of one variant as columns: loaded once, then grown snapshot by snapshot.
 *
 * A row is `stepMs` wide. Where that is more than one tick, snapshots are averaged as the service
 * does it: first to rows of `baseMs` (a minute, in long views), then those to one of `stepMs`. So a
 * page that was open all along and one just loaded show the same.
 */
export class Timeline {
  /** Begin of each row, ms. */
  readonly times: number[] = [];
  /** The newest snapshot in here, ms. */
  newest = Number.NEGATIVE_INFINITY;

  private readonly columns = new Map<Field, unknown[]>();
  private binRows: Row[] = []; // of the row that grows: what is complete of it
  private baseRows: Row[] = []; // and what is not
  private isWritten = true; // it is averaged when somebody looks, which is not at every tick
  private changes = 0; // all that is to be drawn at once

  constructor(
    readonly fields: readonly Field[],
    readonly stepMs: number,
    readonly baseMs: number,
    /** Rows further apart than this have an outage between them. */
    readonly gapMs: number,
  ) {
    for (const field of fields) this.columns.set(field, []);
  }

  numbers(field: NumberField): readonly Value[] {
    this.write();
    return (this.columns.get(field) ?? []) as Value[];
  }

  objects(field: ObjectField): readonly (ByKey | null)[] {
    this.write();
    return (this.columns.get(field) ?? []) as (ByKey | null)[];
  }

  /** Take over complete rows from a time on, oldest first and later than those it has. */
  load(columns: Columns, from = Number.NEGATIVE_INFINITY): void {
    const { timestamp } = columns;
    const first = timestamp.findIndex((time) => time >= from);
    if (first === -1) return;
    push(this.times, timestamp.slice(first));
    for (const [field, column] of this.columns) {
      const values: unknown[] = columns[field] ?? new Array(timestamp.length).fill(null);
      push(column, values.slice(first));
    }
    const last = this.times.at(-1);
    // A row of averages stands for all of its time; what lies in it is in it already.
    if (last !== undefined) this.newest = this.isAveraged ? last + this.stepMs - 1 : last;
    this.changes += 1;
  }

  /** Add snapshots, in the order of time; those that are in here already are passed over. */
  append(snapshots: Iterable<Snapshot>): void {
    for (const snapshot of snapshots) this.add(snapshot);
  }

  /** How long what has come live may wait to be drawn, ms: what changes is a pixel or two. */
  get restMs(): number {
    // A row that is a snapshot is wider than a pixel, and drawn when it comes.
    const rows = this.stepMs === this.baseMs ? 1 : 2;
    return Math.min(rows * this.stepMs, LONGEST_REST_MS);
  }

  /**
   * Goes up with every change worth drawing: what was loaded at once, and what comes live when the
   * newest snapshot passes `phaseMs` after a multiple of `restMs`.
   */
  version(phaseMs = 0, restMs = this.restMs): number {
    const rests = Math.floor((this.newest - phaseMs) / restMs);
    return this.changes + (Number.isFinite(rests) ? rests : 0);
  }

  /** Have the row that grows drawn as it is now. */
  show(): void {
    this.changes += 1;
  }

  /** Forget rows that end before a time. */
  trim(before: number): void {
    let count = 0;
    while (count < this.times.length && (this.times[count] ?? 0) + this.stepMs < before) count += 1;
    // One by one would move every column at every tick.
    if (count < 16 && count < this.times.length) return;
    this.times.splice(0, count);
    for (const column of this.columns.values()) column.splice(0, count);
  }

  private get isAveraged(): boolean {
    return this.stepMs !== this.baseMs || this.baseMs >= 60_000;
  }

  private add(snapshot: Snapshot): void {
    const ts = snapshot.timestamp;
    if (ts <= this.newest) return;
    const time = this.isAveraged ? Math.floor(ts / this.stepMs) * this.stepMs : ts;
    const base = Math.floor(ts / this.baseMs);
    if (time !== this.times.at(-1)) {
      this.settle();
      this.times.push(time);
      for (const column of this.columns.values()) column.push(null);
    } else if (base !== Math.floor(this.newest / this.baseMs) && this.baseRows.length > 0) {
      this.binRows.push(averageRows(this.fields, this.baseRows));
      this.baseRows = [];
    }
    this.baseRows.push(snapshot);
    this.isWritten = false;
    this.newest = ts;
  }

  /** Write the row that grows, as it is now. */
  private write(): void {
    const last = this.times.length - 1;
    if (this.isWritten || last < 0) return;
    this.isWritten = true;
    const base = averageRows(this.fields, this.baseRows);
    const row = averageRows(this.fields, [...this.binRows, base]);
    for (const [field, column] of this.columns) column[last] = row[field] ?? null;
  }

  /** Finish the row that grew. */
  private settle(): void {
    this.write();
    this.binRows = [];
    this.baseRows = [];
  }
}

function push(to: unknown[], from: readonly unknown[]): void {
  for (const value of from) to.push(value);
}
