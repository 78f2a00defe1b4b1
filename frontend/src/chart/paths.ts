import uPlot from "uplot";
import type { Line } from "./spec";

type Values = ArrayLike<number | null | undefined>;

/** The places of values, a list for each stretch without a gap. */
export function stretches(values: Values, first: number, last: number): number[][] {
  const found: number[][] = [];
  let isOpen = false;
  for (let place = first; place <= last; place += 1) {
    const value = values[place];
    if (value === undefined) continue; // the line goes on
    if (value !== null && !isOpen) found.push([]);
    isOpen = value !== null;
    if (isOpen) found.at(-1)?.push(place);
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
      for (const places of stretches(ys, first, last)) {
        places.forEach((place, i) => {
          const [right, up] = [x(place), y(ys[place] ?? 0)];
          for (const path of [stroke, area]) {
            if (i === 0) path?.moveTo(right, up);
            else path?.lineTo(right, up);
          }
        });
        for (const place of places.reverse()) area?.lineTo(x(place), y(below[place] ?? floor));
        area?.closePath();
      }
      return { stroke, fill: area, flags: 0 };
    });
}
