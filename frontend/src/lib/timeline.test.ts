import { describe, expect, it } from "vitest";
import { snapshotsOf } from "../api/client";
import type { ByKey, Columns, Field, Snapshot } from "../api/types";
import { generator } from "./random";
import { averageRows, Timeline } from "./timeline";

const MINUTE_MS = 60_000;
/** Where lines break is not what is tested here. */
const GAP = 12_500;
const FIELDS = ["elapsed_s", "req_rate", "status_code_rates", "latency_buckets"] as const;

function snapshot(timestamp: number, req_rate: number | null = timestamp / 1000): Snapshot {
  return { timestamp, variant: "production", req_rate };
}

/** What a timeline shows: its rows, times first. */
function tableOf(timeline: Timeline): Record<string, unknown>[] {
  return timeline.times.map((time, i) => ({
    time,
    ...Object.fromEntries(
      timeline.fields.map((field) => [
        field,
        (field === "status_code_rates" || field === "latency_buckets"
          ? timeline.objects(field)
          : timeline.numbers(field))[i],
      ]),
    ),
  }));
}

/** Rounded, since sums depend on the order of their parts in the last digit. */
function rounded(value: unknown): unknown {
  if (typeof value === "number") return Number(value.toPrecision(9));
  if (Array.isArray(value)) return value.map(rounded);
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(
    Object.entries(value)
      .sort(([a], [b]) => (a < b ? -1 : 1))
      .map(([key, one]) => [key, rounded(one)]),
  );
}

describe("rows as one", () => {
  it.each([
    ["numbers are averaged", "req_rate", [1, 2, 6], 3],
    ["nulls are left out, not counted as zero", "req_rate", [null, 2, 6], 4],
    ["only nulls stay null", "req_rate", [null, null], null],
    ["zero is a number", "req_rate", [0, 4], 2],
    ["seconds covered are added up", "elapsed_s", [5, 5.5, null], 10.5],
    ["seconds nobody knows stay null", "elapsed_s", [null], null],
    [
      "rates by code are averaged, absent counts as 0",
      "status_code_rates",
      [{ 200: 4 }, { 200: 2, 500: 1 }],
      { 200: 3, 500: 0.5 },
    ],
    ["objects that are null are left out", "status_code_rates", [null, { 200: 2 }], { 200: 2 }],
    [
      "an empty object is a row without requests",
      "status_code_rates",
      [{}, { 200: 2 }],
      { 200: 1 },
    ],
    [
      "buckets are added up",
      "latency_buckets",
      [{ 1: 3 }, null, { 1: 2, "+Inf": 1 }],
      { 1: 5, "+Inf": 1 },
    ],
    ["only null objects stay null", "latency_buckets", [null, null], null],
  ] as const)("%s", (_, field, values, expected) => {
    const rows = values.map((value) => ({ [field]: value }));
    expect(averageRows([field], rows)[field]).toEqual(expected);
  });

  it.each([
    ["a rate counts by its time", "req_rate", [5, 55], [4, 1], 1.25],
    ["so do events", "upstream_error_rate", [20, 5], [3, 8], 4],
    ["and codes", "status_code_rates", [5, 15], [{ 200: 4 }, { 200: 8 }], { 200: 7 }],
    ["and tokens, those of an unknown time hardly", "token_rate_in", [null, 5], [90, 4], 4],
    ["where no time is known, all count the same", "req_rate", [null, null], [1, 3], 2],
    ["a percentile is of no time", "latency_p95", [5, 55], [100, 200], 150],
    ["nor is a share", "error_rate_pct", [5, 55], [0, 1], 0.5],
    ["nor are workers", "concurrent_requests", [5, 55], [4, 8], 6],
    ["buckets are counts already", "latency_buckets", [5, 55], [{ 1: 3 }, { 1: 4 }], { 1: 7 }],
  ] as const)("%s", (_, field, seconds, values, expected) => {
    const rows = values.map((value, i) => ({ [field]: value, elapsed_s: seconds[i] ?? null }));
    expect(rounded(averageRows([field], rows)[field])).toEqual(expected);
    const averages = rows.map((row) => averageRows([field], [row]));
    expect(rounded(averageRows([field], averages)[field])).toEqual(expected);
  });

  it("have the fields asked for and the time, null where no row knows them", () => {
    expect(averageRows(["req_rate", "latency_buckets"], [])).toEqual({
      elapsed_s: null,
      req_rate: null,
      latency_buckets: null,
    });
  });

  it("leave the rows as they were", () => {
    const rows = [{ status_code_rates: { 200: 1 } }, { status_code_rates: { 200: 3 } }];
    averageRows(["status_code_rates"], rows);
    expect(rows).toEqual([{ status_code_rates: { 200: 1 } }, { status_code_rates: { 200: 3 } }]);
  });
});

