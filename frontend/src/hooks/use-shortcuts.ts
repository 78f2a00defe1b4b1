import { useEffect, useRef } from "react";
import type { Choices } from "../lib/board";
import { THEMES } from "../lib/theme";
import { RANGES } from "../lib/time";
import { changeView } from "./use-view";

/** What `?` lists. */
export const SHORTCUTS = [
  { keys: "1 – 6", does: `range: ${RANGES.map(({ key }) => key).join(", ")}` },
  { keys: "p", does: "production, or the first variant" },
  { keys: "c", does: "canary, or the second variant" },
  { keys: "b", does: "both, or all variants" },
  { keys: "Space", does: "pause and resume" },
  { keys: "← →", does: "pan by a quarter of the window, up to live" },
  { keys: "Esc", does: "leave the full screen, then the window" },
  { keys: "t", does: "theme: system, light, dark" },
  { keys: "?", does: "this list" },
];

interface Actions {
  readonly onPan: (share: number) => void;
  readonly onHelp: () => void;
}

/** The page's keys; they work wherever the key is not needed for typing or choosing. */
export function useShortcuts(choices: Choices, actions: Actions): void {
  const latest = useRef({ choices, actions });
  latest.current = { choices, actions };
  useEffect(() => {
    const onKey = (event: KeyboardEvent) => {
      const target = event.target as HTMLElement;
      const isTyping = target.closest("input, select, textarea, dialog") !== null;
      const isModified = event.ctrlKey || event.metaKey || event.altKey;
      if (isTyping || isModified || event.defaultPrevented) return;
      // A focused button is pressed with the space bar, a focused list scrolled with arrows.
      if (event.key === " " && target.closest("button, a, summary")) return;
      if (event.key.startsWith("Arrow") && target.closest("[data-scrolls]")) return;
      if (perform(event.key, latest.current.choices, latest.current.actions))
        event.preventDefault();
    };
    window.addEventListener("keydown", onKey);
    return () => window.removeEventListener("keydown", onKey);
  }, []);
}

/** Does what a key asks for; false where it asks for nothing. */
function perform(key: string, choices: Choices, { onPan, onHelp }: Actions): boolean {
  const { view, config, live } = choices;
  const range = RANGES[Number(key) - 1];
  const [first, second] = config.variants;
  const variantOf = (name: string, other: string | undefined) =>
    config.variants.includes(name) ? name : other;
  if (range) changeView({ range: range.key, window: null });
  else if (key === "p") changeView({ variant: variantOf("production", first) ?? null });
  else if (key === "c") changeView({ variant: variantOf("canary", second) ?? null });
  else if (key === "b") changeView({ variant: null });
  else if (key === " ") {
    changeView({ pausedAt: view.pausedAt === null ? live.pauseAt() : null });
  } else if (key === "t") {
    changeView({ theme: THEMES[(THEMES.indexOf(view.theme) + 1) % THEMES.length] ?? "system" });
  } else if (key === "ArrowLeft") onPan(-0.25);
  else if (key === "ArrowRight") onPan(0.25);
  else if (key === "Escape") {
    if (view.panel !== null) changeView({ panel: null });
    else if (view.window !== null) changeView({ window: null });
    else return false;
  } else if (key === "?") onHelp();
  else return false;
  return true;
}
