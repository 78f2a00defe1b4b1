import { expect, it } from "vitest";
import type { ChartSpec, Line } from "../chart/spec";
import { describeChart } from "./describe";
import { formatMs } from "./format";

const line = (label: string, change: Partial<Line> = {}): Line => ({
  label,
  variant: "production",
  colour: "#000000",
  dash: [],
  width: 1.5,
  axis: "left",
  fill: null,
  fillTo: null,
  format: formatMs,
  told: [],
  isBefore: false,
  ...change,
});

/** A chart of a window that begins with its first row, one every second. */
const chart = (lines: Line[], columns: (number | null | undefined)[][]): ChartSpec => {
  const times = (columns[0] ?? []).map((_, i) => 100 + i);
  return {
    lines,
    data: [times, ...columns],
    span: { start: 100_000, end: 100_000 + 1000 * times.length },
    outages: new Set(),
    left: { format: formatMs },
    right: null,
  };
};

it("tells a screen reader the last, least and greatest value of every line", () => {
  const lines = [line("p50"), line("p95", { variant: "canary" })];
  expect(
    describeChart(
      "Latency",
      chart(lines, [
        [100, 50, null, 80],
        [2000, 1000, undefined, null],
      ]),
    ),
  ).toBe(
    "Latency. production p50: 80.0 ms, lowest 50.0 ms, highest 100 ms." +
      " canary p95: 1.00 s, lowest 1.00 s, highest 2.00 s.",
  );
});

it("tells a stacked line's own values, not how high they lie", () => {
  const lines = [line("500", { told: [1, 2] })];
  expect(describeChart("Requests", chart(lines, [[101, 102]]))).toBe(
    "Requests. production 500: 2.00 ms, lowest 1.00 ms, highest 2.00 ms.",
  );
});

it("leaves out the window before", () => {
  const lines = [line("p50"), line("p50", { isBefore: true })];
  expect(describeChart("Latency", chart(lines, [[1], [2]]))).toBe(
    "Latency. production p50: 1.00 ms, lowest 1.00 ms, highest 1.00 ms.",
  );
});

it("says of a line without values that there are none", () => {
  expect(describeChart("Latency", chart([line("p50")], [[null]]))).toBe(
    "Latency. production p50: –.",
  );
});

it("says so where there is no line at all", () => {
  expect(describeChart("Latency", chart([], []))).toBe("Latency. No data.");
});

it("leaves out what is drawn beyond the edges of the window", () => {
  const whole = chart([line("p50")], [[9, 2, 3, 1]]);
  expect(describeChart("Latency", { ...whole, span: { start: 100_500, end: 102_500 } })).toBe(
    "Latency. production p50: 3.00 ms, lowest 2.00 ms, highest 3.00 ms.",
  );
});
