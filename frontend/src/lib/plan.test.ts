import { describe, expect, it } from "vitest";
import { type Plan, planHistory, planMinutes, type Slice } from "./plan";
import { generator } from "./random";
import { align } from "./series";
import { DAY_MS, HOUR_MS, MINUTE_MS, RANGES, type Span } from "./time";
import { Timeline } from "./timeline";

interface Timing {
  readonly scrape_interval: number;
  readonly retention_5s: number;
}

const RETENTION_1M_S = 7 * 86_400;
const NOW = Date.UTC(2026, 10, 23, 14, 5, 9, 137);
/** Seconds; those that divide a minute and those that do not. */
const INTERVALS = [0.1, 0.25, 0.5, 1, 2, 3, 5, 7, 10, 11, 15, 25, 30, 45, 60, 120, 300];
const POINTS = Array.from({ length: 18 }, (_, i) => 300 + i * 100);

interface Answer {
  readonly isFine: boolean;
  readonly baseMs: number;
  readonly stepMs: number;
  readonly originMs: number;
}

/** How the service answers a slice: `parse_window`, `Store._planned` and `Store._bins`. */
function answerOf({ start, end, points }: Slice, timing: Timing, now: number): Answer {
  const intervalMs = Math.round(timing.scrape_interval * 1000);
  const oldestMs = now - 2 * Math.round(Math.max(timing.retention_5s, RETENTION_1M_S) * 1000);
  const startMs = Math.max(start, oldestMs);
  const endMs = Math.min(end, Math.max(now, oldestMs));
  const isThere = startMs >= Math.round(now - timing.retention_5s * 1000) - intervalMs;
  const isFine = endMs - startMs <= HOUR_MS && isThere;
  const baseMs = isFine ? intervalMs : Math.max(MINUTE_MS, intervalMs);
  if (points === null) return { isFine, baseMs, stepMs: baseMs, originMs: 0 };
  const spanMs = endMs - startMs + 1;
  if (points === 1) return { isFine, baseMs, stepMs: spanMs, originMs: startMs };
  let stepMs = Math.max(Math.ceil(spanMs / points / baseMs), 1) * baseMs;
  while (Math.floor(endMs / stepMs) - Math.floor(startMs / stepMs) >= points) stepMs += baseMs;
  return { isFine, baseMs, stepMs, originMs: 0 };
}

/** Everything a plan promises: the service makes the rows that the page goes on with. */
function problemsOf(plan: Plan, span: Span, isLive: boolean, timing: Timing, now: number) {
  const { rows, minutes, tail, from, stepMs, baseMs } = plan;
  const intervalMs = timing.scrape_interval * 1000;
  const problems: string[] = [];
  const check = (isTrue: boolean, text: string) => {
    if (!isTrue) problems.push(text);
  };
  for (const { start, end } of [rows, minutes, tail].filter((slice) => slice !== null)) {
    const isTime = [start, end].every((ms) => Number.isSafeInteger(ms) && ms >= 0);
    check(isTime, `${start} to ${end} are no times the service takes`);
    check(end <= now, `asks for ${end - now} ms of the future`);
  }
  check(stepMs % baseMs === 0, `rows of ${stepMs} are not made of whole ${baseMs}`);
  if (rows && rows.end >= rows.start) {
    const answer = answerOf(rows, timing, now);
    check(answer.stepMs === stepMs, `the service makes rows of ${answer.stepMs}, not ${stepMs}`);
    // Of a minute, the average of its ticks is the same as that of the minute itself.
    const isSame = answer.baseMs === baseMs || (MINUTE_MS % intervalMs === 0 && rows.points);
    check(Boolean(isSame), `it makes them of ${answer.baseMs}, not of ${baseMs}`);
    const isOnBeat = (rows.start - answer.originMs) % stepMs === 0 && rows.start % stepMs === 0;
    check(isOnBeat, `${rows.start} is no multiple of ${stepMs}`);
    // The snapshot of a tick may come as late as the next one is due.
    const isComplete = rows.points === null || rows.end < now - intervalMs;
    check(isComplete, "a row is taken for complete whose last snapshot may still come");
  }
  if (tail && tail.end >= tail.start) {
    check(answerOf(tail, timing, now).isFine, "the tail does not come as snapshots");
    const growing = minutes ?? tail;
    check(growing.start % stepMs === 0, `the tail begins within a row, at ${growing.start}`);
    check(growing.start >= from, "the tail begins before the view");
    if (rows)
      check(growing.start === rows.end + 1, "between rows and tail something is lost or double");
    if (minutes)
      check(tail.start === minutes.end + 1, "between minutes and tail something is lost or double");
  }
  if (isLive && rows?.points !== null) {
    check(tail !== null, "the row that grows lacks what of it there is already");
  }
  const first = rows ?? tail;
  const last = tail ?? rows;
  check(from % stepMs === 0, `the first row begins off the beat, at ${from}`);
  check(from > span.start - stepMs, "the first row lies before the window");
  check(from < span.start + stepMs, "the first row comes late");
  check(first === null || first.start <= from, "the first row is not asked for");
  const end = Math.min(span.end, now) - 1; // what is taken now cannot be there yet
  check(
    end < from || (last !== null && last.end >= end),
    `the last ${end - (last?.end ?? 0)} ms are not asked for`,
  );
  return problems;
}