describe("a timeline of snapshots", () => {
  const fresh = () => new Timeline(["req_rate"], 5000, 5000, GAP);

  it("goes on from history with what comes live", () => {
    const timeline = fresh();
    timeline.load({ timestamp: [5000, 10_000], req_rate: [1, 2] });
    timeline.append([snapshot(15_000, 3)]);
    timeline.append([snapshot(20_000, 4), snapshot(25_000, null)]);
    expect(timeline.times).toEqual([5000, 10_000, 15_000, 20_000, 25_000]);
    expect(timeline.numbers("req_rate")).toEqual([1, 2, 3, 4, null]);
    expect(timeline.newest).toBe(25_000);
  });

  it.each([
    ["all of them", undefined, [5000, 10_000, 15_000], [1, 2, null]],
    ["all from the first on", 5000, [5000, 10_000, 15_000], [1, 2, null]],
    ["those from the second on", 5001, [10_000, 15_000], [2, null]],
    ["none, where all come before the view", 15_001, [], []],
  ])("takes over the rows that belong to the view: %s", (_, from, times, rates) => {
    const timeline = new Timeline(["req_rate", "retry_rate"], 5000, 5000, GAP);
    timeline.load({ timestamp: [5000, 10_000, 15_000], req_rate: [1, 2, null] }, from);
    expect(timeline.times).toEqual(times);
    expect(timeline.numbers("req_rate")).toEqual(rates);
    expect(timeline.numbers("retry_rate")).toEqual(times.map(() => null));
  });

  it("takes each snapshot once, when the stream repeats what history had", () => {
    const timeline = fresh();
    timeline.load({ timestamp: [5000, 10_000], req_rate: [1, 2] });
    timeline.append([snapshot(5000, 9), snapshot(10_000, 9), snapshot(15_000, 3)]);
    timeline.append([snapshot(15_000, 9), snapshot(10_000, 9)]);
    expect(timeline.times).toEqual([5000, 10_000, 15_000]);
    expect(timeline.numbers("req_rate")).toEqual([1, 2, 3]);
  });

  it("keeps the time of a snapshot that is off the beat", () => {
    const timeline = fresh();
    timeline.append([snapshot(5003, 1), snapshot(10_001, 2)]);
    expect(timeline.times).toEqual([5003, 10_001]);
  });

  it("has null for a field the service did not send", () => {
    const timeline = new Timeline(["req_rate", "retry_rate", "latency_buckets"], 5000, 5000, GAP);
    timeline.load({ timestamp: [5000], req_rate: [1] });
    timeline.append([snapshot(10_000, 2)]);
    expect(timeline.numbers("retry_rate")).toEqual([null, null]);
    expect(timeline.objects("latency_buckets")).toEqual([null, null]);
  });

  it("is drawn again for every snapshot, and not for one it has already", () => {
    const timeline = fresh();
    timeline.load({ timestamp: [5000], req_rate: [1] });
    const before = timeline.version();
    timeline.append([snapshot(10_000)]);
    expect(timeline.version()).toBe(before + 1);
    timeline.append([snapshot(10_000)]);
    timeline.append([]);
    expect(timeline.version()).toBe(before + 1);
  });

  it("is drawn for all that a hidden tab has missed", () => {
    const timeline = fresh();
    expect(timeline.version()).toBe(0);
    timeline.append(Array.from({ length: 500 }, (_, i) => snapshot((i + 1) * 5000)));
    expect(timeline.times).toHaveLength(500);
    expect(timeline.version()).toBeGreaterThan(0);
  });

  it("takes over a week of history without running out of stack", () => {
    const timeline = fresh();
    const timestamp = Array.from({ length: 300_000 }, (_, i) => i * 5000);
    timeline.load({ timestamp, req_rate: timestamp.map(() => 1) });
    expect(timeline.times).toHaveLength(300_000);
  });
});

