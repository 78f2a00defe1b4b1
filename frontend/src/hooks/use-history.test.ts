import { describe, expect, it } from "vitest";
import { HOUR_MS, RANGES } from "../lib/time";
import { isGrowing, keyOf, type Question, questionBefore, spanOfQuestion } from "./use-history";

const NOW = Date.UTC(2026, 10, 23, 14, 5, 9, 137);
const LIVE: Question = {
  variant: null,
  variants: ["production", "canary"],
  lengthMs: 3_600_000,
  end: null,
};

describe("the time a question is about", () => {
  it("ends now where it is live", () => {
    expect(spanOfQuestion(LIVE, NOW)).toEqual({ start: NOW - 3_600_000, end: NOW });
  });

  it("stands still where it is not", () => {
    const fixed = { ...LIVE, end: NOW - 1000 };
    expect(spanOfQuestion(fixed, NOW)).toEqual({ start: NOW - 3_601_000, end: NOW - 1000 });
    expect(spanOfQuestion(fixed, NOW + 99_999)).toEqual(spanOfQuestion(fixed, NOW));
  });
});

it.each([
  ["a live one", null, true],
  ["one that ends in the future", NOW + 1, true],
  ["one that ends now: its last snapshot is a scrape away", NOW, true],
  ["one whose last snapshot may be late", NOW - 4999, true],
  ["one that is over", NOW - 5000, false],
])("a window grows or does not: %s", (_, end, expected) => {
  expect(isGrowing({ ...LIVE, end }, { scrape_interval: 5 }, NOW)).toBe(expected);
});

/** How far a live window moves on until the one before it is asked for anew. */
const partOf = (lengthMs: number) => Math.max(5000, lengthMs / 240);

describe("the window before", () => {
  it("of a fixed window ends where that begins, and is as long", () => {
    const fixed = { ...LIVE, end: NOW };
    expect(questionBefore(fixed, NOW + 5000)).toEqual({ ...fixed, end: NOW - 3_600_000 });
  });

  it("is about the same variants", () => {
    const { variant, variants } = questionBefore({ ...LIVE, variant: "canary" }, NOW);
    expect([variant, variants]).toEqual(["canary", LIVE.variants]);
  });

  it.each(RANGES.map(({ key, ms }) => [key, ms] as const))(
    "of the last %s is asked for once in a while, not at every tick",
    (_, lengthMs) => {
      const asked = new Set<string>();
      for (let ms = 0; ms < lengthMs; ms += lengthMs / 6000) {
        asked.add(keyOf(questionBefore({ ...LIVE, lengthMs }, NOW + ms)));
      }
      expect(asked.size).toBeLessThanOrEqual(lengthMs / partOf(lengthMs) + 1);
      expect(asked.size).toBeGreaterThan(10);
    },
  );

  it.each(RANGES.map(({ key, ms }) => [key, ms] as const))(
    "of the last %s reaches up to the window shown",
    (_, lengthMs) => {
      for (let ms = 0; ms < lengthMs; ms += lengthMs / 97) {
        const now = NOW + Math.round(ms);
        const { end } = spanOfQuestion(questionBefore({ ...LIVE, lengthMs }, now), now);
        expect(end).toBeGreaterThanOrEqual(now - lengthMs);
      }
    },
  );

  it.each(RANGES.map(({ key, ms }) => [key, ms] as const))(
    "of the last %s is there from its beginning, so that the faint line has no hole on the left",
    (_, lengthMs) => {
      for (let ms = 0; ms < lengthMs; ms += lengthMs / 97) {
        const now = NOW + Math.round(ms);
        const { start } = spanOfQuestion(questionBefore({ ...LIVE, lengthMs }, now), now);
        // More than an hour would come as minutes; so of an hour a sliver may be missing.
        const missing = lengthMs === HOUR_MS ? partOf(lengthMs) : 0;
        expect(start).toBeLessThanOrEqual(now - 2 * lengthMs + missing);
        expect(start).toBeGreaterThanOrEqual(now - 2 * lengthMs - partOf(lengthMs));
      }
    },
  );

  it.each([10_000, 5 * 60_000, HOUR_MS - 20_000, HOUR_MS - 1, HOUR_MS])(
    "of the last %d ms comes as snapshots where the window shown does",
    (lengthMs) => {
      for (let ms = 0; ms < HOUR_MS; ms += 7001) {
        const { start, end } = spanOfQuestion(
          questionBefore({ ...LIVE, lengthMs }, NOW + ms),
          NOW + ms,
        );
        expect(end - start).toBeLessThanOrEqual(HOUR_MS);
      }
    },
  );

  it.each(RANGES.map(({ key, ms }) => [key, ms] as const))(
    "of the last %s is asked for in whole milliseconds, which the service takes",
    (_, lengthMs) => {
      for (let ms = 0; ms < lengthMs; ms += lengthMs / 97) {
        const now = NOW + Math.round(ms);
        const { start, end } = spanOfQuestion(questionBefore({ ...LIVE, lengthMs }, now), now);
        expect([start, end].every(Number.isSafeInteger)).toBe(true);
      }
    },
  );
});

describe("the key of a question", () => {
  it("is the same for the same question", () => {
    expect(keyOf({ ...LIVE, variants: [...LIVE.variants] })).toBe(keyOf(LIVE));
  });

  it.each([
    ["variant", { variant: "canary" }],
    ["set of variants", { variants: ["production"] }],
    ["order of variants", { variants: ["canary", "production"] }],
    ["length", { lengthMs: 300_000 }],
    ["end", { end: NOW }],
    ["end by a millisecond", { end: NOW + 1 }],
    ["end at the epoch", { end: 0 }],
  ])("is another for another %s, so that the answer is not taken for this one's", (_, change) => {
    expect(keyOf({ ...LIVE, ...change })).not.toBe(keyOf(LIVE));
  });
});
