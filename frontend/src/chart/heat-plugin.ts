import type uPlot from "uplot";
import { axisLabel, bucketLabel, type Heat, intensity } from "../lib/heat";
import { heatColours, type Theme } from "../lib/theme";
import { FONT } from "./options";

const STEPS = 64;

/** Draws a heat map onto a chart whose vertical axis counts buckets; `heat` gives the newest one. */
export function heatPlugin(heat: () => Heat, theme: Theme): uPlot.Plugin {
  const palette = heatColours(theme, STEPS).map(
    ([r, g, b]) => r * 2 ** 24 + ((g << 16) | (b << 8) | 255),
  );
  const canvas = document.createElement("canvas");
  return { hooks: { drawClear: [(u) => draw(u, heat(), palette, canvas)] } };
}

/** A pixel per cell, painted in one go and then stretched over the plot. */
function draw(
  u: uPlot,
  heat: Heat,
  palette: readonly number[], // red, green, blue and opacity, a byte each
  canvas: HTMLCanvasElement,
): void {
  const rows = heat.bounds.length;
  if (rows === 0 || heat.columns === 0) return;
  canvas.width = heat.columns;
  canvas.height = rows;
  const context = canvas.getContext("2d");
  if (!context) return;
  const image = context.createImageData(heat.columns, rows);
  const pixels = new DataView(image.data.buffer);
  for (let column = 0; column < heat.columns; column += 1) {
    for (let bucket = 0; bucket < rows; bucket += 1) {
      const count = heat.counts[column * rows + bucket] ?? -1;
      if (count <= 0) continue;
      const colour = palette[intensity(count, heat.max, STEPS - 1)] ?? 0;
      pixels.setUint32(4 * ((rows - 1 - bucket) * heat.columns + column), colour);
    }
  }
  context.putImageData(image, 0, 0);
  const left = u.valToPos(heat.start / 1000, "x", true);
  const right = u.valToPos((heat.start + heat.columns * heat.stepMs) / 1000, "x", true);
  const { ctx, bbox } = u;
  ctx.save();
  ctx.beginPath();
  ctx.rect(bbox.left, bbox.top, bbox.width, bbox.height);
  ctx.clip();
  ctx.imageSmoothingEnabled = false;
  ctx.drawImage(canvas, left, bbox.top, right - left, bbox.height);
  ctx.restore();
}

/** The axis of buckets: a label at the upper bound of as many as there is room for. */
export function bucketAxis(bounds: readonly string[], colour: string, size: number): uPlot.Axis {
  return {
    scale: "left",
    size,
    font: FONT,
    stroke: colour,
    gap: 6,
    ticks: { show: false },
    grid: { show: false },
    splits: (u) => {
      const every = Math.max(1, Math.ceil((bounds.length * 16) / Math.max(u.height - 40, 1)));
      return bounds.flatMap((_, i) => (i % every === 0 ? [i + 1] : []));
    },
    values: (_, splits) => splits.map((split) => axisLabel(bounds[split - 1] ?? "")),
  };
}

/** Bucket and count under the pointer; null outside of what is known. */
export function cellAt(
  u: uPlot,
  heat: Heat,
): { time: number; label: string; count: number } | null {
  const { left, top } = u.cursor;
  if (left == null || top == null || left < 0 || top < 0) return null;
  const column = Math.floor((u.posToVal(left, "x") * 1000 - heat.start) / heat.stepMs);
  const rows = heat.bounds.length;
  const bucket = Math.min(rows - 1, Math.floor(u.posToVal(top, "left")));
  const count = heat.counts[column * rows + bucket] ?? -1;
  if (column < 0 || column >= heat.columns || bucket < 0 || count < 0) return null;
  return {
    time: heat.start + column * heat.stepMs,
    label: bucketLabel(heat.bounds, bucket),
    count,
  };
}