describe("a timeline of averages", () => {
  it("has rows on multiples of their width, whenever the page was opened", () => {
    const timeline = new Timeline(["req_rate"], 15_000, 5000, GAP);
    timeline.append([snapshot(25_000, 1), snapshot(30_000, 2), snapshot(45_000, 4)]);
    expect(timeline.times).toEqual([15_000, 30_000, 45_000]);
  });

  it("shows the row that grows as the average so far", () => {
    const timeline = new Timeline(["req_rate"], 15_000, 5000, GAP);
    const shown = [1, 3, 8].map((rate, i) => {
      timeline.append([snapshot(30_000 + i * 5000, rate)]);
      return timeline.numbers("req_rate").at(-1);
    });
    expect(shown).toEqual([1, 2, 4]);
    expect(timeline.times).toEqual([30_000]);
  });

  it("averages minutes first and then their rows, as the service does", () => {
    const timeline = new Timeline(["req_rate"], 2 * MINUTE_MS, MINUTE_MS, GAP);
    // Three snapshots in the first minute, one in the second: an average of all would be 3.25.
    timeline.append([snapshot(0, 1), snapshot(5000, 2), snapshot(10_000, 3), snapshot(65_000, 7)]);
    expect(rounded(timeline.numbers("req_rate"))).toEqual([4.5]);
  });

  it("does not count the snapshots again of which the service made a row", () => {
    const timeline = new Timeline(["req_rate"], 15_000, 5000, GAP);
    timeline.load({ timestamp: [0, 15_000], req_rate: [1, 2] });
    timeline.append([snapshot(25_000, 99), snapshot(29_999, 99), snapshot(30_000, 3)]);
    expect(timeline.times).toEqual([0, 15_000, 30_000]);
    expect(timeline.numbers("req_rate")).toEqual([1, 2, 3]);
  });

  it("starts a new row after an outage, and settles the one before", () => {
    const timeline = new Timeline(["req_rate"], 15_000, 5000, GAP);
    timeline.append([snapshot(0, 1), snapshot(5000, 3)]);
    timeline.append([snapshot(300_000, 5)]);
    timeline.append([snapshot(305_000, 7)]);
    expect(timeline.times).toEqual([0, 300_000]);
    expect(timeline.numbers("req_rate")).toEqual([2, 6]);
  });

  it("draws a wide row that grows every ten seconds, not at every tick", () => {
    const timeline = new Timeline(["req_rate"], 10 * MINUTE_MS, MINUTE_MS, GAP);
    timeline.load({ timestamp: [0], req_rate: [1] });
    let drawn = 0;
    for (let second = 600; second < 660; second += 1) {
      const before = timeline.version();
      timeline.append([snapshot(second * 1000)]);
      if (timeline.version() !== before) drawn += 1;
    }
    expect(drawn).toBeGreaterThanOrEqual(5);
    expect(drawn).toBeLessThanOrEqual(7);
  });
});

describe("panels that take turns", () => {
  it.each([
    ["rows of three ticks", 3000, 6],
    ["rows of many ticks", 60_000, 10],
  ])("draw once in a rest each, no two of them at the same tick: %s", (_, stepMs, ticks) => {
    const timeline = new Timeline(["req_rate"], stepMs, 1000, GAP);
    expect(timeline.restMs).toBe(ticks * 1000);
    timeline.append([snapshot(0)]);
    const phases = Array.from({ length: ticks }, (_, i) => i * 1000);
    let before = phases.map((phaseMs) => timeline.version(phaseMs));
    const drawn: number[] = [];
    for (let second = 1; second <= 2 * ticks; second += 1) {
      timeline.append([snapshot(second * 1000)]);
      const after = phases.map((phaseMs) => timeline.version(phaseMs));
      drawn.push(...phases.filter((_, i) => after[i] !== before[i]));
      expect(drawn).toHaveLength(second);
      before = after;
    }
    const [first, ...others] = phases;
    expect(drawn).toEqual([...others, first, ...others, first]);
  });

  it("draw at every tick where each is a row", () => {
    const timeline = new Timeline(["req_rate"], 1000, 1000, GAP);
    expect(timeline.restMs).toBe(1000);
  });

  it("draw at once what was loaded, and what is shown because the page stands still", () => {
    const timeline = new Timeline(["req_rate"], 6000, 1000, GAP);
    for (const change of [
      () => timeline.load({ timestamp: [0], req_rate: [1] }),
      () => timeline.show(),
    ]) {
      const before = [0, 5000].map((phaseMs) => timeline.version(phaseMs));
      change();
      const after = [0, 5000].map((phaseMs) => timeline.version(phaseMs));
      expect(after.every((version, i) => version > (before[i] ?? 0))).toBe(true);
    }
  });
});

