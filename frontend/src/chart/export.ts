import type uPlot from "uplot";
import { download, fileName, isoTime, toCsv } from "../lib/csv";
import { type Colours, fade } from "../lib/theme";
import { formatClock, formatDate, type Span } from "../lib/time";
import { FAMILY } from "./options";
import type { ChartSpec, Line } from "./spec";

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

/** What stands for something in the legend of a picture: a colour, or a pattern of line. */
export interface Key {
  readonly label: string;
  readonly colour: string;
  /** In px, as on the chart; null for a patch of the colour. */
  readonly dash: readonly number[] | null;
}

/** What the picture says beside the chart. */
export interface Caption {
  readonly title: string;
  readonly unit: string;
  readonly span: Span;
  readonly legend: readonly Key[];
}

/** The legend of lines as they are drawn: each series once, then the patterns of the variants. */
export function legendOf(lines: readonly Line[], ink: string, muted: string): Key[] {
  const shown = lines.filter(({ isBefore }) => !isBefore);
  const colours = new Map(shown.map(({ label, colour }) => [label, colour]));
  const dashes = new Map(shown.map(({ variant, dash }) => [variant, dash]));
  const before = lines.find(({ isBefore }) => isBefore);
  return [
    ...[...colours].map(([label, colour]) => ({ label, colour, dash: null })),
    ...[...dashes].map(([label, dash]) => ({ label, colour: ink, dash })),
    ...(before ? [{ label: "before (faint)", colour: fade(muted, 0.6), dash: [] }] : []),
  ];
}

/** Where things of some widths stand, in as many rows of text as they need. */
export function wrap(
  widths: readonly number[],
  gap: number,
  room: number,
): { readonly x: number; readonly row: number }[] {
  let [x, row] = [0, 0];
  return widths.map((width) => {
    if (x > 0 && x + width > room) [x, row] = [0, row + 1];
    const place = { x, row };
    x += width + gap;
    return place;
  });
}

/** A chart of a picture, and what stands above it. */
interface Part {
  readonly chart: uPlot;
  readonly label: string | null;
}

const [LINE_PX, PAD_PX, GAP_PX] = [20, 12, 16];

/** The charts of a panel as a picture, with all that is needed to read it by itself. */
export function downloadPng(
  what: string,
  parts: readonly Part[],
  { title, unit, span, legend }: Caption,
  colours: Colours,
  now: number,
): void {
  const canvas = document.createElement("canvas");
  const context = canvas.getContext("2d");
  if (!context || parts.length === 0) return;
  const ratio = window.devicePixelRatio;
  const small = `12px ${FAMILY}`;
  const chartPx = Math.max(...parts.map(({ chart }) => chart.width));
  context.font = small;
  const widths = legend.map((key) => textAt(key) + context.measureText(key.label).width);
  const places = wrap(widths, GAP_PX, chartPx);
  const rows = (places.at(-1)?.row ?? -1) + 1;
  const labels = parts.filter(({ label }) => label !== null).length;
  const headPx = (2 + rows + labels) * LINE_PX;
  const chartsPx = parts.reduce((sum, { chart }) => sum + chart.height, 0);
  canvas.width = (chartPx + 2 * PAD_PX) * ratio;
  canvas.height = (headPx + chartsPx + 2 * PAD_PX) * ratio;
  context.scale(ratio, ratio);
  context.fillStyle = colours.card;
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.textBaseline = "middle";
  let y = PAD_PX + LINE_PX / 2;
  const write = (text: string, x: number, colour: string, font = small) => {
    context.font = font;
    context.fillStyle = colour;
    context.fillText(text, x, y);
    return x + context.measureText(text).width;
  };
  write(unit, write(title, PAD_PX, colours.ink, `600 15px ${FAMILY}`) + 8, colours.muted);
  y += LINE_PX;
  write(`${formatTime(span.start)} – ${formatTime(span.end)}`, PAD_PX, colours.muted);
  const legendY = y + LINE_PX;
  legend.forEach((key, i) => {
    const { x = 0, row = 0 } = places[i] ?? {};
    y = legendY + row * LINE_PX;
    drawKey(context, PAD_PX + x, y, key);
    write(key.label, PAD_PX + x + textAt(key), colours.ink);
  });
  y = legendY + (rows - 0.5) * LINE_PX;
  for (const { chart, label } of parts) {
    if (label !== null) {
      y += LINE_PX / 2;
      write(label, PAD_PX, colours.muted);
      y += LINE_PX / 2;
    }
    context.drawImage(chart.ctx.canvas, PAD_PX, y, chart.width, chart.height);
    y += chart.height;
  }
  canvas.toBlob((blob) => blob && download(fileName(what, now, "png"), blob), "image/png");
}

const [PATCH_PX, DASH_PX] = [10, 24];

/** How far to the right of its key a word begins. */
function textAt({ dash }: Key): number {
  return (dash === null ? PATCH_PX : DASH_PX) + 6;
}

/** A patch of the colour, or a piece of line, around a height. */
function drawKey(
  context: CanvasRenderingContext2D,
  x: number,
  y: number,
  { colour, dash }: Key,
): void {
  context.fillStyle = colour;
  context.strokeStyle = colour;
  if (dash === null) {
    context.fillRect(x, y - PATCH_PX / 2, PATCH_PX, PATCH_PX);
    return;
  }
  context.lineWidth = 2;
  context.setLineDash([...dash]);
  context.beginPath();
  context.moveTo(x, y);
  context.lineTo(x + DASH_PX, y);
  context.stroke();
}

function formatTime(ms: number): string {
  return `${formatDate(ms)} ${formatClock(ms, true)}`;
}
