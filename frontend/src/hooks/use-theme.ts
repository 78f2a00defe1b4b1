import { useSyncExternalStore } from "react";
import type { Theme, ThemeChoice } from "../lib/theme";

const DARK_QUERY = "(prefers-color-scheme: dark)";

/** The theme a choice comes to now. */
export function useTheme(choice: ThemeChoice): Theme {
  const isSystemDark = useSyncExternalStore(
    (onChange) => {
      const query = window.matchMedia(DARK_QUERY);
      query.addEventListener("change", onChange);
      return () => query.removeEventListener("change", onChange);
    },
    () => window.matchMedia(DARK_QUERY).matches,
  );
  if (choice !== "system") return choice;
  return isSystemDark ? "dark" : "light";
}