interface Case {
  readonly span: Span;
  readonly isLive: boolean;
  readonly points: number;
  readonly timing: Timing;
  readonly now: number;
}

/** A random case: how long the window is, and how long ago it ended. */
function randomCase(
  random: () => number,
  lengthMs: number,
  agoMs: number | null,
  retention_5s = 86_400,
): Case {
  const one = <T>(list: readonly T[]) => list[Math.floor(random() * list.length)] as T;
  const isAligned = random() < 0.3;
  const now = isAligned
    ? Math.floor(NOW / HOUR_MS) * HOUR_MS
    : NOW + Math.floor(random() * 2 * HOUR_MS);
  const end = now - (agoMs ?? 0);
  return {
    span: { start: end - lengthMs, end },
    isLive: agoMs === null,
    points: one(POINTS),
    timing: { scrape_interval: one(INTERVALS), retention_5s },
    now,
  };
}

/** The cases in which a plan breaks its promise, with what is wrong; empty where all is well. */
function broken(cases: Iterable<Case>): string[] {
  const found: string[] = [];
  for (const { span, isLive, points, timing, now } of cases) {
    const plan = planHistory(span, isLive, points, timing, now);
    const problems = problemsOf(plan, span, isLive, timing, now);
    if (problems.length > 0) {
      const asked = `${span.start} to ${span.end} at ${now}, ${points} points`;
      found.push(`${asked}, every ${timing.scrape_interval} s: ${problems.join("; ")}`);
    }
  }
  return found.slice(0, 5);
}

function* repeat(seed: number, count: number, make: (random: () => number) => Case) {
  const random = generator(seed);
  for (let i = 0; i < count; i += 1) yield make(random);
}

const between = (random: () => number, least: number, most: number) =>
  least + Math.floor(random() * (most - least + 1));

/** Whether rows of this interval fill an hour, whatever number of points is asked for. */
const fillsHour = ({ timing, points }: Case) => {
  const intervalMs = timing.scrape_interval * 1000;
  const stepMs = Math.max(1, Math.ceil(HOUR_MS / points / intervalMs)) * intervalMs;
  return HOUR_MS % stepMs === 0;
};

