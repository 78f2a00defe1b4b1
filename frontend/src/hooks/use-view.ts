import { useCallback, useSyncExternalStore } from "react";
import { formatView, isStep, parseView, type View } from "../lib/view";

let view = parseView(window.location.search);
const listeners = new Set<() => void>();

function show(next: View): void {
  view = next;
  for (const listener of listeners) listener();
}

window.addEventListener("popstate", () => show(parseView(window.location.search)));

/**
 * Change the view and the page's address with it. Larger steps are what the browser's back button
 * undoes; with `isPart`, this one belongs to the one before.
 */
export function changeView(change: Partial<View>, isPart = false): void {
  const next = { ...view, ...change };
  const { pathname, search, hash } = window.location;
  const address = pathname + formatView(next) + hash;
  if (isStep(view, next) && !isPart) window.history.pushState(null, "", address);
  else if (address !== pathname + search + hash) window.history.replaceState(null, "", address);
  show(next);
}

/** What the user looks at, as the page's address says it. */
export function useView(): View {
  return useSyncExternalStore(
    useCallback((listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    }, []),
    () => view,
  );
}
