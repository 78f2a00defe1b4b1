import { describe, expect, it } from "vitest";
import type { Snapshot, Totals } from "../api/types";
import {
  cacheHitRatio,
  compareTotals,
  readingOf,
  sparkPath,
  sparkStep,
  TILES,
  thin,
} from "./tiles";
import { Timeline } from "./timeline";

const NOTHING_KNOWN: Totals = {
  requests: null,
  errors: null,
  error_rate_pct: null,
  tokens_input: null,
  tokens_output: null,
  tokens_cache_read: null,
  tokens_cache_write: null,
  cache_hit_ratio: null,
  latency_p50: null,
  latency_p95: null,
  latency_p99: null,
  req_rate: null,
  token_rate_in: null,
  token_rate_out: null,
  concurrent_requests: null,
  max_workers: null,
  worker_utilization: null,
  rate_limit_rps: null,
};

const tileOf = (id: string) => {
  const tile = TILES.find((one) => one.id === id);
  if (!tile) throw new Error(`no tile ${id}`);
  return tile;
};

const SNAPSHOT: Snapshot = {
  timestamp: 1,
  variant: "production",
  req_rate: 12.34,
  error_rate_pct: 0.25,
  latency_p50: 120,
  latency_p95: 1500,
  latency_p99: 2500,
  token_rate_in: 600,
  token_rate_out: 300,
  token_rate_cache_read: 300,
  token_rate_cache_write: 100,
  concurrent_requests: 7,
  max_workers: 20,
  worker_utilization: 0.35,
  rate_limit_rps: 50,
};

describe("the tiles", () => {
  it.each([
    ["requests", ["12.3/s"]],
    ["errors", ["0.250 %"]],
    ["latency", ["120 ms", "1.50 s", "2.50 s"]],
    ["tokens", ["600/s", "300/s"]],
    ["cache", ["30.0 %"]],
    ["concurrency", ["7", "20", "35.0 %"]],
    ["rate-limit", ["50.0/s"]],
  ])("say the numbers of the newest snapshot: %s", (id, texts) => {
    const reading = readingOf(SNAPSHOT);
    expect(tileOf(id).values.map(({ of, format }) => format(of(reading)))).toEqual(texts);
  });

  it("have a dash for every number that is not known, never a zero", () => {
    const reading = readingOf({ timestamp: 1, variant: "production" });
    for (const tile of TILES) {
      expect(tile.values.map(({ of, format }) => format(of(reading)))).toEqual(
        tile.values.map(() => "–"),
      );
      expect(tile.level?.(reading) ?? "ok").toBe("ok");
      expect(tile.change(NOTHING_KNOWN, NOTHING_KNOWN)).toBeNull();
    }
  });

  it.each([
    ["errors", { error_rate_pct: 1 }, "warning"],
    ["errors", { error_rate_pct: 5 }, "critical"],
    ["concurrency", { worker_utilization: 0.7 }, "warning"],
    ["concurrency", { worker_utilization: 0.9 }, "critical"],
  ])("warn of %s at %o", (id, change, level) => {
    expect(tileOf(id).level?.(readingOf({ ...SNAPSHOT, ...change }))).toBe(level);
  });

  it.each([
    ["requests", { req_rate: 12 }, { req_rate: 10 }, "+20 %"],
    ["errors", { error_rate_pct: 1.5 }, { error_rate_pct: 1 }, "+0.50 pt"],
    ["latency", { latency_p95: 250 }, { latency_p95: 100 }, "p95 ×2.50"],
    [
      "tokens",
      { token_rate_in: 60, token_rate_out: 30 },
      { token_rate_in: 90, token_rate_out: 10 },
      "−10 %",
    ],
    ["tokens", { token_rate_in: 60 }, { token_rate_in: 40, token_rate_out: 10 }, "+20 %"],
    ["cache", { cache_hit_ratio: 0.5 }, { cache_hit_ratio: 0.25 }, "+25.0 pt"],
    ["concurrency", { concurrent_requests: 5 }, { concurrent_requests: 10 }, "−50 %"],
    ["rate-limit", { rate_limit_rps: 10 }, { rate_limit_rps: 10 }, "±0 %"],
  ])("say how the window stands to the one before: %s", (id, now, before, text) => {
    const [one, other] = [now, before].map((some) => ({ ...NOTHING_KNOWN, ...some }));
    expect(tileOf(id).change(one as Totals, other as Totals)).toBe(text);
  });

  it("draw a value for every row, and nothing where it is not known", () => {
    const fields = [
      "token_rate_in",
      "token_rate_out",
      "token_rate_cache_read",
      "token_rate_cache_write",
    ] as const;
    const timeline = new Timeline(fields, 5000, 5000, 12_500);
    timeline.load({
      timestamp: [5000, 10_000],
      token_rate_in: [600, null],
      token_rate_out: [300, null],
      token_rate_cache_read: [300, null],
      token_rate_cache_write: [100, null],
    });
    expect(tileOf("tokens").spark(timeline)).toEqual([900, null]);
    expect(tileOf("cache").spark(timeline)).toEqual([0.3, null]);
  });
});

