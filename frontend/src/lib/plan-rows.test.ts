import { describe, expect, it, vi } from "vitest";
import { snapshotsOf } from "../api/client";
import type { Columns, Snapshot } from "../api/types";
import { type Plan, planHistory, planMinutes, type Slice } from "./plan";
import { generator } from "./random";
import { DAY_MS, HOUR_MS, MINUTE_MS, RANGES, type Span } from "./time";
import { averageRows, Timeline } from "./timeline";

const FIELDS = ["elapsed_s", "req_rate", "latency_buckets"] as const;
const NOW = Date.UTC(2026, 10, 23, 14, 5, 9, 137);
const INTERVALS = [0.25, 1, 2, 5, 7, 10, 15, 25, 30, 45, 60, 120];
const VARIANT = "production";

// Thousands of cases, on a machine that may be busy.
vi.setConfig({ testTimeout: 60_000 });

/** Snapshots as one row each, or averaged in bins of a width. */
function grouped(rows: readonly Snapshot[], widthMs: number, originMs = 0): Snapshot[] {
  const bins = new Map<number, Snapshot[]>();
  for (const row of rows) {
    const time = row.timestamp - ((row.timestamp - originMs) % widthMs);
    bins.set(time, [...(bins.get(time) ?? []), row]);
  }
  return [...bins].map(([timestamp, some]) => ({
    ...averageRows(FIELDS, some),
    timestamp,
    variant: VARIANT,
  }));
}

interface Case {
  readonly span: Span;
  readonly isLive: boolean;
  readonly points: number;
  readonly intervalMs: number;
  readonly retentionMs: number;
  /** The service's time when the page makes its plan, and when it is asked. */
  readonly now: number;
  readonly askedAt: number;
  readonly isTable: boolean;
}

/** What the service answers, by its own rules, out of the snapshots it has. */
function answer(slice: Slice, known: readonly Snapshot[], one: Case): Snapshot[] {
  const { intervalMs, retentionMs, askedAt } = one;
  const { start, points } = slice;
  const end = Math.min(slice.end, askedAt);
  const isFine = end - start <= HOUR_MS && start >= askedAt - retentionMs - intervalMs;
  const all = isFine ? known : grouped(known, MINUTE_MS);
  const rows = all.filter(({ timestamp }) => timestamp >= start && timestamp <= end);
  if (points === null) return rows;
  const spanMs = end - start + 1;
  if (points === 1) return grouped(rows, spanMs, start);
  const baseMs = isFine ? intervalMs : Math.max(MINUTE_MS, intervalMs);
  let stepMs = Math.max(Math.ceil(spanMs / points / baseMs), 1) * baseMs;
  while (Math.floor(end / stepMs) - Math.floor(start / stepMs) >= points) stepMs += baseMs;
  return grouped(rows, stepMs);
}

function columnsFrom(rows: readonly Snapshot[]): Columns {
  return {
    timestamp: rows.map(({ timestamp }) => timestamp),
    ...Object.fromEntries(FIELDS.map((field) => [field, rows.map((row) => row[field] ?? null)])),
  } as unknown as Columns;
}

/** Snapshots on ticks, thick where something begins or ends, and here and there between. */
function snapshotsFor(random: () => number, plan: Plan, one: Case): Snapshot[] {
  const { intervalMs, span, now } = one;
  const ends = [plan.from, plan.rows?.end ?? plan.from, plan.tail?.start ?? now, span.end, now];
  const ticks = new Set<number>();
  const add = (ms: number) => ticks.add(Math.floor(ms / intervalMs) * intervalMs);
  for (const edge of ends) {
    for (let i = -4; i <= 4; i += 1) if (random() < 0.8) add(edge + i * intervalMs);
    for (let i = 0; i < 12; i += 1) add(edge + (random() * 4 - 2) * plan.stepMs);
  }
  for (let i = 0; i < 60; i += 1) {
    add(span.start + random() * (Math.min(span.end, now) - span.start));
  }
  return [...ticks]
    .sort((a, b) => a - b)
    .map((timestamp) => ({
      timestamp,
      variant: VARIANT,
      elapsed_s: 1 + Math.floor(random() * 9),
      req_rate: random() < 0.1 ? null : Math.floor(random() * 1000),
      latency_buckets: { "0.5": 1 + Math.floor(random() * 9) },
    }));
}

