import { describe, expect, it } from "vitest";
import { MINUTE_KEYS } from "./minutes";
import { generator } from "./random";
import { THEMES } from "./theme";
import { DAY_MS, RANGES } from "./time";
import {
  DEFAULT_VIEW,
  formatView,
  isStep,
  keptOf,
  parseView,
  SHORTEST_MS,
  spanOf,
  toggleSeries,
  type View,
  zoomTo,
} from "./view";

const NOW = Date.UTC(2026, 10, 23, 14, 5, 9);

const NAMES = [
  "production",
  "canary",
  "a b",
  "a+b",
  "a&b=c",
  "50%",
  "%3A",
  "%2C",
  "x:y",
  "#1",
  "größe",
  "?",
  "constructor",
];

function randomView(random: () => number): View {
  const one = <T>(list: readonly T[]) => list[Math.floor(random() * list.length)] as T;
  const maybe = <T>(value: T): T | null => (random() < 0.5 ? value : null);
  const start = Math.floor(random() * NOW);
  return {
    variant: maybe(one(NAMES)),
    range: one(RANGES).key,
    window: maybe({ start, end: start + SHORTEST_MS + Math.floor(random() * 1e9) }),
    pausedAt: maybe(start),
    theme: one(THEMES),
    hidden: new Set(
      Array.from({ length: Math.floor(random() * 4) }, () => `requests:${one(NAMES)}`),
    ),
    panel: maybe(one(NAMES)),
    isComparing: random() < 0.5,
    isLogarithmic: random() < 0.5,
    sorting: { key: one(MINUTE_KEYS), isDescending: random() < 0.5 },
  };
}

describe("the address", () => {
  it("is empty for the page as it opens", () => {
    expect(formatView(DEFAULT_VIEW)).toBe("");
    expect(parseView("")).toEqual(DEFAULT_VIEW);
    expect(parseView("?")).toEqual(DEFAULT_VIEW);
  });

  it("gives the same picture when it is shared or loaded again, whatever was chosen", () => {
    const random = generator(1);
    for (let round = 0; round < 500; round += 1) {
      const view = randomView(random);
      expect(parseView(formatView(view))).toEqual(view);
      expect(formatView(parseView(formatView(view)))).toBe(formatView(view));
    }
  });

  it("can be read by people", () => {
    const view = {
      ...DEFAULT_VIEW,
      variant: "canary",
      range: "6h",
      window: { start: 1000, end: 20_000 },
      hidden: new Set(["latency:p99", "latency:p50"]),
      panel: "latency",
      isComparing: true,
      isLogarithmic: true,
      theme: "dark",
      sorting: { key: "p95", isDescending: false },
    } as const;
    expect(formatView(view)).toBe(
      "?variant=canary&range=6h&start=1000&end=20000&theme=dark" +
        "&hidden=latency:p50,latency:p99&panel=latency&compare=1&scale=log&sort=-p95",
    );
  });

  it("is the same for the same choice, in whatever order it was made", () => {
    const [one, other] = [new Set(["a:1", "b:2"]), new Set(["b:2", "a:1"])];
    expect(formatView({ ...DEFAULT_VIEW, hidden: one })).toBe(
      formatView({ ...DEFAULT_VIEW, hidden: other }),
    );
  });

  it("does not depend on series that are called like parts of an object", () => {
    expect(parseView("?range=constructor&theme=toString")).toEqual(DEFAULT_VIEW);
  });

  it.each([
    ["an unknown range", "?range=2h"],
    ["a range of nothing", "?range="],
    ["an unknown theme", "?theme=pink"],
    ["a window without an end", "?start=1000"],
    ["a window without a beginning", "?end=20000"],
    ["a window backwards", "?start=20000&end=1000"],
    ["a window too short to show anything", "?start=1000&end=10999"],
    ["times that are words", "?start=now&end=tomorrow"],
    ["negative times", "?start=-20000&end=-1000"],
    ["times with fractions", "?start=1000.5&end=20000.5"],
    ["times in scientific notation", "?start=1e3&end=2e4"],
    ["times beyond any calendar", "?start=1000&end=9999999999999999999"],
    ["a pause at no time", "?paused=yes"],
    ["an empty pause", "?paused="],
    ["no variant", "?variant="],
    ["no panel", "?panel="],
    ["no hidden series", "?hidden="],
    ["only commas", "?hidden=,,,"],
    ["another comparison", "?compare=yes"],
    ["another scale", "?scale=linear"],
    ["an order by no column", "?sort=constructor"],
    ["an order by nothing", "?sort=-"],
    ["a parameter nobody knows", "?__proto__=1&x=y"],
    ["broken escapes", "?%E0%A4%A=%&%"],
  ])("counts as not given what makes no sense: %s", (_, search) => {
    expect(parseView(search)).toEqual(DEFAULT_VIEW);
  });

  it("takes the good parts of one with nonsense in it", () => {
    expect(parseView("?range=nonsense&variant=canary&start=7")).toEqual({
      ...DEFAULT_VIEW,
      variant: "canary",
    });
  });

  it("keeps a time that only a clock in another time zone takes for the future", () => {
    const inHours = (hours: number) => String(NOW + hours * 3_600_000);
    expect(parseView(`?paused=${inHours(14)}`, NOW).pausedAt).toBe(NOW + 14 * 3_600_000);
    expect(parseView(`?start=${inHours(14)}&end=${inHours(15)}`, NOW).window).not.toBeNull();
    expect(parseView(`?paused=${inHours(25)}`, NOW)).toEqual(DEFAULT_VIEW);
  });
});

