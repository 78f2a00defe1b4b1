import uPlot from "uplot";
import type { Line } from "./spec";

type Values = ArrayLike<number | null | undefined>;

/** The first and the last value of each stretch without a gap; where there is none, the line goes on. */
export function stretches(values: Values, first: number, last: number): [number, number][] {
  const found: [number, number][] = [];
  let open: [number, number] | null = null;
  for (let place = first; place <= last; place += 1) {
    const value = values[place];
    if (value === undefined) continue;
    if (value === null) open = null;
    else if (open) open[1] = place;
    else {
      open = [place, place];
      found.push(open);
    }
  }
  return found;
}

/**
 * A line and its area as shapes that end at a gap, and where another line is above. uPlot would draw
 * them through all gaps, down to zero, and clip them by shapes of hundreds of corners, which takes
 * several times as long as to draw them.
 */
export function linePaths({ width, fill, fillTo }: Line): uPlot.Series.PathBuilder {
  return (u, index, first, last) =>
    uPlot.orient(u, index, (_, xs, ys, scaleX, scaleY, xOf, yOf, left, top, plotWidth, height) => {
      const x = (place: number) => Math.round(xOf(xs[place] ?? 0, scaleX, plotWidth, left));
      const y = (value: number) => Math.round(yOf(value, scaleY, height, top));
      const below: Values = fillTo === null ? [] : (u.data[fillTo + 1] ?? []);
      const floor = scaleY.min ?? 0;
      const stroke = width > 0 ? new Path2D() : null;
      const area = fill === null ? null : new Path2D();
      for (const [begin, end] of stretches(ys, first, last)) {
        for (let place = begin; place <= end; place += 1) {
          const value = ys[place];
          if (value == null) continue;
          const right = x(place);
          const up = y(value);
          const step = place === begin ? "moveTo" : "lineTo";
          stroke?.[step](right, up);
          area?.[step](right, up);
        }
        if (!area) continue;
        for (let place = end; place >= begin; place -= 1)
          if (ys[place] != null) area.lineTo(x(place), y(below[place] ?? floor));
        area.closePath();
      }
      return { stroke, fill: area, flags: 0 };
    });
}