describe("the cache hit ratio", () => {
  it.each([
    ["of all that went in, what was read from the cache", 600, 300, 100, 0.3],
    ["all of it", 0, 10, 0, 1],
    ["none of it", 10, 0, 0, 0],
    ["without writes", 10, 30, null, 0.75],
    ["unknown where nothing went in", 0, 0, 0, null],
    ["unknown where nothing is known", null, undefined, null, null],
  ])("%s", (_, input, read, write, ratio) => {
    expect(cacheHitRatio(input, read, write)).toBe(ratio);
  });
});

describe("the canary against production", () => {
  const production = {
    ...NOTHING_KNOWN,
    latency_p50: 100,
    latency_p95: 200,
    latency_p99: 400,
    error_rate_pct: 1,
    req_rate: 10,
  };

  it("is told for latencies, errors and requests", () => {
    const canary = {
      ...production,
      latency_p50: 100,
      latency_p95: 248,
      latency_p99: 1000,
      error_rate_pct: 1.75,
      req_rate: 1,
    };
    expect(compareTotals(canary, production)).toEqual([
      { what: "p50", change: "±0 %" },
      { what: "p95", change: "+24 %" },
      { what: "p99", change: "×2.50" },
      { what: "errors", change: "+0.75 pt" },
      { what: "requests", change: "−90 %" },
    ]);
  });

  it("has a dash for what is not known of one of them, so that nothing jumps when it is", () => {
    const changes = (...totals: Parameters<typeof compareTotals>) =>
      compareTotals(...totals).map(({ change }) => change);
    const little = { ...NOTHING_KNOWN, req_rate: 5 };
    expect(changes(little, production)).toEqual(["–", "–", "–", "–", "−50 %"]);
    expect(changes(NOTHING_KNOWN, NOTHING_KNOWN)).toEqual(["–", "–", "–", "–", "–"]);
    expect(changes(undefined, production)).toEqual(["–", "–", "–", "–", "–"]);
  });
});