describe("the rows that history and live are made of are the service's own", () => {
  it.each(RANGES.map(({ key, ms }) => [key, ms] as const))("in the last %s", (_, ms) => {
    expect(broken(repeat(ms, 1000, (random) => randomCase(random, ms, null)))).toEqual([]);
  });

  it("in the last hour, asked for a moment after the page looked at its clock", () => {
    const cases = [0, 1, 2, 5].map((lateMs) => {
      const end = Math.floor(NOW / HOUR_MS) * HOUR_MS;
      const timing = { scrape_interval: 5, retention_5s: 86_400 };
      const span = { start: end - HOUR_MS, end };
      return { span, isLive: true, points: 1000, timing, now: end + lateMs };
    });
    expect(broken(cases)).toEqual([]);
  });

  it("in windows of less than an hour", () => {
    const make = (random: () => number) =>
      randomCase(random, between(random, 10_000, HOUR_MS - 1), between(random, 0, 22 * HOUR_MS));
    expect(broken([...repeat(1, 1000, make)].filter(fillsHour))).toEqual([]);
  });

  it("in windows of exactly an hour", () => {
    const make = (random: () => number) =>
      randomCase(random, HOUR_MS, between(random, 0, 22 * HOUR_MS));
    expect(broken([...repeat(2, 1000, make)].filter(fillsHour))).toEqual([]);
  });

  it("in windows of an hour of snapshots every 7 s, up to their end", () => {
    const make = (random: () => number): Case => ({
      ...randomCase(random, HOUR_MS, between(random, 60_000, 22 * HOUR_MS)),
      timing: { scrape_interval: 7, retention_5s: 86_400 },
    });
    expect(broken(repeat(3, 500, make))).toEqual([]);
  });

  it("in windows of a little more than an hour", () => {
    const make = (random: () => number) =>
      randomCase(random, HOUR_MS + between(random, 1, 3 * MINUTE_MS), between(random, 0, DAY_MS));
    expect(broken(repeat(4, 1000, make))).toEqual([]);
  });

  it("in windows of hours and days", () => {
    const make = (random: () => number) => {
      const longest = between(random, 0, 1) ? 12 * HOUR_MS : 7 * DAY_MS;
      const length = between(random, 2 * HOUR_MS, longest);
      const one = randomCase(random, length, between(random, 0, 2 * DAY_MS));
      return { ...one, timing: { ...one.timing, scrape_interval: between(random, 1, 60) } };
    };
    expect(broken(repeat(5, 1000, make))).toEqual([]);
  });

  it("in old windows of which only minutes are left", () => {
    const make = (random: () => number) => {
      const length = between(random, 2 * MINUTE_MS, 6 * HOUR_MS);
      return randomCase(random, length, between(random, 32 * HOUR_MS, 6 * DAY_MS));
    };
    expect(broken(repeat(6, 1000, make))).toEqual([]);
  });

  it("in windows that begin where the snapshots are about to expire", () => {
    const make = (random: () => number) => {
      const length = between(random, 10 * MINUTE_MS, HOUR_MS);
      const ago = DAY_MS - length + between(random, -5 * MINUTE_MS, 5 * MINUTE_MS);
      return randomCase(random, length, ago);
    };
    expect(broken([...repeat(7, 1000, make)].filter(fillsHour))).toEqual([]);
  });

  it.each([
    ["2 h, of which one is still to come", 2 * HOUR_MS, HOUR_MS],
    ["24 h, of which half are still to come", DAY_MS, 12 * HOUR_MS],
    ["7 d, of which the last is still to come", 7 * DAY_MS, DAY_MS],
    ["30 min, of which the last is still to come", 30 * MINUTE_MS, MINUTE_MS],
    ["10 h, of which half an hour is past", 10 * HOUR_MS, 9.5 * HOUR_MS],
    ["10 h, of which half an hour is past, with ticks of 7 s", 10 * HOUR_MS, 9.5 * HOUR_MS, 7],
    ["2 h, of which one is still to come, with ticks of 7 s", 2 * HOUR_MS, HOUR_MS, 7],
  ])("in windows that reach into the future: %s", (_, lengthMs, aheadMs, scrape_interval = 5) => {
    const make = (random: () => number) => {
      const one = randomCase(random, lengthMs, -aheadMs);
      return { ...one, timing: { ...one.timing, scrape_interval } };
    };
    expect(broken(repeat(8, 500, make))).toEqual([]);
  });

  it.each([1.001, 1.005, 2.01, 16.1])("with the odd interval of %d s", (scrape_interval) => {
    const make = (random: () => number) => {
      const one = randomCase(random, between(random, 0, 1) ? 300_000 : HOUR_MS, null);
      return { ...one, timing: { scrape_interval, retention_5s: 86_400 } };
    };
    expect(broken(repeat(9, 100, make))).toEqual([]);
  });

  it("where snapshots are kept for less than the range", () => {
    const make = (random: () => number) => {
      const one = randomCase(random, HOUR_MS, null, 1800);
      return { ...one, timing: { ...one.timing, scrape_interval: between(random, 1, 30) } };
    };
    expect(broken(repeat(10, 1000, make))).toEqual([]);
  });
});

