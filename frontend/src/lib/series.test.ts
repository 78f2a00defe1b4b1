import { describe, expect, it } from "vitest";
import type { Snapshot } from "../api/types";
import { generator } from "./random";
import { align, extent, isolated, keysOf, lastOf, layOut, perMinute, pick, stack } from "./series";
import { Timeline, type Value } from "./timeline";

const GAP_TICKS = 2.5;

/** Snapshots at some times, `req_rate` their number. */
function timelineAt(times: readonly number[], stepMs = 1000): Timeline {
  const timeline = new Timeline(["req_rate"], stepMs, stepMs, GAP_TICKS * stepMs);
  timeline.load({ timestamp: [...times], req_rate: times.map((_, i) => i) });
  return timeline;
}

/** The columns of some timelines on their common axis, in ms. */
function columnsOf(timelines: readonly Timeline[], start = 0, shifts?: readonly number[]) {
  const { x, rows } = align(timelines, start, shifts);
  const columns = timelines.map((timeline, i) =>
    layOut(timeline.numbers("req_rate"), rows[i] ?? new Int32Array()),
  );
  return { x: x.map((s) => Math.round(s * 1000)), columns };
}

describe("the axis of one timeline", () => {
  it("has its times in seconds, each with its value", () => {
    const { x } = align([timelineAt([1000, 2000, 3000])], 0);
    expect(x).toEqual([1, 2, 3]);
    expect(columnsOf([timelineAt([1000, 2000, 3000])]).columns).toEqual([[0, 1, 2]]);
  });

  it("is empty where there are no rows", () => {
    expect(columnsOf([timelineAt([])])).toEqual({ x: [], columns: [[]] });
    expect(align([], 0)).toEqual({ x: [], rows: [] });
  });

  it("begins with the first row in the window, without a gap before it", () => {
    const { x, columns } = columnsOf([timelineAt([1000, 2000, 9000, 10_000])], 5000);
    expect(x).toEqual([9000, 10_000]);
    expect(columns).toEqual([[2, 3]]);
  });

  it.each([
    ["a row that is late is no outage", 2000, false],
    ["exactly 2.5 intervals are no outage yet", 2500, false],
    ["a millisecond more is an outage", 2501, true],
    ["an hour is an outage", 3_600_000, true],
  ])("%s", (_, apart, isGap) => {
    const { x, columns } = columnsOf([timelineAt([1000, 1000 + apart])]);
    expect(x).toHaveLength(isGap ? 3 : 2);
    expect(columns).toEqual([isGap ? [0, null, 1] : [0, 1]]);
  });

  it.each([
    ["a week's chart has no line over an outage of half an hour", 17],
    ["a day's chart has no line over an outage of a few minutes", 3],
    ["a chart of minutes has no line over a minute without a snapshot", 1],
  ])("%s", (_, minutes) => {
    // A row of averages that is missing had no snapshot in all of its time.
    const stepMs = minutes * 60_000;
    const timeline = new Timeline(["req_rate"], stepMs, 60_000, 1.5 * stepMs);
    timeline.load({ timestamp: [stepMs, 2 * stepMs, 4 * stepMs], req_rate: [0, 1, 2] });
    const [column = []] = columnsOf([timeline]).columns;
    expect(column).toEqual([0, 1, null, 2]);
  });
});

describe("the common axis of several timelines", () => {
  it("is that of both where they are scraped together", () => {
    const { x, columns } = columnsOf([timelineAt([1000, 2000]), timelineAt([1000, 2000])]);
    expect(x).toEqual([1000, 2000]);
    expect(columns).toEqual([
      [0, 1],
      [0, 1],
    ]);
  });

  it("lets a line go on where only another has a row", () => {
    const { columns } = columnsOf([timelineAt([1000, 3000]), timelineAt([1000, 2000, 3000])]);
    expect(columns[0]).toEqual([0, undefined, 1]);
    expect(columns[1]).toEqual([0, 1, 2]);
  });

  it("breaks only the line of the variant that was down", () => {
    const { x, columns } = columnsOf([
      timelineAt([1000, 2000, 7000, 8000]),
      timelineAt([1000, 2000, 3000, 4000, 5000, 6000, 7000, 8000]),
    ]);
    expect(x).toEqual([1000, 2000, 3000, 4000, 5000, 6000, 7000, 8000]);
    expect(columns[0]).toEqual([0, 1, null, null, null, null, 2, 3]);
    expect(columns[1]).toEqual([0, 1, 2, 3, 4, 5, 6, 7]);
  });

  it("draws nothing before a variant's first row and after its last", () => {
    const { columns } = columnsOf([timelineAt([3000]), timelineAt([1000, 2000, 3000, 4000])]);
    expect(columns[0]).toEqual([null, null, 0, null]);
  });

  it("holds a variant without any row", () => {
    const { x, columns } = columnsOf([timelineAt([]), timelineAt([1000, 2000])]);
    expect(x).toEqual([1000, 2000]);
    expect(columns).toEqual([
      [null, null],
      [0, 1],
    ]);
  });

  it("moves the window before over the one shown", () => {
    const { x, columns } = columnsOf(
      [timelineAt([11_000, 12_000]), timelineAt([1000, 2000])],
      11_000,
      [0, 10_000],
    );
    expect(x).toEqual([11_000, 12_000]);
    expect(columns).toEqual([
      [0, 1],
      [0, 1],
    ]);
  });

  it("has each value once, a break exactly over outages, and ascends, whatever the rows", () => {
    const random = generator(7);
    for (let round = 0; round < 100; round += 1) {
      const stepMs = 1000;
      const timelines = Array.from({ length: 1 + Math.floor(random() * 3) }, () => {
        const isDense = random() < 0.7;
        const times = Array.from({ length: 40 }, (_, i) => i * stepMs).filter(
          () => random() < (isDense ? 0.8 : 0.2),
        );
        return timelineAt(times, stepMs);
      });
      const start = Math.floor(random() * 5) * stepMs;
      const { x, columns } = columnsOf(timelines, start);
      expect(x).toEqual([...new Set(x)].sort((a, b) => a - b));
      timelines.forEach((timeline, line) => {
        const column = columns[line] ?? [];
        expect(column).toHaveLength(x.length);
        const drawn = x.flatMap((ms, i) => (column[i] == null ? [] : [[ms, column[i]]]));
        const kept = timeline.times.flatMap((ms, i) => (ms >= start ? [[ms, i]] : []));
        expect(drawn).toEqual(kept);
        const wrong = kept.slice(1).filter(([to = 0], i) => {
          const from = kept[i]?.[0] ?? 0;
          const between = column.slice(x.indexOf(from) + 1, x.indexOf(to));
          return between.includes(null) !== to - from > GAP_TICKS * stepMs;
        });
        expect(wrong).toEqual([]);
      });
    }
  });
});