describe("a sparkline", () => {
  /** The points of each part of the line. */
  const partsOf = (path: string) =>
    path
      .split("M")
      .filter(Boolean)
      .map((part) =>
        part.split("L").map((point) =>
          point
            .replace(/h0\.1$/, "")
            .split(" ")
            .map(Number),
        ),
      );

  it("goes from edge to edge and from zero to the top", () => {
    expect(partsOf(sparkPath([0, 5, 10], 96, 20))).toEqual([
      [
        [0, 19],
        [48, 10],
        [96, 1],
      ],
    ]);
  });

  it("is broken where a value is not known, instead of falling to zero", () => {
    const parts = partsOf(sparkPath([1, 2, null, 3, 4], 96, 20));
    expect(parts.map((part) => part.length)).toEqual([2, 2]);
  });

  it("shows a single value between two outages", () => {
    const path = sparkPath([1, 2, null, 3, null, 4, 5], 96, 20);
    // A path that only moves somewhere draws nothing there.
    expect(path).not.toMatch(/M[^LMh]*(M|$)/);
    expect(path).toBe("M0.0 15.4L16.0 11.8M48.0 8.2h0.1M80.0 4.6L96.0 1.0");
  });

  it.each([
    ["the only one", [5], "M0.0 19.0h0.1"],
    ["the first", [5, null, 5, 5], "M0.0 1.0h0.1M64.0 1.0L96.0 1.0"],
    ["the last", [5, 5, null, 5], "M0.0 1.0L32.0 1.0M96.0 1.0h0.1"],
  ])("shows a single value: %s", (_, values, path) => {
    expect(sparkPath(values, 96, 20)).toBe(path.replace("19.0", "1.0"));
  });

  it.each([
    ["nothing", []],
    ["gaps", [null, null]],
  ])("is empty without values: %s", (_, values) => {
    expect(sparkPath(values, 96, 20)).toBe("");
  });

  it.each([
    ["zeros", [0, 0, 0]],
    ["one value", [5]],
    ["the same value", [7, 7, 7]],
    ["values below zero", [-3, 2]],
    ["very large values", [1e300, 1e299]],
  ])("stays inside of its box: %s", (_, values) => {
    const points = partsOf(sparkPath(values, 96, 20)).flat();
    expect(points.length).toBeGreaterThan(0);
    for (const [x = Number.NaN, y = Number.NaN] of points) {
      expect(x).toBeGreaterThanOrEqual(0);
      expect(x).toBeLessThanOrEqual(96);
      expect(y).toBeGreaterThanOrEqual(0);
      expect(y).toBeLessThanOrEqual(20);
    }
  });
});

describe("the points of a sparkline", () => {
  /** A row a second, the first at 0. */
  const second = (_: unknown, i: number) => i * 1000;

  it.each([
    ["averages of neighbours", [1, 3, 5, 7], [2, 6]],
    ["what is known of neighbours", [1, null, 5, 7], [1, 6]],
    ["a gap where nothing is known", [null, null, 5, 7], [null, 6]],
    ["a gap where there are no rows yet", [1, 3], [2, null]],
    ["nothing from before and after the window", [1, 3, 5, 7, 100], [2, 6]],
  ])("are %s", (_, values, expected) => {
    expect(thin(values.map(second), values, null, { start: 0, end: 4000 }, 2000)).toEqual(expected);
  });

  it("count rates by the time they cover", () => {
    const [rates, seconds] = [
      [1, 10, 10, null],
      [30, 10, null, 1],
    ];
    const span = { start: 0, end: 4000 };
    expect(thin(rates.map(second), rates, seconds, span, 2000)).toEqual([3.25, null]);
  });

  it("leave an outage as long as it was", () => {
    const times = [0, 1, 8, 9].map((s) => s * 1000);
    const points = thin(times, [4, 4, 2, 2], null, { start: 0, end: 10_000 }, 2000);
    expect(points).toEqual([4, null, null, null, 2]);
  });

  it("end with the window, and leave out what is not a whole point at its beginning", () => {
    const values = [100, 1, 3, 5, 7];
    expect(thin(values.map(second), values, null, { start: 0, end: 5000 }, 2000)).toEqual([2, 6]);
  });

  it("have the same average as the rows", () => {
    const values = Array.from({ length: 640 }, (_, i) => Math.sin(i) + i);
    const mean = (list: readonly (number | null)[]) =>
      list.reduce<number>((sum, value) => sum + (value ?? 0), 0) / list.length;
    const points = thin(values.map(second), values, null, { start: 0, end: 640_000 }, 10_000);
    expect(points.length).toBe(64);
    expect(mean(points)).toBeCloseTo(mean(values), 9);
  });

  it.each([
    ["an hour of seconds", 3_600_000, 1000, 57_000],
    ["an hour of rows of 4 s", 3_600_000, 4000, 60_000],
    ["five minutes of ticks of 5 s", 300_000, 5000, 10_000],
    ["a week of rows of 11 min", 604_800_000, 660_000, 9_900_000],
  ])("are few and have two rows each: %s", (_, lengthMs, stepMs, expected) => {
    expect(sparkStep(lengthMs, stepMs)).toBe(expected);
    expect(lengthMs / expected).toBeLessThanOrEqual(64);
    expect(expected / stepMs).toBeGreaterThanOrEqual(2);
  });
});