describe("a line", () => {
  const timing = { scrape_interval: 5, retention_5s: 86_400 };

  it.each([
    ["2.5 ticks without a snapshot, where each is a row", HOUR_MS, 1000, 5, 12_500],
    ["a row of two ticks that is missing", HOUR_MS, 400, 5, 15_000],
    ["a minute that is missing", 6 * HOUR_MS, 1000, 5, 90_000],
    ["a row of 17 minutes that is missing", 7 * DAY_MS, 600, 5, 1.5 * 17 * MINUTE_MS],
    ["a minute that is missing, where it has two ticks", 6 * HOUR_MS, 1000, 30, 90_000],
    ["two minutes that are missing, where one may have no tick", 6 * HOUR_MS, 1000, 45, 150_000],
    ["2.5 ticks where they are longer than a minute", 6 * HOUR_MS, 1000, 120, 300_000],
  ])("breaks over %s", (_, lengthMs, points, scrape_interval, gapMs) => {
    const span = { start: NOW - lengthMs, end: NOW };
    expect(planHistory(span, true, points, { ...timing, scrape_interval }, NOW).gapMs).toBe(gapMs);
  });

  it("never breaks where no more than one tick in a row is missing, whatever the rows", () => {
    const random = generator(21);
    for (const interval of [1, 2, 5, 10, 25, 30, 45, 55, 120]) {
      for (const length of [HOUR_MS, 6 * HOUR_MS, 7 * DAY_MS]) {
        const intervalMs = interval * 1000;
        const span = { start: NOW - length, end: NOW };
        const one = { ...timing, scrape_interval: interval };
        const { stepMs, baseMs, gapMs } = planHistory(span, true, 500, one, NOW);
        const timeline = new Timeline([], stepMs, baseMs, gapMs);
        let ts = Math.ceil(NOW / intervalMs) * intervalMs;
        for (let i = 0; i < 500; i += 1) {
          timeline.append([{ timestamp: ts, variant: "production" }]);
          ts += intervalMs * (random() < 0.3 ? 2 : 1);
        }
        const { rows } = align([timeline], 0);
        expect([...(rows[0] ?? [])].filter((row) => row < 0)).toEqual([]);
      }
    }
  });

  it.each([1, 2, 5, 10, 15, 25, 30, 45, 60, 120])(
    "breaks over every outage that leaves out a whole row and 2.5 ticks, with ticks of %d s",
    (interval) => {
      for (const length of [15 * MINUTE_MS, HOUR_MS, 6 * HOUR_MS, 7 * DAY_MS]) {
        const intervalMs = interval * 1000;
        const span = { start: NOW - length, end: NOW };
        const one = { ...timing, scrape_interval: interval };
        const { stepMs, baseMs, gapMs } = planHistory(span, true, 500, one, NOW);
        for (let offset = 0; offset < 7; offset += 1) {
          const first = (Math.ceil(NOW / intervalMs) + offset) * intervalMs;
          const apart = Math.ceil((2 * stepMs + 2.5 * intervalMs) / intervalMs) * intervalMs;
          const timeline = new Timeline([], stepMs, baseMs, gapMs);
          for (const timestamp of [first, first + apart]) {
            timeline.append([{ timestamp, variant: "production" }]);
          }
          const { rows } = align([timeline], 0);
          expect([...(rows[0] ?? [])]).toEqual([0, -1, 1]);
        }
      }
    },
  );
});

describe("a chart", () => {
  it("has no more rows than it has pixels, and at least half as many where there is detail", () => {
    for (const { span, isLive, points, timing, now } of repeat(20, 1000, (random) =>
      randomCase(random, between(random, 2 * HOUR_MS, 7 * DAY_MS), 0),
    )) {
      const { stepMs, baseMs } = planHistory(span, isLive, points, timing, now);
      const rows = (span.end - span.start) / stepMs;
      expect(rows).toBeLessThanOrEqual(points);
      if (stepMs > baseMs) expect(rows).toBeGreaterThanOrEqual(points / 2);
    }
  });

  it.each([
    ["snapshots up to an hour", HOUR_MS, 5, 5000],
    ["minutes above", 6 * HOUR_MS, 5, MINUTE_MS],
    ["whole ticks where they are longer than a minute", 6 * HOUR_MS, 120, 120_000],
  ])("is made of %s", (_, lengthMs, scrape_interval, baseMs) => {
    const timing = { scrape_interval, retention_5s: 86_400 };
    const span = { start: NOW - lengthMs, end: NOW };
    expect(planHistory(span, true, 1000, timing, NOW).baseMs).toBe(baseMs);
  });

  it("is made of minutes where the snapshots are gone, so that a zoom shows what there is", () => {
    const end = NOW - 3 * DAY_MS;
    const timing = { scrape_interval: 5, retention_5s: 86_400 };
    const plan = planHistory({ start: end - 600_000, end }, false, 600, timing, NOW);
    expect(plan).toMatchObject({ stepMs: MINUTE_MS, baseMs: MINUTE_MS, tail: null });
    expect(plan.rows?.points).toBeGreaterThanOrEqual(10);
  });

  it("of a few seconds of minutes does not ask for a time after its window", () => {
    const timing = { scrape_interval: 5, retention_5s: 86_400 };
    const start = Math.floor((NOW - 3 * DAY_MS) / MINUTE_MS) * MINUTE_MS + 20_000;
    const { rows } = planHistory({ start, end: start + 10_000 }, false, 600, timing, NOW);
    expect(rows?.start).toBeLessThanOrEqual(start + 10_000);
  });
});