type Row = readonly [number, ...unknown[]];
const rounded = (value: unknown) =>
  typeof value === "number" ? Number(value.toPrecision(9)) : JSON.stringify(value ?? null);
const rowOf = (row: Snapshot): Row => [
  row.timestamp,
  ...FIELDS.map((field) => rounded(row[field])),
];

/** What is wrong with what the page shows; null where it is what the service would give. */
function problemOf(random: () => number, one: Case): string | null {
  const { span, isLive, points, intervalMs, now, askedAt } = one;
  const timing = { scrape_interval: intervalMs / 1000, retention_5s: one.retentionMs / 1000 };
  const plan = one.isTable
    ? planMinutes(span, isLive, timing, now)
    : planHistory(span, isLive, points, timing, now);
  const { stepMs, baseMs, gapMs, from } = plan;
  const snapshots = snapshotsFor(random, plan, one);
  // A scrape may take as long as a tick: what was taken last may not have come yet.
  const lateMs = random() * intervalMs * 0.99;
  const known = snapshots.filter(({ timestamp }) => timestamp + lateMs <= askedAt);

  const timeline = new Timeline(FIELDS, stepMs, baseMs, gapMs);
  if (plan.rows) timeline.load(columnsFrom(answer(plan.rows, known, one)), from);
  for (const part of [plan.minutes, plan.tail]) {
    if (!part || part.end < part.start) continue;
    const columns = columnsFrom(answer(part, known, one));
    timeline.append(snapshotsOf(VARIANT, columns, FIELDS));
  }
  if (isLive) {
    // The stream tells of the last minute again, and of what came after the answer.
    for (const snapshot of snapshots) {
      const isNew = snapshot.timestamp > now - MINUTE_MS || !known.includes(snapshot);
      if (isNew) timeline.append([snapshot]);
    }
  }
  const shown = timeline.times.map((timestamp, i): Row => {
    const { elapsed_s, req_rate } = {
      elapsed_s: timeline.numbers("elapsed_s")[i],
      req_rate: timeline.numbers("req_rate")[i],
    };
    const buckets = timeline.objects("latency_buckets")[i];
    return [timestamp, rounded(elapsed_s), rounded(req_rate), rounded(buckets)];
  });

  const isRaw = stepMs === baseMs && baseMs === intervalMs && baseMs < MINUTE_MS;
  const wanted = (until: number) => {
    const some = (isLive ? snapshots : known).filter(
      ({ timestamp }) => timestamp >= from && timestamp <= until,
    );
    const rows = isRaw ? some : grouped(grouped(some, baseMs), stepMs);
    return JSON.stringify(rows.map(rowOf));
  };
  const last = Math.min(
    one.isTable ? Math.ceil(span.end / MINUTE_MS) * MINUTE_MS - 1 : span.end,
    now,
  );
  // A fixed window's last row is of all of its time, or as far as the window or its minute goes.
  const ends = isLive
    ? [Number.POSITIVE_INFINITY]
    : [
        last,
        Math.ceil(last / MINUTE_MS) * MINUTE_MS - 1,
        isRaw ? last : Math.floor(last / stepMs) * stepMs + stepMs - 1,
      ];
  const got = JSON.stringify(shown);
  if (ends.some((end) => wanted(end) === got)) return null;
  const expected = JSON.parse(wanted(ends.at(-1) ?? 0)) as Row[];
  const wrong = [
    ...shown.filter((row) => !expected.some((other) => String(other) === String(row))),
    ...expected.filter((row) => !shown.some((other) => String(other) === String(row))),
  ];
  return (
    `${span.start} to ${span.end} at ${now}, ${points} points, every ${intervalMs} ms, rows of ` +
    `${stepMs} from ${from}: ${shown.length} rows for ${expected.length}: ${wrong.slice(0, 4).join(" | ")}`
  );
}

const between = (random: () => number, least: number, most: number) =>
  least + Math.floor(random() * (most - least + 1));

/** A random case; null for a live window. */
function randomCase(random: () => number, lengthMs: number, agoMs: number | null): Case {
  const one = <T>(list: readonly T[]) => list[Math.floor(random() * list.length)] as T;
  const isAligned = random() < 0.3;
  const now = isAligned
    ? Math.floor(NOW / HOUR_MS) * HOUR_MS
    : NOW + Math.floor(random() * 2 * HOUR_MS);
  const end = now - (agoMs ?? 0);
  return {
    span: { start: end - lengthMs, end },
    isLive: agoMs === null,
    points: 300 + 100 * Math.floor(random() * 18),
    intervalMs: one(INTERVALS) * 1000,
    retentionMs: DAY_MS,
    now,
    askedAt: now + Math.floor(random() * 200),
    isTable: false,
  };
}

