import { describe, expect, it } from "vitest";
import { chartOf, type Source } from "../lib/chart-data";
import { Timeline, type Value } from "../lib/timeline";
import { latency } from "../panels/latency";
import { requests } from "../panels/requests";
import { chartCsv, legendOf, wrap } from "./export";

const START = Date.UTC(2026, 10, 23, 14, 5);
const SPAN = { start: START, end: START + 60_000 };
const ONLY_P95 = {
  theme: "light",
  hidden: new Set(["latency:p50", "latency:p99"]),
  isLogarithmic: false,
} as const;

function source(
  variant: string,
  rows: readonly [second: number, p95: Value][],
  shiftMs = 0,
): Source {
  const timeline = new Timeline(["latency_p95"], 5000, 5000, 12_500);
  timeline.load({
    timestamp: rows.map(([second]) => START + second * 1000 - shiftMs),
    latency_p95: rows.map(([, value]) => value),
  });
  return { variant, index: variant === "production" ? 0 : 1, timeline, shiftMs };
}

const csvOf = (sources: readonly Source[]) =>
  chartCsv(chartOf(latency, sources, SPAN, ONLY_P95))
    .split("\r\n")
    .slice(0, -1);

describe("a chart's CSV file", () => {
  it("has a line per time and a column per line of the chart, with all digits", () => {
    const sources = [
      source("production", [
        [0, 123.456789],
        [5, 2],
      ]),
      source("canary", [
        [0, 0],
        [5, 4],
      ]),
    ];
    expect(csvOf(sources)).toEqual([
      "time,production p95,canary p95",
      "2026-11-23T14:05:00Z,123.456789,0",
      "2026-11-23T14:05:05Z,2,4",
    ]);
  });

  it("has no line for what only marks an outage, and nothing made up within it", () => {
    expect(
      csvOf([
        source("production", [
          [0, 1],
          [30, 2],
        ]),
      ]),
    ).toEqual(["time,production p95", "2026-11-23T14:05:00Z,1", "2026-11-23T14:05:30Z,2"]);
  });

  it("leaves a field empty where one variant has no value", () => {
    const sources = [
      source("production", [
        [0, 1],
        [10, 3],
      ]),
      source("canary", [
        [5, 2],
        [10, null],
      ]),
    ];
    expect(csvOf(sources)).toEqual([
      "time,production p95,canary p95",
      "2026-11-23T14:05:00Z,1,",
      "2026-11-23T14:05:05Z,,2",
      "2026-11-23T14:05:10Z,3,",
    ]);
  });

  it("has only what is in sight", () => {
    const rows: [number, Value][] = [
      [-5, 1],
      [0, 2],
      [60, 3],
      [65, 4],
    ];
    expect(csvOf([source("production", rows)])).toEqual([
      "time,production p95",
      "2026-11-23T14:05:00Z,2",
      "2026-11-23T14:06:00Z,3",
    ]);
  });

  it("says which column is of the window before", () => {
    const sources = [source("production", [[0, 1]]), source("production", [[0, 9]], 3_600_000)];
    expect(csvOf(sources)).toEqual([
      "time,production p95 before,production p95",
      "2026-11-23T14:05:00Z,9,1",
    ]);
  });

  it("has the numbers of a stack, not how high they lie", () => {
    const timeline = new Timeline(["status_code_rates"], 5000, 5000, 12_500);
    timeline.load({ timestamp: [START], status_code_rates: [{ 200: 10, 429: 1, 500: 2 }] });
    const one = { variant: "production", index: 0, timeline, shiftMs: 0 };
    const all = { theme: "light", hidden: new Set<string>(), isLogarithmic: false } as const;
    expect(chartCsv(chartOf(requests, [one], SPAN, all))).toBe(
      "time,production 200,production 429,production 500\r\n2026-11-23T14:05:00Z,10,1,2\r\n",
    );
  });

  it("is the same whether the axis is logarithmic or not", () => {
    const sources = [
      source("production", [
        [0, 3],
        [5, 7],
        [30, 0.5],
      ]),
    ];
    const logarithmic = chartOf(latency, sources, SPAN, { ...ONLY_P95, isLogarithmic: true });
    expect(chartCsv(logarithmic)).toBe(chartCsv(chartOf(latency, sources, SPAN, ONLY_P95)));
  });

  it("keeps milliseconds of an interval below a second", () => {
    const timeline = new Timeline(["latency_p95"], 100, 100, 250);
    timeline.load({ timestamp: [START + 100, START + 300], latency_p95: [1, 2] });
    const one = { variant: "production", index: 0, timeline, shiftMs: 0 };
    expect(
      chartCsv(chartOf(latency, [one], SPAN, ONLY_P95))
        .split("\r\n")
        .slice(1, 3),
    ).toEqual(["2026-11-23T14:05:00.100Z,1", "2026-11-23T14:05:00.300Z,2"]);
  });

  it("is only a header where nothing is drawn", () => {
    expect(csvOf([source("production", [])])).toEqual(["time,production p95"]);
  });
});

describe("the legend of a picture", () => {
  const ROWS: [number, Value][] = [[0, 1]];
  const linesOf = (hidden: readonly string[], sources: readonly Source[]) =>
    chartOf(latency, sources, SPAN, { ...ONLY_P95, hidden: new Set(hidden) }).lines;

  it("has each series once, then the pattern of each variant, solid and dashed", () => {
    const lines = linesOf(["latency:p99"], [source("production", ROWS), source("canary", ROWS)]);
    const legend = legendOf(lines, "#000000", "#777777");
    expect(legend.map(({ label }) => label)).toEqual(["p50", "p95", "production", "canary"]);
    expect(legend.map(({ dash }) => dash)).toEqual([null, null, [], [7, 4]]);
    expect(new Set(legend.slice(0, 2).map(({ colour }) => colour)).size).toBe(2);
  });

  it("names the window before where there is one", () => {
    const lines = linesOf([], [source("production", ROWS), source("production", ROWS, 60_000)]);
    const labels = legendOf(lines, "#000000", "#777777").map(({ label }) => label);
    expect(labels).toEqual(["p50", "p95", "p99", "production", "before (faint)"]);
  });
});

describe("what does not fit into a row", () => {
  it.each([
    ["stays in it as long as there is room", [40, 40], ["0:0", "0:50"]],
    ["goes to the next", [40, 40, 40], ["0:0", "0:50", "1:0"]],
    ["has a row of its own where it is wider than any", [10, 500, 10], ["0:0", "1:0", "2:0"]],
    ["is nothing", [], []],
  ])("%s", (_, widths, places) => {
    expect(wrap(widths, 10, 100).map(({ x, row }) => `${row}:${x}`)).toEqual(places);
  });
});