describe("the back button", () => {
  const view = { ...DEFAULT_VIEW, window: { start: 1000, end: 20_000 } };

  it.each([
    ["another variant", { variant: "canary" }],
    ["another range", { range: "7d" }],
    ["leaving the window", { window: null }],
    ["a window that begins elsewhere", { window: { start: 2000, end: 20_000 } }],
    ["a window that ends elsewhere", { window: { start: 1000, end: 21_000 } }],
    ["opening a panel", { panel: "latency" }],
    ["comparing", { isComparing: true }],
  ] as const)("undoes %s", (_, change) => {
    expect(isStep(view, { ...view, ...change })).toBe(true);
    expect(isStep({ ...view, ...change }, view)).toBe(true);
  });

  it.each([
    ["the theme", { theme: "dark" }],
    ["a hidden series", { hidden: new Set(["latency:p99"]) }],
    ["a pause", { pausedAt: 1 }],
    ["a logarithmic axis", { isLogarithmic: true }],
    ["another order of the table", { sorting: { key: "p95", isDescending: true } }],
    ["an equal window", { window: { start: 1000, end: 20_000 } }],
  ] as const)("does not stop at %s", (_, change) => {
    expect(isStep(view, { ...view, ...change })).toBe(false);
  });
});

describe("the time shown", () => {
  it("is the range up to now, and moves on", () => {
    expect(spanOf(DEFAULT_VIEW, NOW)).toEqual({ start: NOW - 3_600_000, end: NOW, isLive: true });
  });

  it("stands still while the page is paused", () => {
    const view = { ...DEFAULT_VIEW, range: "5m", pausedAt: NOW } as const;
    expect(spanOf(view, NOW + 60_000)).toEqual({ start: NOW - 300_000, end: NOW, isLive: false });
  });

  it("is the window where there is one, paused or not", () => {
    const window = { start: 1000, end: 20_000 };
    expect(spanOf({ ...DEFAULT_VIEW, window }, NOW)).toEqual({ ...window, isLive: false });
    expect(spanOf({ ...DEFAULT_VIEW, window, pausedAt: 5 }, NOW).end).toBe(20_000);
    expect(spanOf({ ...DEFAULT_VIEW, window, pausedAt: 30_000 }, NOW).end).toBe(20_000);
  });

  it("goes no further than the pause in a window that would go on growing", () => {
    const window = { start: 1000, end: 20_000 };
    const span = spanOf({ ...DEFAULT_VIEW, window, pausedAt: 9000 }, NOW);
    expect(span).toEqual({ start: 1000, end: 9000, isLive: false });
  });
});

