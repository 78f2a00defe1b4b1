import { afterAll, describe, expect, it, vi } from "vitest";
import { linePaths, stretches } from "./paths";
import type { Line } from "./spec";

describe("the stretches of a line", () => {
  it.each([
    ["one where there is no gap", [1, 0, 2], [[0, 2]]],
    ["none where there is no value", [null, null], []],
    [
      "cut by an outage",
      [1, 2, null, 3],
      [
        [0, 1],
        [3, 3],
      ],
    ],
    ["not cut where only another line has a row", [1, undefined, 2], [[0, 2]]],
    ["of a single place between two outages", [null, 1, null], [[1, 1]]],
  ] as const)("are %s", (_, values, found) => {
    expect(stretches(values, 0, values.length - 1)).toEqual(found);
  });

  it("are those in sight", () => {
    expect(stretches([1, 2, 3, 4, null, 5], 1, 4)).toEqual([[1, 3]]);
  });
});

/** What is drawn, as SVG writes it. */
class Path {
  text = "";
  moveTo(x: number, y: number): void {
    this.text += `M${x} ${y}`;
  }
  lineTo(x: number, y: number): void {
    this.text += `L${x} ${y}`;
  }
  closePath(): void {
    this.text += "Z";
  }
}

const [BARE, TIMES] = [{ width: 0, fill: null, fillTo: null }, [10, 20, 30]];

/** How the second of two lines is drawn on a plot where every value is its own place. */
function drawn(
  line: Partial<Line>,
  below: (number | null)[],
  values: (number | null | undefined)[],
): { stroke: string | null; fill: string | null } {
  const data = [TIMES, below, values];
  const chart = {
    mode: 1,
    data,
    _data: data,
    series: [{ scale: "x" }, { scale: "y" }, { scale: "y" }],
    scales: { x: { ori: 0, dir: 1 }, y: { ori: 1, dir: 1, min: 0.4 } },
    bbox: { left: 0, top: 0, width: 100, height: 100 },
    valToPosH: (value: number) => value,
    valToPosV: (value: number) => value,
  };
  const paths = linePaths({ ...BARE, ...line } as Line)(chart as never, 2, 0, 2);
  const textOf = (path: unknown) => (path instanceof Path ? path.text : null);
  return { stroke: textOf(paths?.stroke), fill: textOf(paths?.fill) };
}

describe("a line", () => {
  vi.stubGlobal("Path2D", Path);
  afterAll(() => vi.unstubAllGlobals());
  const below = [1, 2, 3];

  it("goes from value to value", () => {
    expect(drawn({ width: 1 }, below, [5, 6, 7])).toEqual({
      stroke: "M10 5L20 6L30 7",
      fill: null,
    });
  });

  it("begins anew after a gap", () => {
    expect(drawn({ width: 1 }, below, [5, null, 7]).stroke).toBe("M10 5M30 7");
  });

  it("goes on where only another line has a row", () => {
    expect(drawn({ width: 1 }, below, [5, undefined, 7]).stroke).toBe("M10 5L30 7");
  });

  it("has an area down to the line below", () => {
    expect(drawn({ fill: "red", fillTo: 0 }, below, [5, 6, 7])).toEqual({
      stroke: null,
      fill: "M10 5L20 6L30 7L30 3L20 2L10 1Z",
    });
  });

  it("has an area down to the axis where none is below", () => {
    expect(drawn({ fill: "red" }, below, [5, 6, 7]).fill).toBe("M10 5L20 6L30 7L30 0L20 0L10 0Z");
  });

  it("has an area for each side of a gap", () => {
    expect(drawn({ fill: "red", fillTo: 0 }, [1, null, 3], [5, null, 7]).fill).toBe(
      "M10 5L10 1ZM30 7L30 3Z",
    );
  });
});
