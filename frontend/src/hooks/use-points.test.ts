import { describe, expect, it } from "vitest";
import { pointsFor } from "./use-points";

describe("the number of rows asked for", () => {
  it.each([
    ["a phone", 360, false, 720],
    ["a tablet, one column", 1000, false, 960],
    ["a laptop, two columns", 1280, false, 720],
    ["the same with one panel on the full screen", 1280, true, 1200],
    ["a wide screen", 1920, false, 960],
    ["4K", 3840, false, 1920],
    ["4K with one panel on the full screen", 3840, true, 1920],
  ])("fits %s", (_, pagePx, isFull, points) => {
    expect(pointsFor(pagePx, isFull)).toBe(points);
  });

  it("does not change with every pixel that the window's edge is moved", () => {
    const asked = new Set<number>();
    for (let pagePx = 1024; pagePx < 1224; pagePx += 1) asked.add(pointsFor(pagePx, false));
    expect(asked.size).toBeLessThanOrEqual(2);
  });

  it("is a number the service takes, whatever the screen", () => {
    for (const pagePx of [0, 1, 320, 1023, 1024, 7680, 100_000]) {
      for (const isFull of [true, false]) {
        const points = pointsFor(pagePx, isFull);
        expect(points).toBeGreaterThanOrEqual(720);
        expect(points).toBeLessThanOrEqual(2000);
        expect(points % 120).toBe(0);
      }
    }
  });
});
