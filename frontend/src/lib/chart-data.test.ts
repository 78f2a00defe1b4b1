import { describe, expect, it } from "vitest";
import type { ByKey } from "../api/types";
import { latency } from "../panels/latency";
import { requests } from "../panels/requests";
import { chartOf, type Source } from "./chart-data";
import { Timeline, type Value } from "./timeline";

const SPAN = { start: 100_000, end: 200_000 };
const PLAIN = { theme: "light", hidden: new Set<string>(), isLogarithmic: false } as const;

type Row = readonly [time: number, codes: ByKey | null];

function codesOf(variant: string, index: number, rows: readonly Row[], shiftMs = 0): Source {
  const timeline = new Timeline(["status_code_rates"], 5000, 5000, 12_500);
  timeline.load({
    timestamp: rows.map(([time]) => time),
    status_code_rates: rows.map(([, codes]) => codes),
  });
  return { variant, index, timeline, shiftMs };
}

function latencyOf(variant: string, index: number, values: readonly Value[], shiftMs = 0): Source {
  const timeline = new Timeline(["latency_p50", "latency_p95", "latency_p99"], 5000, 5000, 12_500);
  timeline.load({
    timestamp: values.map((_, i) => SPAN.start - shiftMs + i * 5000),
    latency_p50: [...values],
    latency_p95: values.map((value) => value && value * 2),
    latency_p99: values.map((value) => value && value * 3),
  });
  return { variant, index, timeline, shiftMs };
}

const namesOf = (chart: ReturnType<typeof chartOf>) =>
  chart.lines.map(
    ({ variant, label, isBefore }) => `${variant} ${label}${isBefore ? " before" : ""}`,
  );

describe("a chart of lines", () => {
  const sources = [latencyOf("production", 0, [1, 2]), latencyOf("canary", 1, [10, null])];

  it("has a line and a column for each series of each variant", () => {
    const chart = chartOf(latency, sources, SPAN, PLAIN);
    expect(namesOf(chart)).toEqual([
      "production p50",
      "production p95",
      "production p99",
      "canary p50",
      "canary p95",
      "canary p99",
    ]);
    expect(chart.data).toEqual([
      [100, 105],
      [1, 2],
      [2, 4],
      [3, 6],
      [10, null],
      [20, null],
      [30, null],
    ]);
    expect(chart.span).toEqual(SPAN);
  });

  it("shows variants in the same colours, the second one dashed", () => {
    const { lines } = chartOf(latency, sources, SPAN, PLAIN);
    expect(lines.slice(3).map(({ colour }) => colour)).toEqual(
      lines.slice(0, 3).map(({ colour }) => colour),
    );
    expect(lines.map(({ dash }) => dash.length > 0)).toEqual([
      false,
      false,
      false,
      true,
      true,
      true,
    ]);
  });

  it("shows the canary dashed when it is shown alone, too", () => {
    const { lines } = chartOf(latency, sources.slice(1), SPAN, PLAIN);
    for (const { dash } of lines) expect(dash.length).toBeGreaterThan(0);
  });

  it("leaves out hidden series of all variants, and only of this panel", () => {
    const hidden = new Set(["latency:p50", "latency:p99", "requests:p95"]);
    const chart = chartOf(latency, sources, SPAN, { ...PLAIN, hidden });
    expect(namesOf(chart)).toEqual(["production p95", "canary p95"]);
    expect(chart.data.slice(1)).toEqual([
      [2, 4],
      [20, null],
    ]);
  });

  it("is empty, not broken, where all is hidden or nothing is there", () => {
    const hidden = new Set(["latency:p50", "latency:p95", "latency:p99"]);
    expect(chartOf(latency, sources, SPAN, { ...PLAIN, hidden }).lines).toEqual([]);
    expect(chartOf(latency, [], SPAN, PLAIN).data).toEqual([[]]);
    expect(chartOf(latency, [latencyOf("production", 0, [])], SPAN, PLAIN).data[0]).toEqual([]);
  });

  it("breaks a line over zeros on a logarithmic axis only", () => {
    const zeros = [latencyOf("production", 0, [1, 0, 2])];
    const on = (isLogarithmic: boolean) =>
      chartOf(latency, zeros, SPAN, { ...PLAIN, isLogarithmic });
    expect(on(true).data[1]).toEqual([1, null, 2]);
    expect(on(false).data[1]).toEqual([1, 0, 2]);
    expect(on(true).left.isLogarithmic).toBe(true);
    expect(on(false).left.isLogarithmic).toBe(false);
  });

  it("is linear where the panel cannot be logarithmic", () => {
    const source = codesOf("production", 0, [[100_000, { 200: 0, 429: 1 }]]);
    const chart = chartOf(requests, [source], SPAN, { ...PLAIN, isLogarithmic: true });
    expect(chart.left.isLogarithmic).toBe(false);
    expect(chart.data[1]).toEqual([0]);
  });
});