describe("the part of a span that is kept", () => {
  const KEPT_MS = 7 * DAY_MS;
  const oldest = NOW - KEPT_MS;

  it("begins no sooner than what is kept, and a minute for its sake", () => {
    const { start, end } = keptOf({ start: 0, end: NOW }, NOW, KEPT_MS);
    expect(start).toBe(oldest - 60_000);
    expect(end).toBe(NOW);
    expect(keptOf({ start: NOW - 5000, end: NOW }, NOW, KEPT_MS).start).toBe(NOW - 5000);
  });

  it.each([
    ["an hour of long ago", { start: oldest - 2 * DAY_MS, end: oldest - 2 * DAY_MS + 3_600_000 }],
    ["the first seconds there were", { start: 100, end: 20_000 }],
  ])("holds nothing of %s, and is over before what there is begins", (_, span) => {
    const { start, end } = keptOf(span, NOW, KEPT_MS);
    expect(end).toBeLessThan(oldest - 60_000);
    expect(end - start).toBeLessThanOrEqual(60_000);
    expect(start).toBeGreaterThan(3_600_000); // what is asked for begins up to an hour before
  });
});

describe("zooming", () => {
  it("shows at least all that was dragged over, in whole units and hardly more", () => {
    const random = generator(2);
    for (let round = 0; round < 300; round += 1) {
      const start = NOW + random() * 1e6;
      const length = 10 ** (3 + random() * 6);
      const window = zoomTo(start, start + length);
      expect(window.start).toBeLessThanOrEqual(start);
      expect(window.end).toBeGreaterThanOrEqual(start + length);
      const more = window.end - window.start - Math.max(length, SHORTEST_MS);
      expect(more).toBeLessThanOrEqual(length > 600_000 ? 2000 : 200);
      expect(window.start % 100).toBe(0);
      expect(window.end % 100).toBe(0);
      expect(parseView(formatView({ ...DEFAULT_VIEW, window })).window).toEqual(window);
    }
  });

  it("is no shorter than what there is detail for, around what was dragged over", () => {
    const { start, end } = zoomTo(NOW, NOW + 1000, 300_000);
    expect(end - start).toBeGreaterThanOrEqual(300_000);
    expect(end - start).toBeLessThanOrEqual(300_200);
    expect(Math.abs((start + end) / 2 - NOW - 500)).toBeLessThanOrEqual(100);
    expect(zoomTo(NOW, NOW + 900_000, 300_000)).toEqual(zoomTo(NOW, NOW + 900_000));
  });

  it("ends where two ticks are still in sight, around the middle", () => {
    const { start, end } = zoomTo(NOW, NOW + 1);
    expect(end - start).toBeGreaterThanOrEqual(SHORTEST_MS);
    expect(Math.abs((start + end) / 2 - NOW)).toBeLessThan(200);
  });
});

describe("a click on the legend", () => {
  const series = ["p50", "p95", "p99"];
  const click = (hidden: readonly string[], id: string, isAlone = false) =>
    [...toggleSeries(new Set(hidden), "latency", series, id, isAlone)].sort();

  it("hides a series, and shows it again", () => {
    expect(click([], "p95")).toEqual(["latency:p95"]);
    expect(click(["latency:p95"], "p95")).toEqual([]);
  });

  it("with shift leaves that series alone, and shows all again the next time", () => {
    expect(click([], "p95", true)).toEqual(["latency:p50", "latency:p99"]);
    expect(click(["latency:p50", "latency:p99"], "p95", true)).toEqual([]);
  });

  it("with shift on a hidden series shows that one alone", () => {
    expect(click(["latency:p95"], "p95", true)).toEqual(["latency:p50", "latency:p99"]);
    expect(click(["latency:p50", "latency:p99"], "p99", true)).toEqual([
      "latency:p50",
      "latency:p95",
    ]);
  });

  it("leaves the series of other panels alone", () => {
    expect(click(["errors:p95", "errors:rate"], "p95")).toEqual([
      "errors:p95",
      "errors:rate",
      "latency:p95",
    ]);
    expect(click(["errors:rate"], "p95", true)).toContain("errors:rate");
  });

  it("does not change the set it was given, by which the page knows what is new", () => {
    const hidden = new Set(["latency:p50"]);
    toggleSeries(hidden, "latency", series, "p50", true);
    toggleSeries(hidden, "latency", series, "p50", false);
    expect([...hidden]).toEqual(["latency:p50"]);
  });
});
