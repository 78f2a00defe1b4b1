import { type RefObject, useEffect, useState } from "react";

/** How far from the edge of the window is in sight, or nearly. */
const NEARLY = "64px";

/** Whether an element is in sight, or nearly; `isFirst` until that is known. */
export function useIsSeen(element: RefObject<HTMLElement | null>, isFirst = true): boolean {
  const [isSeen, setIsSeen] = useState(isFirst);
  const [node, setNode] = useState<HTMLElement | null>(null);
  // A panel that has failed and is tried again has another element.
  useEffect(() => setNode(element.current));
  useEffect(() => {
    if (!node) return;
    const observer = new IntersectionObserver(
      (entries) => setIsSeen(entries.at(-1)?.isIntersecting ?? true),
      { rootMargin: NEARLY },
    );
    observer.observe(node);
    return () => observer.disconnect();
  }, [node]);
  return isSeen;
}