describe("the window before", () => {
  const sources = [latencyOf("production", 0, [1, 2]), latencyOf("production", 0, [5, 6], 60_000)];
  const chart = chartOf(latency, sources, SPAN, PLAIN);

  it("lies over the one shown, beneath its lines", () => {
    expect(namesOf(chart)).toEqual([
      "production p50 before",
      "production p95 before",
      "production p99 before",
      "production p50",
      "production p95",
      "production p99",
    ]);
    expect(chart.data[0]).toEqual([100, 105]);
    expect(chart.data[1]).toEqual([5, 6]);
    expect(chart.data[4]).toEqual([1, 2]);
  });

  it("is drawn thinner and fainter, so that it is not taken for the present", () => {
    const [before, , , now] = chart.lines;
    expect(before?.width).toBeLessThan(now?.width ?? 0);
    expect(before?.colour).toMatch(/^rgba\(.*, 0\.\d+\)$/);
    expect(before?.fill).toBeNull();
  });

  it("of a stack is one line of all requests, which the stack itself does not have", () => {
    const stacked = [
      codesOf("production", 0, [[100_000, { 200: 1, 429: 2 }]]),
      codesOf("production", 0, [[40_000, { 200: 3, 500: 4 }]], 60_000),
    ];
    const { data, ...rest } = chartOf(requests, stacked, SPAN, PLAIN);
    expect(namesOf({ data, ...rest })).toEqual([
      "production all before",
      "production 200",
      "production 429",
      "production 500",
    ]);
    expect(data[1]).toEqual([7]);
    expect(data.slice(2)).toEqual([[1], [3], [3]]);
  });
});

describe("a stack", () => {
  const rows: readonly Row[] = [
    [100_000, { 200: 10, 429: 1 }],
    [105_000, { 200: 20, 500: 2 }],
    [110_000, null],
    [115_000, { 200: 30 }],
  ];
  const chart = chartOf(requests, [codesOf("production", 0, rows)], SPAN, PLAIN);

  it("is as high as all requests together", () => {
    expect(chart.data.slice(1)).toEqual([
      [10, 20, null, 30],
      [11, 20, null, 30],
      [11, 22, null, 30],
    ]);
  });

  it("tells the numbers themselves, not how high they lie", () => {
    expect(chart.lines.map(({ told }) => told)).toEqual([
      [10, 20, null, 30],
      [1, 0, null, 0],
      [0, 2, null, 0],
    ]);
  });

  it("fills each part down to the one below it, the lowest down to zero", () => {
    expect(chart.lines.map(({ fillTo }) => fillTo)).toEqual([null, 0, 1]);
    for (const { fill } of chart.lines) expect(fill).toMatch(/^rgba/);
  });

  it("closes up where a part is hidden", () => {
    const hidden = new Set(["requests:429"]);
    const { lines, data } = chartOf(requests, [codesOf("production", 0, rows)], SPAN, {
      ...PLAIN,
      hidden,
    });
    expect(lines.map(({ label, fillTo }) => [label, fillTo])).toEqual([
      ["200", null],
      ["500", 0],
    ]);
    expect(data[2]).toEqual([10, 22, null, 30]);
  });

  it("of the canary lies as lines over production's areas, on top of itself alone", () => {
    const both = [codesOf("production", 0, rows), codesOf("canary", 1, rows)];
    const { lines, data } = chartOf(requests, both, SPAN, PLAIN);
    const canary = lines.slice(3);
    expect(canary.map(({ variant, fill }) => [variant, fill])).toEqual([
      ["canary", null],
      ["canary", null],
      ["canary", null],
    ]);
    for (const { width } of canary) expect(width).toBeGreaterThan(0);
    expect(data[4]).toEqual([10, 20, null, 30]);
    expect(canary.map(({ fillTo }) => fillTo)).toEqual([null, 3, 4]);
  });

  it("of the canary has areas when it is shown alone", () => {
    const { lines } = chartOf(requests, [codesOf("canary", 1, rows)], SPAN, PLAIN);
    for (const { fill } of lines) expect(fill).not.toBeNull();
  });

  it("of the canary shows no edge of a code for the time it did not come", () => {
    const quiet: Row[] = Array.from({ length: 8 }, (_, i) => [
      100_000 + i * 5000,
      { 200: 10, ...(i === 4 ? { 500: 1 } : {}) },
    ]);
    const { data } = chartOf(
      requests,
      [codesOf("production", 0, quiet), codesOf("canary", 1, quiet)],
      SPAN,
      PLAIN,
    );
    expect(data[4]).toEqual([null, null, null, 10, 11, 10, null, null]);
  });

  it("keeps its colour when a code of another class appears", () => {
    const colourOf = (source: Source) =>
      chartOf(requests, [source], SPAN, PLAIN).lines.find(({ label }) => label === "429")?.colour;
    expect(colourOf(codesOf("production", 0, rows))).toBe(
      colourOf(codesOf("production", 0, [[100_000, { 429: 1, 301: 1, 503: 1, 204: 1 }]])),
    );
  });
});
