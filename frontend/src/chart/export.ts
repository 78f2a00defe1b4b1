import type uPlot from "uplot";
import { download, fileName, isoTime, toCsv } from "../lib/csv";
import type { Colours } from "../lib/theme";
import type { ChartSpec } from "./spec";

/** What a chart shows as a table: a line per time, a column per line of the chart. */
export function chartCsv({ data, lines, span, outages }: ChartSpec): string {
  const header = lines.map(
    ({ label, variant, isBefore }) => `${variant} ${label}${isBefore ? " before" : ""}`,
  );
  const [times, ...columns] = data;
  const told = lines.map((line, i) => (line.told.length > 0 ? line.told : (columns[i] ?? [])));
  const rows: (string | number | null | undefined)[][] = [];
  for (let i = 0; i < times.length; i += 1) {
    const ms = Math.round((times[i] ?? 0) * 1000);
    const values = told.map((column) => column[i]);
    if (ms >= span.start && ms <= span.end && !outages.has(i)) {
      rows.push([isoTime(ms), ...values]);
    }
  }
  return toCsv(["time", ...header], rows);
}

export function downloadCsv(what: string, csv: string, now: number): void {
  download(fileName(what, now, "csv"), new Blob([csv], { type: "text/csv;charset=utf-8" }));
}

/** What the picture says beside the chart. */
export interface Caption {
  readonly title: string;
  readonly legend: readonly { readonly label: string; readonly colour: string }[];
}

/** The charts of a panel as a picture, with their title and legend. */
export function downloadPng(
  what: string,
  charts: readonly uPlot[],
  { title, legend }: Caption,
  colours: Colours,
  now: number,
): void {
  const ratio = window.devicePixelRatio;
  const [line, pad] = [20 * ratio, 12 * ratio];
  const sources = charts.map((chart) => chart.ctx.canvas);
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(...sources.map((source) => source.width)) + 2 * pad;
  canvas.height = sources.reduce((sum, source) => sum + source.height, 2 * line + 2 * pad);
  const context = canvas.getContext("2d");
  if (!context) return;
  context.fillStyle = colours.card;
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.textBaseline = "top";
  context.fillStyle = colours.ink;
  context.font = `600 ${14 * ratio}px system-ui, sans-serif`;
  context.fillText(title, pad, pad);
  context.font = `${12 * ratio}px system-ui, sans-serif`;
  let x = pad;
  for (const { label, colour } of legend) {
    context.fillStyle = colour;
    context.fillRect(x, pad + line + 3 * ratio, 8 * ratio, 8 * ratio);
    context.fillStyle = colours.muted;
    context.fillText(label, x + 12 * ratio, pad + line);
    x += 26 * ratio + context.measureText(label).width;
  }
  let y = pad + 2 * line;
  for (const source of sources) {
    context.drawImage(source, pad, y);
    y += source.height;
  }
  canvas.toBlob((blob) => blob && download(fileName(what, now, "png"), blob), "image/png");
}