describe("a stack", () => {
  it("puts each series on top of those below it", () => {
    expect(
      stack([
        [1, 2],
        [10, 20],
        [100, 200],
      ]),
    ).toEqual([
      [1, 2],
      [11, 22],
      [111, 222],
    ]);
  });

  it("keeps gaps as gaps, and adds nothing above them", () => {
    expect(
      stack([
        [1, null, undefined, 4],
        [10, null, undefined, null],
        [100, 200, undefined, 400],
      ]),
    ).toEqual([
      [1, null, undefined, 4],
      [11, null, undefined, null],
      [111, 200, undefined, 404],
    ]);
  });

  it("leaves the columns it was given alone", () => {
    const columns = [[1], [2]];
    stack(columns);
    expect(columns).toEqual([[1], [2]]);
  });
});

describe("objects by key", () => {
  const objects = [{ 200: 5, 500: 1 }, null, { 429: 2 }];

  it("have the keys of all of them, those that came late too, each once", () => {
    expect(keysOf([objects, [{ 200: 1, 301: 1 }]])).toEqual(["200", "301", "429", "500"]);
    expect(keysOf([[null, {}]])).toEqual([]);
  });

  it("are sorted as wanted", () => {
    expect(keysOf([[{ 10: 1, 9: 1 }]], (a, b) => Number(a) - Number(b))).toEqual(["9", "10"]);
  });

  it("count as zero where they lack a key, and as unknown where there is no object", () => {
    expect(pick(objects, "200")).toEqual([5, null, 0]);
    expect(pick(objects, "429")).toEqual([0, null, 2]);
  });
});

describe("values without neighbours", () => {
  it.each([
    ["none in a line", [1, 2, 3], []],
    ["a single one", [1], [0]],
    ["one between two outages", [null, 1, null], [1]],
    ["one at the beginning", [1, null, 2, 3], [0]],
    ["one at the end", [1, 2, null, 3], [3]],
    ["none where the line only skips a place", [1, undefined, 2], []],
    [
      "one whose neighbours are skipped places and gaps",
      [null, undefined, 1, undefined, null],
      [2],
    ],
    ["none without values", [null, undefined, null], []],
    ["zero, which is a value", [null, 0, null], [1]],
  ])("are found: %s", (_, column, places) => {
    expect(isolated(column)).toEqual(places);
  });
});

describe("extent and last value", () => {
  it.each([
    ["of numbers", [3, 1, 2], { min: 1, max: 3, last: 2 }],
    ["past gaps", [null, 3, undefined, 1, null], { min: 1, max: 3, last: 1 }],
    ["of a zero", [0], { min: 0, max: 0, last: 0 }],
    ["of negative numbers", [-1, -5], { min: -5, max: -1, last: -5 }],
    ["of nothing", [], null],
    ["of gaps", [null, undefined], null],
  ])("%s", (_, column, found) => {
    expect(extent(column)).toEqual(found);
    expect(lastOf(column as Value[])).toBe(found?.last ?? null);
  });
});