describe("a page left open for hours", () => {
  it("holds no more rows than its window has, and a few", () => {
    const timeline = new Timeline(["req_rate", "latency_buckets"], 1000, 1000, GAP);
    let most = 0;
    for (let second = 0; second < 20_000; second += 1) {
      timeline.append([snapshot(second * 1000)]);
      timeline.trim((second - 300) * 1000);
      most = Math.max(most, timeline.times.length);
    }
    expect(most).toBeLessThanOrEqual(300 + 20);
    expect(timeline.times[0]).toBeLessThanOrEqual((19_999 - 300) * 1000);
    expect(timeline.numbers("req_rate")).toEqual(timeline.times.map((time) => time / 1000));
    expect(timeline.objects("latency_buckets")).toHaveLength(timeline.times.length);
  });

  it("never forgets a row that still reaches into the window", () => {
    const timeline = new Timeline(["req_rate"], 60_000, 60_000, GAP);
    const timestamp = Array.from({ length: 100 }, (_, i) => i * 60_000);
    timeline.load({ timestamp, req_rate: timestamp.map(() => 1) });
    timeline.trim(50 * 60_000 + 1);
    expect(timeline.times[0]).toBe(50 * 60_000);
    expect(timeline.numbers("req_rate")).toHaveLength(50);
  });

  it("goes on after an outage that was longer than the window", () => {
    const timeline = new Timeline(["req_rate"], 15_000, 5000, GAP);
    timeline.append([snapshot(0, 1), snapshot(5000, 3)]);
    timeline.trim(10_000_000);
    expect(timeline.times).toEqual([]);
    timeline.append([snapshot(5000, 9)]); // comes again, and is long gone
    timeline.append([snapshot(20_010_000, 5)]);
    timeline.append([snapshot(20_015_000, 6), snapshot(20_025_000, 7)]);
    expect(timeline.times).toEqual([20_010_000, 20_025_000]);
    expect([...timeline.numbers("req_rate")]).toEqual([5.5, 7]);
  });

  it("writes nothing before the beginning of its columns after such an outage", () => {
    const timeline = new Timeline(["req_rate"], 5000, 5000, GAP);
    timeline.append([snapshot(5000)]);
    timeline.trim(10_000_000);
    timeline.append([snapshot(20_000_000)]);
    expect(Object.keys(timeline.numbers("req_rate"))).toEqual(["0"]);
  });
});

/** Rows of `stepMs` from those of `baseMs`, by the words of the contract and nothing else. */
function plainRows(
  snapshots: readonly Snapshot[],
  { stepMs, baseMs }: { stepMs: number; baseMs: number },
): Record<string, unknown>[] {
  const isAveraged = stepMs !== baseMs || baseMs >= MINUTE_MS;
  if (!isAveraged) return snapshots.map((one) => ({ ...merged([one]), time: one.timestamp }));
  const bases = grouped(snapshots, (one) => one.timestamp, baseMs);
  const minutes = bases.map(([time, rows]) => ({ ...(merged(rows) as Loose), time }));
  return grouped(minutes, (one) => one.time, stepMs).map(([time, rows]) => ({
    ...merged(rows),
    time,
  }));
}

function grouped<T>(
  rows: readonly T[],
  timeOf: (row: T) => number,
  width: number,
): [number, T[]][] {
  const groups = new Map<number, T[]>();
  for (const row of rows) {
    const time = timeOf(row) - (timeOf(row) % width);
    groups.set(time, [...(groups.get(time) ?? []), row]);
  }
  return [...groups];
}

type Loose = { readonly [field in Field]?: number | ByKey | null };

function merged(rows: readonly Loose[]): Record<string, unknown> {
  const known = <T>(field: Field) =>
    rows.map((row) => row[field]).filter((value) => value != null) as T[];
  const total = (numbers: readonly number[]) => numbers.reduce((sum, one) => sum + one, 0);
  const byKey = (objects: readonly ByKey[], weights?: readonly number[]) =>
    Object.fromEntries(
      [...new Set(objects.flatMap((one) => Object.keys(one)))].map((key) => [
        key,
        total(objects.map((one, i) => (one[key] ?? 0) * (weights?.[i] ?? 1))) /
          (weights ? total(weights) : 1),
      ]),
    );
  const secondsOf = (field: Field) =>
    rows
      .filter((row) => row[field] != null)
      .map((row) => (row.elapsed_s as number | null | undefined) ?? 1e-15);
  const seconds = known<number>("elapsed_s");
  const rates = known<number>("req_rate");
  const codes = known<ByKey>("status_code_rates");
  const buckets = known<ByKey>("latency_buckets");
  return {
    elapsed_s: seconds.length > 0 ? total(seconds) : null,
    req_rate:
      rates.length > 0
        ? total(rates.map((rate, i) => rate * (secondsOf("req_rate")[i] ?? 0))) /
          total(secondsOf("req_rate"))
        : null,
    status_code_rates: codes.length > 0 ? byKey(codes, secondsOf("status_code_rates")) : null,
    latency_buckets: buckets.length > 0 ? byKey(buckets) : null,
  };
}

