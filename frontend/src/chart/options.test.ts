import type uPlot from "uplot";
import { describe, expect, it } from "vitest";
import { formatBytes, formatCount, formatMs } from "../lib/format";
import { coloursOf } from "../lib/theme";
import { AXIS_PX, baseOptions, lineOptions, timeLabel } from "./options";
import type { Axis, ChartSpec, Line } from "./spec";

const COLOURS = coloursOf("dark");
const SIZE = { width: 600, height: 300 };
const SPAN = { start: 1_000_000, end: 1_300_000 };
const HANDLERS = { onZoom: () => {}, onReset: () => {} };

const line = (change: Partial<Line> = {}): Line => ({
  label: "p50",
  variant: "production",
  colour: "#123456",
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

function specOf(change: Partial<ChartSpec> = {}): ChartSpec {
  return {
    lines: [line()],
    data: [[1000], [1]],
    span: SPAN,
    outages: new Set(),
    left: { format: formatMs },
    right: null,
    ...change,
  };
}

const optionsOf = (spec: ChartSpec, span = () => SPAN) =>
  lineOptions(spec, span, SIZE, COLOURS, HANDLERS);

/** uPlot calls these with itself, for which they have no use. */
const U = null as unknown as uPlot;

function rangeOf(axis: Axis, min: number | null, max: number | null): uPlot.Range.MinMax {
  const range = optionsOf(specOf({ left: axis })).scales?.left?.range as uPlot.Range.Function;
  return range(U, min as number, max as number, "left");
}

function labelsOf(axis: Axis, splits: (number | null)[]): unknown {
  const values = optionsOf(specOf({ left: axis })).axes?.[1]?.values;
  return (values as (u: uPlot, splits: (number | null)[]) => unknown)(U, splits);
}

describe("labels of the time axis", () => {
  const ms = new Date(2026, 2, 4, 5, 6, 7).getTime();
  it.each([
    ["seconds where labels are seconds apart", 5, false, "05:06:07"],
    ["no seconds where labels are minutes apart", 60, false, "05:06"],
    ["no seconds where labels are hours apart", 3600, false, "05:06"],
    ["the date too in views of a day and more", 3600, true, "03-04 05:06"],
    ["the date and seconds where both are needed", 30, true, "03-04 05:06:07"],
    ["only the date where labels are days apart", 86_400, true, "03-04"],
  ])("show %s", (_, incrementS, isLong, text) => {
    expect(timeLabel(ms, incrementS, isLong)).toBe(text);
  });

  it.each([
    ["without a date below 24 h", 86_400_000 - 1, "05:06"],
    ["with a date from 24 h on", 86_400_000, "03-04 05:06"],
  ])("are made %s", (_, lengthMs, text) => {
    expect(timeLabels(lengthMs, 300)).toEqual([text]);
  });

  it.each([
    ["whole", 520, "05:06"],
    ["left out rather than cut off", 530, ""],
  ])("are %s beside the edge", (_, px, text) => {
    expect(timeLabels(3_600_000, px)).toEqual([text]);
  });

  /** The label of a time that is so far from the left of the plot, in a view so long. */
  function timeLabels(lengthMs: number, px: number): string[] {
    const options = baseOptions(SIZE, () => ({ start: ms, end: ms + lengthMs }), COLOURS, HANDLERS);
    const values = options.axes?.[0]?.values as (...args: unknown[]) => string[];
    return values({ width: SIZE.width, valToPos: () => px }, [ms / 1000], 0, 0, 3600);
  }
});

describe("the options of a chart", () => {
  it("are made of plain data: the same description gives the same, and is left alone", () => {
    const spec = specOf({
      lines: [line({ dash: [7, 4] }), line({ fill: "red", fillTo: 0 })],
      right: { format: formatCount, atLeast: 1 },
    });
    const before = JSON.stringify(spec);
    const [one, other] = [optionsOf(spec), optionsOf(spec)];
    expect(JSON.stringify(one)).toBe(JSON.stringify(other));
    expect(JSON.stringify(spec)).toBe(before);
    expect(one.series[1]?.dash).not.toBe(spec.lines[0]?.dash); // uPlot changes its own
    const frozen = Object.freeze({ ...spec, lines: Object.freeze(spec.lines.map(Object.freeze)) });
    expect(() => optionsOf(frozen as ChartSpec)).not.toThrow();
  });

  it("have a series per line, in order, on its axis and in its colour", () => {
    const lines = [line({ label: "a" }), line({ label: "b", axis: "right", colour: "#abcdef" })];
    const { series } = optionsOf(specOf({ lines, right: { format: formatCount } }));
    expect(series.map(({ label, scale, stroke }) => [label, scale, stroke])).toEqual([
      [undefined, undefined, undefined],
      ["a", "left", "#123456"],
      ["b", "right", "#abcdef"],
    ]);
  });

  it("never draw a line over a gap", () => {
    for (const { spanGaps } of optionsOf(specOf()).series.slice(1)) expect(spanGaps).toBe(false);
  });

  it("show a value that stands alone between two gaps as a point", () => {
    const points = optionsOf(specOf()).series[1]?.points;
    const filter = points?.filter as (u: uPlot, index: number) => number[];
    const u = {
      data: [
        [1, 2, 3, 4, 5],
        [null, 7, null, 8, 9],
      ],
    } as unknown as uPlot;
    expect(filter(u, 1)).toEqual([1]);
  });

  it("fill the areas, and nothing else", () => {
    const lines = [line({ fill: "#111111" }), line({ fill: "#222222", fillTo: 0 }), line()];
    const series = optionsOf(specOf({ lines })).series.slice(1);
    expect(series.map(({ fill }) => fill)).toEqual(["#111111", "#222222", undefined]);
  });

  it("have an axis on the right only where there is one, as wide on all charts", () => {
    const right = { format: formatCount };
    expect(optionsOf(specOf()).axes).toHaveLength(2);
    expect(optionsOf(specOf()).scales).not.toHaveProperty("right");
    const { axes = [], scales } = optionsOf(specOf({ right }));
    expect(axes.map(({ side, size }) => [side, size]).slice(1)).toEqual([
      [3, AXIS_PX],
      [1, AXIS_PX],
    ]);
    expect(scales).toHaveProperty("right");
  });

  it("ask for the window anew, since it moves on without a new chart", () => {
    let span = SPAN;
    const { scales } = optionsOf(specOf(), () => span);
    const range = scales?.x?.range as unknown as () => [number, number];
    expect(range()).toEqual([1000, 1300]);
    span = { start: 2_000_000, end: 2_300_000 };
    expect(range()).toEqual([2000, 2300]);
  });

  it("share the crosshair, but not dragging", () => {
    const filters = optionsOf(specOf()).cursor?.sync?.filters;
    const pub = filters?.pub as (type: string) => boolean;
    expect(["mousemove", "mouseleave", "mousedown", "mouseup", "dblclick"].map(pub)).toEqual([
      true,
      true,
      false,
      false,
      false,
    ]);
  });
});

describe("dragging over a chart", () => {
  function drag(left: number, width: number) {
    const zooms: unknown[] = [];
    const { hooks } = baseOptions(SIZE, () => SPAN, COLOURS, {
      onZoom: (span) => zooms.push(span),
      onReset: () => {},
    });
    const selections: unknown[] = [];
    const u = {
      select: { left, width, top: 0, height: 10 },
      posToVal: (position: number) => 1000 + position,
      setSelect: (selection: unknown) => selections.push(selection),
    };
    for (const hook of hooks?.setSelect ?? []) hook?.(u as unknown as uPlot);
    return { zooms, selections };
  }

  it("zooms to the times dragged over, in ms, and takes the selection away", () => {
    const { zooms, selections } = drag(10, 20);
    expect(zooms).toEqual([{ start: 1_010_000, end: 1_030_000 }]);
    expect(selections).toEqual([{ left: 0, top: 0, width: 0, height: 0 }]);
  });

  it("does nothing for a click, nor for the selection being taken away", () => {
    expect(drag(10, 3).zooms).toEqual([]);
    expect(drag(0, 0).zooms).toEqual([]);
  });
});

describe("the axis of values", () => {
  const linear = { format: formatMs };
  const logarithmic = { format: formatMs, isLogarithmic: true };

  it.each([
    ["from zero to a little over the highest value", linear, 40, 100, 0, 100, 120],
    ["somewhere without values", linear, null, null, 0, 1, 1],
    ["somewhere with zeros only", linear, 0, 0, 0, 1, 1],
    ["as far as it should at least", { ...linear, atLeast: 1 }, 0, 0.2, 0, 1, 1.2],
    ["further than it should at least", { ...linear, atLeast: 1 }, 0, 50, 0, 50, 60],
  ])("reaches %s", (_, axis, min, max, low, least, most) => {
    const [from, to] = rangeOf(axis, min, max);
    expect(from).toBe(low);
    expect(to).toBeGreaterThanOrEqual(least);
    expect(to).toBeLessThanOrEqual(most);
  });

  it.each([
    ["whole decades around the values", 3, 4500, 1, 10_000],
    ["a decade at least for a single value", 100, 100, 100, 1000],
    ["a decade for values within one", 12, 80, 10, 100],
    ["small values", 0.002, 0.5, 0.001, 1],
    ["something without values", null, null, 1, 10],
    ["something where there are zeros only", 0, 0, 1, 10],
  ])("is logarithmic over %s", (_, min, max, low, high) => {
    const [from, to] = rangeOf(logarithmic, min, max);
    expect(from).toBeCloseTo(low, 9);
    expect(to).toBeCloseTo(high, 9);
  });

  it("has labels as the values are written, without zeros that say nothing", () => {
    expect(labelsOf(linear, [0, 500, 1000, 1500])).toEqual(["0 ms", "500 ms", "1 s", "1.5 s"]);
    expect(labelsOf(logarithmic, [1, null, 10])).toEqual(["1 ms", "", "10 ms"]);
  });

  it("has labels at decades only where it is logarithmic", () => {
    const filter = optionsOf(specOf({ left: logarithmic })).axes?.[1]?.filter as (
      u: uPlot,
      splits: number[],
    ) => (number | null)[];
    expect(filter(U, [0.001, 0.5, 1, 2, 10, 90, 100, 1000])).toEqual([
      0.001,
      null,
      1,
      null,
      10,
      null,
      100,
      1000,
    ]);
  });

  it("has labels at whole KiB and MiB where it is of bytes", () => {
    const axis = { format: formatBytes, isBinary: true };
    const incrs = optionsOf(specOf({ left: axis })).axes?.[1]?.incrs as number[];
    expect(incrs).toContain(1024);
    for (const increment of incrs) expect(Number.isInteger(Math.log2(increment))).toBe(true);
    expect(labelsOf(axis, [0, 1024, 2048, 1024 ** 2])).toEqual(["0 B", "1 KiB", "2 KiB", "1 MiB"]);
  });
});