describe("events per minute", () => {
  const FIELD = "rate_limit_rejection_rate";

  function timelineOf(
    rates: readonly Value[],
    stepMs = 5000,
    times?: readonly number[],
    seconds?: readonly number[],
  ): Timeline {
    const timeline = new Timeline(["elapsed_s", FIELD], stepMs, stepMs, GAP_TICKS * stepMs);
    const timestamp = times ? [...times] : rates.map((_, i) => 1_000_000 + i * stepMs);
    const elapsed_s = rates.map((rate, i) =>
      rate === null ? null : (seconds?.[i] ?? stepMs / 1000),
    );
    timeline.load({ timestamp, elapsed_s, [FIELD]: [...rates] });
    return timeline;
  }

  it("are sixty times a steady rate", () => {
    for (const value of perMinute(timelineOf(new Array(30).fill(0.1)), FIELD)) {
      expect(value).toBeCloseTo(6, 9);
    }
  });

  it("count a single event as one for a minute, not as twelve for five seconds", () => {
    const rates = new Array(40).fill(0);
    rates[20] = 0.2; // one event within 5 s
    const values = perMinute(timelineOf(rates), FIELD);
    values.forEach((value, i) => {
      expect(value).toBeCloseTo(i >= 20 && i < 32 ? 1 : 0, 9);
    });
  });

  it("are all that happened while scrapes failed", () => {
    // Nothing for 30 s, no answer for 10 s in which 60 things happen, and nothing again.
    const times = [...new Array(30).keys(), 40, 41, 42].map((s) => 1_000_000 + s * 1000);
    const rates = [...new Array(30).fill(0), 60 / 11, 0, 0];
    const seconds = [...new Array(30).fill(1), 11, 1, 1];
    const values = perMinute(timelineOf(rates, 1000, times, seconds), FIELD);
    expect(values[29]).toBe(0);
    // Where less than a minute is known, it is told as if all of the minute had been like that.
    expect(values[32]).toBeCloseTo((60 / 43) * 60, 9);
  });

  it("are exactly zero again when the minute has passed, in the CSV too", () => {
    const rates = [0.1, 0.2, 0.3, ...new Array(24).fill(0)];
    expect(perMinute(timelineOf(rates), FIELD).slice(15)).toEqual(new Array(12).fill(0));
  });

  it("are unknown where the rate is, and only there", () => {
    const values = perMinute(timelineOf([0.2, null, 0.2]), FIELD);
    expect(values[1]).toBeNull();
    expect(values[0]).toBeCloseTo(12, 9);
    expect(values[2]).toBeCloseTo(12, 9);
  });

  it("tell of a row by itself where rows are a minute or longer", () => {
    const values = perMinute(timelineOf([0.1, 0.5, 0], 60_000), FIELD);
    [6, 30, 0].forEach((value, i) => {
      expect(values[i]).toBeCloseTo(value, 9);
    });
  });

  it("know nothing of the time before an outage", () => {
    const times = [0, 5000, 10_000, 600_000, 605_000];
    const values = perMinute(timelineOf([1, 1, 1, 0.1, 0.1], 5000, times), FIELD);
    expect(values[3]).toBeCloseTo(6, 9);
    expect(values[4]).toBeCloseTo(6, 9);
  });

  it("are the mean rate of the minute up to each row, whatever the rows", () => {
    const random = generator(11);
    for (let round = 0; round < 40; round += 1) {
      const stepMs = [1000, 5000, 7000, 30_000, 90_000][round % 5] ?? 1000;
      const times = Array.from({ length: 120 }, (_, i) => i * stepMs).filter(() => random() < 0.8);
      const rates = times.map(() => (random() < 0.1 ? null : Math.floor(random() * 50) / 10));
      const values = perMinute(timelineOf(rates, stepMs, times), FIELD);
      expect(values).toHaveLength(times.length);
      times.forEach((time, i) => {
        const known = rates.filter((rate, j) => {
          const at = times[j] ?? 0;
          return rate !== null && at > time - 60_000 && at <= time;
        }) as number[];
        const mean = known.reduce((sum, rate) => sum + rate, 0) / known.length;
        if (rates[i] === null) expect(values[i]).toBeNull();
        else expect(values[i]).toBeCloseTo(mean * 60, 6);
      });
    }
  });

  it("do not show that a proxy was restarted: the service's rates count, not the totals", () => {
    // The counter goes back to 0 between the fourth and the fifth row; two events follow.
    const totals = [1000, 1002, 1004, 1006, 2, 4, 6, 8];
    const rates = [0.4, 0.4, 0.4, 0.4, 0.4, 0.4, 0.4, 0.4];
    const snapshots = (withTotals: boolean): Snapshot[] =>
      rates.map((rate, i) => ({
        timestamp: 1_000_000 + i * 5000,
        variant: "production",
        elapsed_s: 5,
        [FIELD]: rate,
        rate_limit_rejections: withTotals ? (totals[i] ?? null) : null,
      }));
    const [restarted, steady] = [true, false].map((withTotals) => {
      const timeline = new Timeline(
        ["elapsed_s", FIELD, "rate_limit_rejections"],
        5000,
        5000,
        12_500,
      );
      timeline.append(snapshots(withTotals));
      return perMinute(timeline, FIELD);
    });
    expect(restarted).toEqual(steady);
    for (const value of restarted ?? []) expect(value).toBeCloseTo(24, 9);
  });
});
