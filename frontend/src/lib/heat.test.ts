import { describe, expect, it } from "vitest";
import type { ByKey } from "../api/types";
import {
  allBounds,
  axisLabel,
  boundsOf,
  bucketLabel,
  compareBounds,
  heatOf,
  intensity,
  secondsLabel,
  totalsOf,
} from "./heat";
import { Timeline } from "./timeline";

const USUAL = [
  "0.005", "0.01", "0.025", "0.05", "0.1", "0.25", "0.5", "1", "2.5", "5", "10", "30", "60", "120",
  "300",
]; // biome-ignore format: as in a configuration

function timelineOf(rows: readonly (readonly [number, ByKey | null])[], stepMs = 5000): Timeline {
  const timeline = new Timeline(["latency_buckets"], stepMs, 5000, 2.5 * stepMs);
  timeline.load({
    timestamp: rows.map(([time]) => time),
    latency_buckets: rows.map(([, counts]) => counts),
  });
  return timeline;
}

describe("the rows of the map", () => {
  it("ascend as numbers, not as words, with the open bucket at the top", () => {
    expect(["10", "+Inf", "2.5", "0.005", "1"].sort(compareBounds)).toEqual([
      "0.005",
      "1",
      "2.5",
      "10",
      "+Inf",
    ]);
  });

  it.each([
    ["the one bucket in use", ["1"], ["1"]],
    ["those between that stayed empty", ["0.1", "1"], ["0.1", "0.25", "0.5", "1"]],
    [
      "those up to the open one, so that it says what is over 300 s",
      ["30", "+Inf"],
      ["30", "60", "120", "300", "+Inf"],
    ],
    ["all of them", ["0.005", "+Inf"], [...USUAL, "+Inf"]],
    ["a proxy's own buckets as they come", ["0.3", "1.2", "+Inf"], ["0.3", "1.2", "+Inf"]],
    ["nothing without requests", [], []],
  ] as const)("are %s", (_, inUse, rows) => {
    expect(allBounds(inUse)).toEqual(rows);
  });

  it("are the same for all variants, so that their maps can be compared", () => {
    const [fast, slow] = [timelineOf([[0, { "0.25": 1 }]]), timelineOf([[0, { "1": 1 }]])];
    expect(boundsOf([fast, slow])).toEqual(["0.25", "0.5", "1"]);
    expect(boundsOf([timelineOf([[0, null]])])).toEqual([]);
  });
});

describe("all requests of a map", () => {
  it("are those of its window, by bucket, without the places of an outage", () => {
    const timeline = timelineOf([
      [95_000, { "1": 50 }], // out of sight
      [100_000, { "0.5": 3, "+Inf": 1 }],
      [115_000, { "0.5": 4, "1": 7 }],
    ]);
    const heat = heatOf(timeline, { start: 100_000, end: 120_000 }, ["0.5", "1", "+Inf"]);
    expect(totalsOf(heat)).toEqual([7, 7, 1]);
  });
});

