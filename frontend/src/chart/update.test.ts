import { describe, expect, it } from "vitest";
import { chartOf } from "../lib/chart-data";
import { Timeline } from "../lib/timeline";
import { latency } from "../panels/latency";
import type { ChartSpec } from "./spec";
import { decide, type Shown, shapeOf } from "./update";

const DATA: Shown["data"] = [[1], [2]];
const SHOWN: Shown = { shape: "lines", data: DATA, span: { start: 0, end: 1000 } };

describe("what a chart needs", () => {
  it.each([
    ["is made where there is none", null, SHOWN, "create"],
    ["is left alone where nothing changed", SHOWN, SHOWN, "keep"],
    [
      "is left alone for an equal window",
      SHOWN,
      { ...SHOWN, span: { start: 0, end: 1000 } },
      "keep",
    ],
    ["gets new data", SHOWN, { ...SHOWN, data: [[1], [2]] }, "update"],
    ["moves on with the time", SHOWN, { ...SHOWN, span: { start: 1, end: 1001 } }, "update"],
    ["gets longer", SHOWN, { ...SHOWN, span: { start: 0, end: 1001 } }, "update"],
    ["is made again for other lines", SHOWN, { ...SHOWN, shape: "more lines" }, "create"],
    ["is made again, whatever else changed", SHOWN, { ...SHOWN, shape: "x", data: [[]] }, "create"],
  ] as const)("%s", (_, before, after, decision) => {
    expect(decide(before as Shown | null, after as Shown)).toBe(decision);
  });
});

describe("the shape of a chart", () => {
  function specOf(
    rows: number,
    change: { hidden?: ReadonlySet<string>; isLogarithmic?: boolean; lengthMs?: number } = {},
  ): ChartSpec {
    const timeline = new Timeline(
      ["latency_p50", "latency_p95", "latency_p99"],
      5000,
      5000,
      12_500,
    );
    timeline.load({
      timestamp: Array.from({ length: rows }, (_, i) => i * 5000),
      latency_p50: new Array(rows).fill(1),
    });
    const { hidden = new Set(), isLogarithmic = false, lengthMs = 300_000 } = change;
    const source = { variant: "production", index: 0, timeline, shiftMs: 0 };
    const span = { start: rows, end: rows + lengthMs };
    return chartOf(latency, [source], span, { theme: "light", hidden, isLogarithmic });
  }

  it("stays the same while rows come and the window moves on: no chart is made anew", () => {
    expect(shapeOf(specOf(20))).toBe(shapeOf(specOf(10)));
  });

  it.each([
    ["a line that is hidden", { hidden: new Set(["latency:p99"]) }],
    ["a logarithmic axis", { isLogarithmic: true }],
    ["a longer window, whose labels are others", { lengthMs: 600_000 }],
  ])("changes with %s", (_, change) => {
    expect(shapeOf(specOf(10, change))).not.toBe(shapeOf(specOf(10)));
  });

  it.each([
    ["colour", { colour: "#123456" }],
    ["dash", { dash: [1, 2] }],
    ["name", { label: "p42" }],
    ["variant", { variant: "canary" }],
    ["axis", { axis: "right" }],
    ["area", { fill: "#123456" }],
    ["width", { width: 9 }],
  ] as const)("changes with a line's %s", (_, change) => {
    const spec = specOf(10);
    const [first, ...others] = spec.lines;
    if (!first) throw new Error("no line");
    const changed = { ...spec, lines: [{ ...first, ...change }, ...others] };
    expect(shapeOf(changed)).not.toBe(shapeOf(spec));
  });

  it("changes with an axis on the right, and how far it reaches at least", () => {
    const spec = specOf(10);
    const right = { ...spec, right: spec.left };
    expect(shapeOf(right)).not.toBe(shapeOf(spec));
    expect(shapeOf({ ...right, right: { ...spec.left, atLeast: 1 } })).not.toBe(shapeOf(right));
  });
});