/** Ticks of a service with outages, nulls, and codes that come and go. */
function randomSnapshots(random: () => number, intervalMs: number, count: number): Snapshot[] {
  const found: Snapshot[] = [];
  const first = Math.floor(1_790_000_000_000 / 604_800_000) * 604_800_000;
  let tick = 0;
  for (let i = 0; i < count; i += 1) {
    tick += random() < 0.03 ? 1 + Math.floor(random() * 60) : 1;
    const isFirst = random() < 0.03;
    const maybe = <T>(value: T): T | null => (isFirst || random() < 0.05 ? null : value);
    found.push({
      timestamp: first + tick * intervalMs,
      variant: "production",
      elapsed_s: maybe(intervalMs / 1000 + Math.floor(random() * 10) / 100),
      req_rate: maybe(Math.floor(random() * 1000) / 10),
      status_code_rates: maybe({
        200: Math.floor(random() * 100),
        ...(random() < 0.2 ? { 429: Math.floor(random() * 10) } : {}),
      }),
      latency_buckets: maybe(random() < 0.2 ? {} : { "0.5": Math.floor(random() * 9), "+Inf": 1 }),
    });
  }
  return found;
}

function columnsFrom(rows: readonly Record<string, unknown>[]): Columns {
  return {
    timestamp: rows.map(({ time }) => time),
    ...Object.fromEntries(FIELDS.map((field) => [field, rows.map((row) => row[field])])),
  } as unknown as Columns;
}

describe("history and live together", () => {
  it.each([
    ["snapshots of 5 s", 5000, 5000, 5000],
    ["snapshots of 100 ms", 100, 100, 100],
    ["rows of 3 snapshots", 5000, 15_000, 5000],
    ["rows of 6 snapshots of 1 s", 1000, 6000, 1000],
    ["minutes of snapshots of 5 s", 5000, MINUTE_MS, MINUTE_MS],
    ["minutes of snapshots of 7 s, which no minute is made of", 7000, MINUTE_MS, MINUTE_MS],
    ["rows of 3 minutes of snapshots of 5 s", 5000, 3 * MINUTE_MS, MINUTE_MS],
    ["rows of 17 minutes of snapshots of 25 s", 25_000, 17 * MINUTE_MS, MINUTE_MS],
    ["snapshots of 2 minutes", 120_000, 120_000, 120_000],
    ["rows of 10 minutes of snapshots of 2 minutes", 120_000, 600_000, 120_000],
  ])("are what the service would have told at once: %s", (_, intervalMs, stepMs, baseMs) => {
    const random = generator(intervalMs + stepMs);
    for (let round = 0; round < 5; round += 1) {
      const snapshots = randomSnapshots(random, intervalMs, 150 + Math.floor(random() * 150));
      const expected = plainRows(snapshots, { stepMs, baseMs });

      const atOnce = new Timeline(FIELDS, stepMs, baseMs, GAP);
      atOnce.append(snapshots);

      // History up to a moment, the row that grew then as snapshots, and the rest as it came.
      const asked = Math.floor(random() * snapshots.length);
      const growing = Math.floor((snapshots[asked]?.timestamp ?? 0) / stepMs) * stepMs;
      const isAveraged = stepMs !== intervalMs || baseMs >= MINUTE_MS;
      const rest = snapshots.findIndex(({ timestamp }) => timestamp >= growing);
      const pieces = new Timeline(FIELDS, stepMs, baseMs, GAP);
      const complete = expected.filter(({ time }) => (time as number) < growing);
      pieces.load(columnsFrom(complete));
      const tail = snapshots.slice(rest, asked + 1);
      if (isAveraged) {
        const columns = columnsFrom(tail.map((one) => ({ ...one, time: one.timestamp })));
        pieces.append(snapshotsOf("production", columns, FIELDS));
      } else pieces.append(tail);
      // The stream begins up to a minute before, and repeats some after a reconnect.
      let next = Math.max(0, asked - Math.floor(random() * 20));
      while (next < snapshots.length) {
        const count = 1 + Math.floor(random() * 4);
        pieces.append(snapshots.slice(next, next + count));
        next += random() < 0.1 ? Math.max(1, count - 3) : count;
      }

      expect(rounded(tableOf(atOnce))).toEqual(rounded(expected));
      expect(rounded(tableOf(pieces))).toEqual(rounded(expected));
      expect(pieces.newest).toBe(snapshots.at(-1)?.timestamp);
    }
  });
});
