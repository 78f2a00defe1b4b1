import { MINUTE_KEYS, NEWEST_FIRST, type Sorting } from "./minutes";
import { THEMES, type ThemeChoice } from "./theme";
import { DAY_MS, MINUTE_MS, RANGES, type RangeKey, rangeMs, type Span } from "./time";

/** All the user has chosen: what the page's address holds, and nothing else. */
export interface View {
  /** A variant's name, or null for all of them. */
  readonly variant: string | null;
  readonly range: RangeKey;
  /** A window that was zoomed into or entered; it hides `range` until it is left. */
  readonly window: Span | null;
  /** The time at which the page was paused, ms; null where it is live. */
  readonly pausedAt: number | null;
  readonly theme: ThemeChoice;
  /** Series that are not drawn, as `panel:series`. */
  readonly hidden: ReadonlySet<string>;
  /** The panel that fills the screen. */
  readonly panel: string | null;
  readonly isComparing: boolean;
  readonly isLogarithmic: boolean;
  /** Order of the request history. */
  readonly sorting: Sorting;
}

export const DEFAULT_VIEW: View = {
  variant: null,
  range: "1h",
  window: null,
  pausedAt: null,
  theme: "system",
  hidden: new Set(),
  panel: null,
  isComparing: false,
  isLogarithmic: false,
  sorting: NEWEST_FIRST,
};

/** The least a window may be long: less holds no two ticks. */
export const SHORTEST_MS = 10_000;

/** How much this machine's clock may be behind the service's, even one in another time zone. */
const CLOCK_ERROR_MS = DAY_MS;

/** The view in an address's query string; what makes no sense at `now` counts as not given. */
export function parseView(search: string, now = Date.now()): View {
  const query = new URLSearchParams(search);
  const range = RANGES.find(({ key }) => key === query.get("range"))?.key ?? DEFAULT_VIEW.range;
  const theme = THEMES.find((one) => one === query.get("theme")) ?? DEFAULT_VIEW.theme;
  const [start, end] = [parseMs(query.get("start")), parseMs(query.get("end"))];
  const isPast = (ms: number | null): ms is number => ms !== null && ms <= now + CLOCK_ERROR_MS;
  const paused = parseMs(query.get("paused"));
  return {
    variant: query.get("variant") || null,
    range,
    window: isPast(start) && end !== null && end - start >= SHORTEST_MS ? { start, end } : null,
    pausedAt: isPast(paused) ? paused : null,
    theme,
    hidden: new Set((query.get("hidden") ?? "").split(",").filter(Boolean)),
    panel: query.get("panel") || null,
    isComparing: query.get("compare") === "1",
    isLogarithmic: query.get("scale") === "log",
    sorting: parseSorting(query.get("sort")),
  };
}

/** A column's name, with a minus in front where the least comes first. */
function parseSorting(text: string | null): Sorting {
  const isAscending = text?.startsWith("-") ?? false;
  const key = MINUTE_KEYS.find((name) => name === (isAscending ? text?.slice(1) : text));
  return key ? { key, isDescending: !isAscending } : NEWEST_FIRST;
}

function parseMs(text: string | null): number | null {
  return text !== null && /^\d{1,15}$/.test(text) ? Number(text) : null;
}

/** The query string of a view, empty for the default one: the inverse of `parseView`. */
export function formatView(view: View): string {
  const query = new URLSearchParams();
  if (view.variant) query.set("variant", view.variant);
  if (view.range !== DEFAULT_VIEW.range) query.set("range", view.range);
  if (view.window) {
    query.set("start", String(view.window.start));
    query.set("end", String(view.window.end));
  }
  if (view.pausedAt !== null) query.set("paused", String(view.pausedAt));
  if (view.theme !== DEFAULT_VIEW.theme) query.set("theme", view.theme);
  if (view.hidden.size > 0) query.set("hidden", [...view.hidden].sort().join(","));
  if (view.panel) query.set("panel", view.panel);
  if (view.isComparing) query.set("compare", "1");
  if (view.isLogarithmic) query.set("scale", "log");
  const { key, isDescending } = view.sorting;
  if (key !== NEWEST_FIRST.key || !isDescending) query.set("sort", (isDescending ? "" : "-") + key);
  const text = query.toString().replaceAll("%3A", ":").replaceAll("%2C", ",");
  return text ? `?${text}` : "";
}

/** Whether going from one view to another is a step that the browser's back button undoes. */
export function isStep(from: View, to: View): boolean {
  return (
    from.variant !== to.variant ||
    from.range !== to.range ||
    from.window?.start !== to.window?.start ||
    from.window?.end !== to.window?.end ||
    from.panel !== to.panel ||
    from.isComparing !== to.isComparing
  );
}

/** The time a view shows at `now`, and whether it moves on with it. */
export function spanOf(view: View, now: number): Span & { readonly isLive: boolean } {
  const { window, pausedAt } = view;
  if (window) {
    // One that would go on growing stands still with the page.
    const isCut = pausedAt !== null && pausedAt > window.start && pausedAt < window.end;
    return { start: window.start, end: isCut ? pausedAt : window.end, isLive: false };
  }
  const end = pausedAt ?? now;
  return { start: end - rangeMs(view.range), end, isLive: pausedAt === null };
}

/**
 * The part of a span of which there may be something; nothing is kept for longer than `keptMs`. Of
 * one that is older, a moment in which there is nothing: asked about it, the service says so.
 */
export function keptOf(span: Span, now: number, keptMs: number): Span {
  const oldest = now - keptMs - MINUTE_MS;
  if (span.end >= oldest) return { start: Math.max(span.start, oldest), end: span.end };
  const end = Math.max(span.end, DAY_MS); // what is asked about may begin before, but not before 1970
  return { start: end - SHORTEST_MS, end };
}

/** A window around what was dragged over, rounded to seconds and no shorter than can be shown. */
export function zoomTo(start: number, end: number, shortestMs = SHORTEST_MS): Span {
  const middle = (start + end) / 2;
  const half = Math.max(end - start, shortestMs) / 2;
  const unit = end - start > 10 * MINUTE_MS ? 1000 : 100;
  return {
    start: Math.floor((middle - half) / unit) * unit,
    end: Math.ceil((middle + half) / unit) * unit,
  };
}

/** The hidden series after a click on one of a panel's; with `isAlone`, all but that one. */
export function toggleSeries(
  hidden: ReadonlySet<string>,
  panel: string,
  series: readonly string[],
  clicked: string,
  isAlone: boolean,
): ReadonlySet<string> {
  const next = new Set(hidden);
  const nameOf = (id: string) => `${panel}:${id}`;
  const others = series.filter((id) => id !== clicked);
  if (isAlone) {
    const isAloneAlready =
      !hidden.has(nameOf(clicked)) && others.every((id) => hidden.has(nameOf(id)));
    next.delete(nameOf(clicked));
    for (const id of others) {
      if (isAloneAlready) next.delete(nameOf(id));
      else next.add(nameOf(id));
    }
  } else if (!next.delete(nameOf(clicked))) {
    next.add(nameOf(clicked));
  }
  return next;
}