describe("the map", () => {
  const bounds = ["0.5", "1", "+Inf"];
  const span = { start: 100_000, end: 120_000 };

  /** Counts by column, or null where nothing is known. */
  function columnsOf(timeline: Timeline, window = span) {
    const { counts, columns, start, stepMs } = heatOf(timeline, window, bounds);
    return Object.fromEntries(
      Array.from({ length: columns }, (_, column) => [
        start + column * stepMs,
        [...counts.slice(column * bounds.length, (column + 1) * bounds.length)],
      ]),
    );
  }

  it("has every count at its time and bucket, zeros where there were none, gaps in an outage", () => {
    const found = columnsOf(
      timelineOf([
        [100_000, { "0.5": 3, "+Inf": 1 }],
        [105_000, {}],
        [115_000, { "1": 7 }],
      ]),
    );
    expect(found).toEqual({
      100000: [3, 0, 1],
      105000: [0, 0, 0],
      110000: [-1, -1, -1],
      115000: [0, 7, 0],
      120000: [-1, -1, -1],
    });
  });

  it("knows the greatest count, which gets the strongest colour", () => {
    const timeline = timelineOf([
      [100_000, { "0.5": 3 }],
      [105_000, { "1": 8, "+Inf": 2 }],
      [500_000, { "1": 99 }], // out of sight
    ]);
    expect(heatOf(timeline, span, bounds).max).toBe(8);
  });

  it("has the last row, whatever part of a step the window begins with", () => {
    for (let offset = 0; offset < 5000; offset += 137) {
      const window = { start: 100_000 + offset, end: 160_000 + offset };
      const last = Math.floor(window.end / 5000) * 5000;
      expect(columnsOf(timelineOf([[last, { "1": 7 }]]), window)[last]).toEqual([0, 7, 0]);
    }
  });

  it("counts the requests of all rows in a column, where the interval was shorter once", () => {
    const found = columnsOf(
      timelineOf([
        [105_000, { "0.5": 1 }],
        [106_000, { "0.5": 2 }],
        [107_000, { "1": 4 }],
      ]),
    );
    expect(found[105_000]).toEqual([3, 4, 0]);
  });

  it("knows nothing of a row without buckets", () => {
    expect(columnsOf(timelineOf([[105_000, null]]))[105_000]).toEqual([-1, -1, -1]);
  });

  it("is empty, not broken, without rows or bounds", () => {
    expect(heatOf(timelineOf([]), span, bounds).max).toBe(0);
    expect(heatOf(timelineOf([[105_000, { "1": 1 }]]), span, []).counts).toHaveLength(0);
  });
});

describe("the colour of a cell", () => {
  it("is none for no request, and one for every other count", () => {
    expect(intensity(0, 100, 63)).toBe(0);
    expect(intensity(-1, 100, 63)).toBe(0);
    expect(intensity(0, 0, 63)).toBe(0);
    for (let count = 1; count <= 1000; count += 1) {
      const step = intensity(count, 1000, 63);
      expect(step).toBeGreaterThanOrEqual(1);
      expect(step).toBeLessThanOrEqual(63);
      expect(step).toBeGreaterThanOrEqual(intensity(count - 1, 1000, 63));
    }
    expect(intensity(1000, 1000, 63)).toBe(63);
    expect(intensity(1, 1, 63)).toBe(63);
  });

  it("shows a few slow requests beside thousands of fast ones", () => {
    expect(intensity(3, 5000, 63)).toBeGreaterThan(8);
  });
});

describe("the name of a bucket", () => {
  it.each([
    ["the first of all", ["0.005", "0.01"], 0, "0 – 5 ms"],
    ["one between", ["0.005", "0.01"], 1, "5 ms – 10 ms"],
    ["the lowest in use, whose lower neighbour stayed empty", ["1", "2.5"], 0, "500 ms – 1 s"],
    ["one in seconds", ["1", "2.5"], 1, "1 s – 2.5 s"],
    ["the open one", ["300", "+Inf"], 1, "over 300 s"],
    ["a proxy's own", ["0.3", "1.2"], 1, "300 ms – 1.2 s"],
    ["the open one alone", ["+Inf"], 0, "any"],
  ])("says its limits: %s", (_, bounds, index, label) => {
    expect(bucketLabel(bounds, index)).toBe(label);
  });

  it("does not call a request over 300 s one over 1 s, where nothing lies between", () => {
    const bounds = boundsOf([timelineOf([[0, { "1": 5, "+Inf": 1 }]])]);
    expect(bucketLabel(bounds, bounds.indexOf("+Inf"))).toBe("over 300 s");
  });

  it.each([
    ["0.005", "5 ms"],
    ["0.025", "25 ms"],
    ["0.07", "70 ms"],
    ["0.1", "100 ms"],
    ["1", "1 s"],
    ["2.5", "2.5 s"],
    ["300", "300 s"],
    ["+Inf", "∞"],
  ])("is as short as can be: %s as %s", (bound, label) => {
    expect(secondsLabel(bound)).toBe(label);
    expect(axisLabel(bound)).toBe(label);
  });

  it.each([
    ["0.3333333333333333", "333.333 ms", "333 ms"],
    ["0.0001234567", "0.123457 ms", "0.123 ms"],
    ["33.3333", "33.3333 s", "33.3 s"],
  ])("is shorter on the axis: %s as %s and %s", (bound, label, onAxis) => {
    expect([secondsLabel(bound), axisLabel(bound)]).toEqual([label, onAxis]);
  });
});
