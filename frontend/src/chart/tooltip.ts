import type uPlot from "uplot";
import { formatMoment, lengthOf, type Span } from "../lib/time";

/** A line of the tooltip; a value per column. */
export interface TipRow {
  readonly label: string;
  readonly colour: string | null;
  readonly values: readonly string[];
}

export interface Tip {
  readonly time: number; // ms
  readonly columns: readonly string[];
  readonly rows: readonly TipRow[];
}

/** The box beside the pointer. It follows it without React: a pointer moves at every frame. */
export class Tooltip {
  private readonly box = document.createElement("div");

  constructor(private readonly u: uPlot) {
    this.box.className = "tooltip";
    this.box.hidden = true;
    // Screen readers have the chart's summary; a box that follows a pointer is of no use to them.
    this.box.setAttribute("aria-hidden", "true");
    u.root.append(this.box);
  }

  /** Show what is under the pointer, or nothing. */
  show(tip: Tip | null, span: Span): void {
    const { left } = this.u.cursor;
    if (!tip || left == null || left < 0) {
      this.box.hidden = true;
      return;
    }
    const table = document.createElement("table");
    const head = table.createTHead().insertRow();
    head.append(cell("th", formatMoment(tip.time, lengthOf(span), true)));
    for (const column of tip.columns) head.append(cell("th", column));
    const body = table.createTBody();
    for (const row of tip.rows) {
      const line = body.insertRow();
      const label = cell("td", row.label);
      if (row.colour) {
        const mark = document.createElement("i");
        mark.style.backgroundColor = row.colour;
        label.prepend(mark);
      }
      line.append(label, ...row.values.map((value) => cell("td", value)));
    }
    this.box.replaceChildren(table);
    this.box.hidden = false;
    this.place(left);
  }

  destroy(): void {
    this.box.remove();
  }

  /** Beside the pointer, on the side where there is more room. */
  private place(left: number): void {
    const plotLeft = this.u.over.offsetLeft;
    const width = this.box.offsetWidth;
    const isRight = left < this.u.over.clientWidth / 2;
    const x = plotLeft + left + (isRight ? 14 : -14 - width);
    this.box.style.left = `${Math.max(0, Math.min(x, this.u.root.clientWidth - width))}px`;
    this.box.style.top = `${this.u.over.offsetTop + 4}px`;
  }
}

function cell(kind: "td" | "th", text: string): HTMLElement {
  const element = document.createElement(kind);
  element.textContent = text;
  return element;
}
