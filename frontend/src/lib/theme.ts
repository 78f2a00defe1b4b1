/** What the user may choose; `system` follows the machine. */
export const THEMES = ["system", "light", "dark"] as const;
export type ThemeChoice = (typeof THEMES)[number];
export type Theme = "light" | "dark";

/**
 * The colours of charts. Lines have a contrast of 3:1 and more to the card they lie on, and
 * neighbours differ in lightness as well as in hue, so they stay apart without seeing red and green.
 */
const COLOURS = {
  light: {
    card: "#ffffff",
    ink: "#1b2430",
    muted: "#566273",
    grid: "#e4e8ee",
    blue: "#1565c0",
    sky: "#0b8ab8",
    orange: "#c2570c",
    purple: "#8e3fb3",
    green: "#23813f",
    grey: "#6b7685",
    red: "#c2262e",
    amber: "#a56a00",
    ok: ["#23813f", "#4d9c3a", "#0f5c28", "#2f9e7e"],
    redirect: ["#1565c0", "#4b8ede", "#0c4180", "#6f7fe0"],
    client: ["#b87400", "#d08316", "#8a5500", "#a08400"],
    server: ["#c2262e", "#e2605f", "#8c1119", "#d4477f"],
    other: ["#6b7685", "#8a94a0"],
    heat: ["#dcebfa", "#08306b"],
  },
  dark: {
    card: "#171c24",
    ink: "#e6eaf0",
    muted: "#a0abba",
    grid: "#2a323d",
    blue: "#5aa6f5",
    sky: "#4cc6e8",
    orange: "#f59a4a",
    purple: "#cf8bf0",
    green: "#56c271",
    grey: "#97a2b1",
    red: "#f2726f",
    amber: "#e0a72e",
    ok: ["#3fa65c", "#74cb8b", "#2f8f4c", "#a9e3b8"],
    redirect: ["#5aa6f5", "#8fc4fa", "#3f8ad8", "#c3e0fd"],
    client: ["#f0b73f", "#c98a10", "#f8d68c", "#a87a2a"],
    server: ["#f2726f", "#d9494b", "#f9aaa6", "#c8406a"],
    other: ["#97a2b1", "#7a8695"],
    heat: ["#1d2c40", "#9fd3ff"],
  },
} as const;

export type Colours = (typeof COLOURS)[Theme];
/** The name of a line's colour. */
export type ColourName = {
  [name in keyof Colours]: Colours[name] extends string ? name : never;
}[keyof Colours];

export function coloursOf(theme: Theme): Colours {
  return COLOURS[theme];
}

const CLASSES = { 2: "ok", 3: "redirect", 4: "client", 5: "server" } as const;

/** Colours of status codes: a family per class, a shade per code within it. */
export function statusColours(codes: readonly string[], theme: Theme): Map<string, string> {
  const used = new Map<string, number>();
  return new Map(
    codes.map((code) => {
      const family = CLASSES[code[0] as unknown as keyof typeof CLASSES] ?? "other";
      const count = used.get(family) ?? 0;
      used.set(family, count + 1);
      const shades = COLOURS[theme][family];
      return [code, shades[count % shades.length] ?? shades[0]];
    }),
  );
}

/** Line patterns of variants, in px: the first solid, the second dashed, … */
const DASHES = [[], [7, 4], [2, 3], [10, 3, 2, 3], [14, 4], [4, 8]] as const;

export function dashOf(variantIndex: number): number[] {
  return [...(DASHES[variantIndex % DASHES.length] ?? [])];
}

/** `steps` colours from the palest to the strongest of a heat map. */
export function heatColours(theme: Theme, steps: number): [number, number, number][] {
  const [from, to] = COLOURS[theme].heat.map(channels) as [number[], number[]];
  return Array.from({ length: steps }, (_, step) => {
    const share = steps === 1 ? 1 : step / (steps - 1);
    return from.map((low, i) => Math.round(low + ((to[i] ?? low) - low) * share)) as [
      number,
      number,
      number,
    ];
  });
}

function channels(colour: string): number[] {
  return [1, 3, 5].map((at) => Number.parseInt(colour.slice(at, at + 2), 16));
}

/** The same colour, partly transparent. */
export function fade(colour: string, alpha: number): string {
  return `rgba(${channels(colour).join(", ")}, ${alpha})`;
}