function problems(seed: number, make: (random: () => number) => Case, count = 120): string[] {
  const random = generator(seed);
  const found: string[] = [];
  for (let i = 0; i < count && found.length < 3; i += 1) {
    const problem = problemOf(random, make(random));
    if (problem !== null) found.push(problem);
  }
  return found;
}

describe.each([
  ["a chart", false],
  ["the table of minutes", true],
])("%s shows each snapshot once, in the rows the service would make", (_, isTable) => {
  it.each(RANGES.map(({ key, ms }) => [key, ms] as const))("in the last %s", (_, ms) => {
    const make = (random: () => number) => ({ ...randomCase(random, ms, null), isTable });
    expect(problems(ms + 1, make)).toEqual([]);
  });

  it.each([
    ["of seconds to an hour", 10_000, HOUR_MS, 0, 22 * HOUR_MS],
    ["that ended a moment ago", 10_000, HOUR_MS, 0, 3 * MINUTE_MS],
    ["of exactly an hour", HOUR_MS, HOUR_MS, 0, 2 * HOUR_MS],
    ["of a little more than an hour", HOUR_MS + 1, HOUR_MS + 3 * MINUTE_MS, 0, DAY_MS],
    ["of hours", 2 * HOUR_MS, 12 * HOUR_MS, 0, DAY_MS],
    ["of days that ended a moment ago", DAY_MS, 7 * DAY_MS, 0, HOUR_MS],
    ["of which only minutes are left", MINUTE_MS, 6 * HOUR_MS, 32 * HOUR_MS, 6 * DAY_MS],
    ["of weeks that ended a moment ago", 14 * DAY_MS, 30 * DAY_MS, 0, HOUR_MS],
  ])("in windows %s", (_, least, most, soonest, latest) => {
    const make = (random: () => number) => ({
      ...randomCase(random, between(random, least, most), between(random, soonest, latest)),
      isTable,
    });
    expect(problems(least + most, make)).toEqual([]);
  });

  it("in windows that begin where the snapshots are about to expire", () => {
    const make = (random: () => number) => {
      const length = between(random, 10 * MINUTE_MS, HOUR_MS);
      const ago = DAY_MS - length + between(random, -2 * MINUTE_MS, 2 * MINUTE_MS);
      return { ...randomCase(random, length, ago), isTable };
    };
    expect(problems(41, make, 240)).toEqual([]);
  });

  it.each([
    ["10 h, of which half an hour is past", 10 * HOUR_MS, 9.5 * HOUR_MS],
    ["2 h, of which one is still to come", 2 * HOUR_MS, HOUR_MS],
    ["30 min, of which the last is still to come", 30 * MINUTE_MS, MINUTE_MS],
  ])("in windows that reach into the future: %s", (_, lengthMs, aheadMs) => {
    const make = (random: () => number) => ({
      ...randomCase(random, lengthMs, -aheadMs),
      isTable,
    });
    expect(problems(43, make)).toEqual([]);
  });

  it.each([
    ["an hour", HOUR_MS],
    ["ten minutes", 10 * MINUTE_MS],
    ["two minutes", 2 * MINUTE_MS],
  ])("where snapshots are kept for %s", (_, retentionMs) => {
    const make = (random: () => number) => {
      const range = RANGES[between(random, 0, RANGES.length - 1)] ?? RANGES[0];
      const intervalMs = [1000, 5000, 10_000][between(random, 0, 2)] ?? 1000;
      return { ...randomCase(random, range.ms, null), retentionMs, intervalMs, isTable };
    };
    expect(problems(47, make)).toEqual([]);
  });

  it("of the last hour where they are kept for as long, though the request takes a second", () => {
    const make = (random: () => number) => {
      const one = randomCase(random, HOUR_MS, null);
      const late = { retentionMs: HOUR_MS, intervalMs: 250, askedAt: one.now + 1000 };
      return { ...one, ...late, isTable };
    };
    expect(problems(53, make)).toEqual([]);
  });
});
