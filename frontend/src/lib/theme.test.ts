import { describe, expect, it } from "vitest";
import type { Snapshot } from "../api/types";
import { concurrency } from "../panels/concurrency";
import { errors } from "../panels/errors";
import { latency } from "../panels/latency";
import { rateLimit } from "../panels/rate-limit";
import { requests } from "../panels/requests";
import { sizes } from "../panels/sizes";
import { FIELD_GROUPS } from "../panels/spec";
import { tokens } from "../panels/tokens";
import { chartOf } from "./chart-data";
import { coloursOf, dashOf, fade, heatColours, statusColours, type Theme } from "./theme";
import { Timeline } from "./timeline";

const THEMES: readonly Theme[] = ["light", "dark"];
const CODES = ["200", "201", "204", "301", "302", "304", "400", "401", "404", "429", "500", "502",
  "503", "504"]; // biome-ignore format: by class

function channelsOf(colour: string): [number, number, number] {
  expect(colour).toMatch(/^#[0-9a-f]{6}$/);
  return [1, 3, 5].map((at) => Number.parseInt(colour.slice(at, at + 2), 16)) as never;
}

/** Relative luminance, https://www.w3.org/TR/WCAG21/#dfn-relative-luminance */
function luminanceOf(colour: string): number {
  const [red = 0, green = 0, blue = 0] = channelsOf(colour).map((channel) => {
    const share = channel / 255;
    return share <= 0.04045 ? share / 12.92 : ((share + 0.055) / 1.055) ** 2.4;
  });
  return 0.2126 * red + 0.7152 * green + 0.0722 * blue;
}

/** https://www.w3.org/TR/WCAG21/#dfn-contrast-ratio */
function contrast(one: string, other: string): number {
  const [dark = 0, light = 0] = [luminanceOf(one), luminanceOf(other)].sort((a, b) => a - b);
  return (light + 0.05) / (dark + 0.05);
}

/** In degrees: 0 red, 60 yellow, 120 green, 240 blue. */
function hueOf(colour: string): number {
  const [red, green, blue] = channelsOf(colour);
  const most = Math.max(red, green, blue);
  const range = most - Math.min(red, green, blue);
  if (most === red) return (60 * ((green - blue) / range) + 360) % 360;
  return most === green ? 60 * ((blue - red) / range) + 120 : 60 * ((red - green) / range) + 240;
}

it("computes the contrast as the standard does", () => {
  expect(contrast("#000000", "#ffffff")).toBeCloseTo(21, 9);
  expect(contrast("#ffffff", "#ffffff")).toBe(1);
  expect(contrast("#767676", "#ffffff")).toBeCloseTo(4.54, 2);
});

describe.each(THEMES)("in the %s theme", (theme) => {
  const colours = coloursOf(theme);

  it.each(["ink", "muted"] as const)("text in %s can be read", (name) => {
    expect(contrast(colours[name], colours.card)).toBeGreaterThanOrEqual(4.5);
  });

  it.each(["blue", "sky", "orange", "purple", "green", "grey", "red", "amber"] as const)(
    "a line in %s stands out from the card",
    (name) => {
      expect(contrast(colours[name], colours.card)).toBeGreaterThanOrEqual(3);
    },
  );

  it.each(CODES)(
    "the first and only code %s stands out from the card, as line and swatch",
    (code) => {
      const colour = statusColours([code], theme).get(code) ?? "";
      expect(contrast(colour, colours.card)).toBeGreaterThanOrEqual(3);
    },
  );

  it.each([requests, latency, tokens, concurrency, rateLimit, errors, sizes])(
    "every line of the canary in panel $id stands out from the card",
    (panel) => {
      const fields = FIELD_GROUPS[panel.group];
      const snapshot = {
        timestamp: 1_000_000,
        variant: "canary",
        ...Object.fromEntries(fields.map((field) => [field, 1])),
        status_code_rates: Object.fromEntries(CODES.map((code) => [code, 1])),
      } as Snapshot;
      const sources = ["production", "canary"].map((variant, index) => {
        const timeline = new Timeline(fields, 5000, 5000, 12_500);
        timeline.append([snapshot]);
        return { variant, index, timeline, shiftMs: 0 };
      });
      const span = { start: 0, end: 2_000_000 };
      const { lines } = chartOf(panel, sources, span, {
        theme,
        hidden: new Set(),
        isLogarithmic: false,
      });
      const drawn = lines.filter(({ width, variant }) => width > 0 && variant === "canary");
      expect(drawn.length).toBeGreaterThan(1);
      const faint = drawn.filter(({ colour }) => contrast(colour, colours.card) < 3);
      expect(faint.map(({ label, colour }) => `${label} ${colour}`)).toEqual([]);
    },
  );

  it.each([
    ["2xx green", ["200", "201", "204", "206"], 90, 170],
    ["3xx blue", ["301", "302", "304", "307"], 195, 255],
    ["4xx amber", ["400", "401", "404", "429"], 20, 60],
    ["5xx red", ["500", "502", "503", "504"], 330, 390],
  ])("status codes have the colours of their class: %s", (_, codes, least, most) => {
    const found = statusColours([...codes, "000"], theme);
    for (const code of codes) {
      const hue = hueOf(found.get(code) ?? "");
      expect(hue < least ? hue + 360 : hue).toBeGreaterThanOrEqual(least);
      expect(hue < least ? hue + 360 : hue).toBeLessThanOrEqual(most);
    }
    expect(new Set(codes.map((code) => found.get(code))).size).toBe(codes.length);
  });

  it("codes beyond the shades of a class, and codes of no class, have a colour too", () => {
    const codes = ["200", "201", "202", "203", "204", "0", "", "abc", "999"];
    const found = statusColours(codes, theme);
    for (const code of codes) expect(found.get(code)).toMatch(/^#[0-9a-f]{6}$/);
  });

  it("a heat map goes from pale to strong, each step nearer to the end", () => {
    const steps = heatColours(theme, 64).map(
      (rgb) => `#${rgb.map((channel) => channel.toString(16).padStart(2, "0")).join("")}`,
    );
    expect(steps).toHaveLength(64);
    expect(steps[0]).toBe(colours.heat[0]);
    expect(steps.at(-1)).toBe(colours.heat[1]);
    const fromCard = steps.map((colour) => contrast(colour, colours.card));
    for (let i = 1; i < 64; i += 1) {
      expect(fromCard[i]).toBeGreaterThanOrEqual((fromCard[i - 1] ?? 0) * 0.999);
    }
    expect(heatColours(theme, 1)).toEqual([channelsOf(colours.heat[1])]);
  });
});

describe("variants", () => {
  it("are told apart by their dashes: the first solid, the second dashed", () => {
    expect(dashOf(0)).toEqual([]);
    expect(dashOf(1).length).toBeGreaterThan(0);
    const patterns = [0, 1, 2, 3, 4, 5].map((index) => dashOf(index).join(" "));
    expect(new Set(patterns).size).toBe(patterns.length);
  });

  it("have a dash each however many there are, and one that may be changed", () => {
    for (let index = 0; index < 20; index += 1) expect(Array.isArray(dashOf(index))).toBe(true);
    dashOf(1).push(99);
    expect(dashOf(1)).not.toContain(99);
  });
});

it("makes a colour partly transparent", () => {
  expect(fade("#0b8ab8", 0.4)).toBe("rgba(11, 138, 184, 0.4)");
});