describe("the table of minutes", () => {
  const timing = { scrape_interval: 5, retention_5s: 86_400 };

  /** What a plan promises, of whole minutes up to the last that begins within the window. */
  function problemsOfMinutes({ span, isLive, timing, now }: Case): string[] {
    const plan = planMinutes(span, isLive, timing, now);
    const lastMinute = Math.floor((span.end - 1) / MINUTE_MS) * MINUTE_MS;
    const whole = { start: span.start, end: lastMinute + MINUTE_MS };
    const problems = problemsOf(plan, whole, isLive, { ...timing }, now);
    if (plan.stepMs !== MINUTE_MS) problems.push("rows are no minutes");
    if (plan.from < span.start) problems.push("shows a minute that begins before the window");
    return problems;
  }

  function brokenMinutes(seed: number, make: (random: () => number) => Case): string[] {
    return [...repeat(seed, 500, make)]
      .map((one) => ({ ...one, timing }))
      .flatMap((one) =>
        problemsOfMinutes(one).map((text) => `${one.span.end - one.span.start} ms: ${text}`),
      )
      .slice(0, 3);
  }

  it.each(RANGES.map(({ key, ms }) => [key, ms] as const))(
    "has a line for every minute of the last %s",
    (_, ms) => {
      expect(brokenMinutes(ms, (random) => randomCase(random, ms, null))).toEqual([]);
    },
  );

  it("has a line for every minute of windows of less than an hour", () => {
    const make = (random: () => number) =>
      randomCase(random, between(random, 2 * MINUTE_MS, HOUR_MS), between(random, 0, 22 * HOUR_MS));
    expect(brokenMinutes(31, make)).toEqual([]);
  });

  it("tells of the minute that a window of seconds lies in", () => {
    const now = 100 * HOUR_MS;
    const start = now - 10 * MINUTE_MS + 5000;
    const plan = planMinutes({ start, end: start + 40_000 }, false, timing, now);
    expect(plan.from).toBe(now - 10 * MINUTE_MS);
    expect(plan.tail).toEqual({ start: plan.from, end: plan.from + MINUTE_MS - 1, points: null });
  });

  it("has a line a minute, not a tick, for windows of a little more than an hour", () => {
    const make = (random: () => number) =>
      randomCase(random, HOUR_MS + between(random, 1, 3 * MINUTE_MS), between(random, 0, DAY_MS));
    expect(brokenMinutes(32, make)).toEqual([]);
  });

  it("has a line a minute, not a tick, where the snapshots are about to expire", () => {
    const make = (random: () => number) => {
      const length = between(random, 10 * MINUTE_MS, HOUR_MS);
      return randomCase(random, length, DAY_MS - length + between(random, -60_000, 60_000));
    };
    expect(brokenMinutes(33, make)).toEqual([]);
  });

  it("has a line for every minute of long windows", () => {
    const make = (random: () => number) =>
      randomCase(random, between(random, 2 * HOUR_MS, 7 * DAY_MS), between(random, 0, DAY_MS));
    expect(brokenMinutes(34, make)).toEqual([]);
  });

  it.each([
    ["10 minutes and a half", 10.5 * MINUTE_MS],
    ["exactly half an hour", 30 * MINUTE_MS],
    ["exactly an hour", HOUR_MS],
  ])("counts all requests of the last minute of a window of %s", (_, lengthMs) => {
    const start = Math.floor((NOW - 6 * HOUR_MS) / HOUR_MS) * HOUR_MS;
    const span = { start, end: start + lengthMs };
    const { tail } = planMinutes(span, false, timing, NOW);
    // The last line is of the minute in which the slice ends.
    expect(((tail?.end ?? 0) + 1) % MINUTE_MS).toBe(0);
  });

  it.each([
    ["half an hour", 30 * MINUTE_MS],
    ["two hours", 2 * HOUR_MS],
  ])("counts no more of the minute in which the page was paused, in %s", (_, lengthMs) => {
    const end = Math.floor(NOW / MINUTE_MS) * MINUTE_MS - 22_500;
    const span = { start: end - lengthMs, end };
    expect(planMinutes(span, false, timing, NOW, end).tail?.end).toBe(end);
    const { rows, tail } = planMinutes(span, false, timing, NOW, end - 90_000);
    expect((tail ?? rows)?.end).toBe(end + 22_499);
  });
});
