import { expect, it } from "vitest";
import type { Line } from "../chart/spec";
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

it("tells a screen reader the last, least and greatest value of every line", () => {
  const lines = [line("p50"), line("p95", { variant: "canary" })];
  expect(
    describeChart("Latency", lines, [
      [100, 50, null, 80],
      [2000, 1000, undefined, null],
    ]),
  ).toBe(
    "Latency. production p50: 80.0 ms, lowest 50.0 ms, highest 100 ms." +
      " canary p95: 1.00 s, lowest 1.00 s, highest 2.00 s.",
  );
});

it("tells a stacked line's own values, not how high they lie", () => {
  const lines = [line("500", { told: [1, 2] })];
  expect(describeChart("Requests", lines, [[101, 102]])).toBe(
    "Requests. production 500: 2.00 ms, lowest 1.00 ms, highest 2.00 ms.",
  );
});

it("leaves out the window before", () => {
  const lines = [line("p50"), line("p50", { isBefore: true })];
  expect(describeChart("Latency", lines, [[1], [2]])).toBe(
    "Latency. production p50: 1.00 ms, lowest 1.00 ms, highest 1.00 ms.",
  );
});

it("says of a line without values that there are none", () => {
  expect(describeChart("Latency", [line("p50")], [[null]])).toBe("Latency. production p50: –.");
});

it("says so where there is no line at all", () => {
  expect(describeChart("Latency", [], [])).toBe("Latency. No data.");
});
