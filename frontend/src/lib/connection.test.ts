import { describe, expect, it } from "vitest";
import { connectionOf, isFresh, retryDelayMs } from "./connection";

describe("the wait before the next attempt", () => {
  it("grows from a second to half a minute and stays there", () => {
    const delays = Array.from({ length: 12 }, (_, attempt) => retryDelayMs(attempt, 0.5));
    expect(delays.slice(0, 6)).toEqual([1000, 2000, 4000, 8000, 15_000, 30_000]);
    expect(new Set(delays.slice(5))).toEqual(new Set([30_000]));
  });

  it("is spread by a quarter to both sides, so that not all pages come at once", () => {
    for (let attempt = 0; attempt < 10; attempt += 1) {
      const middle = retryDelayMs(attempt, 0.5);
      expect(retryDelayMs(attempt, 0)).toBeCloseTo(0.75 * middle, 6);
      expect(retryDelayMs(attempt, 1)).toBeCloseTo(1.25 * middle, 6);
    }
  });
});

describe("what the header says", () => {
  const now = 1_000_000;
  it.each([
    ["paused while the stream is closed", { kind: "closed" }, 0, { kind: "paused" }],
    ["connecting at first", { kind: "connecting" }, null, { kind: "connecting" }],
    [
      "the seconds to the next attempt",
      { kind: "waiting", retryAt: now + 4000 },
      0,
      { kind: "reconnecting", inSeconds: 4 },
    ],
    [
      "the last second until it is over",
      { kind: "waiting", retryAt: now + 1 },
      0,
      { kind: "reconnecting", inSeconds: 1 },
    ],
    [
      "never a negative wait",
      { kind: "waiting", retryAt: now - 500 },
      0,
      { kind: "reconnecting", inSeconds: 0 },
    ],
    ["live with fresh data", { kind: "open" }, 4000, { kind: "live" }],
    ["waiting for the first snapshot", { kind: "open" }, null, { kind: "waiting" }],
    ["live on the edge", { kind: "open" }, 20_000, { kind: "live" }],
    ["stale, and for how long", { kind: "open" }, 45_000, { kind: "stale", ageMs: 45_000 }],
  ] as const)("is %s", (_, stream, ageMs, expected) => {
    expect(connectionOf(stream, ageMs, 5, now)).toEqual(expected);
  });
});

describe("a snapshot", () => {
  it.each([
    ["this moment", 0, true],
    ["three ticks ago", 15_000, true],
    ["three ticks and a slow scrape ago", 19_999, true],
    ["more than four ticks ago", 20_001, false],
  ])("of %s: fresh is %s", (_, ageMs, expected) => {
    expect(isFresh(1_000_000, 1_000_000 + (ageMs as number), 5)).toBe(expected);
  });

  it("is fresh for as long as its interval is long", () => {
    expect(isFresh(0, 10_000, 1)).toBe(false);
    expect(isFresh(0, 240_000, 60)).toBe(true);
  });

  it("of a clock that is ahead is fresh", () => {
    expect(isFresh(10_000, 5000, 5)).toBe(true);
  });
});
