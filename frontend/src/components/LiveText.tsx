import { useRef } from "react";
import { useEachTick } from "../hooks/use-tick";
import { NOTHING } from "../lib/format";
import type { Live } from "../lib/live";

/** How wide a letter is beside a digit, which is one `ch`: points, spaces and slashes are narrow. */
const CH_A_LETTER = 0.9;

interface Props {
  /** What it says at this tick. */
  readonly tell: (live: Live) => string;
  /** Whether it is in sight: where it is not, it only says whether there is a figure, not each one. */
  readonly isSeen?: boolean;
}

/**
 * Text that follows the ticks: written in place, since React would compare half the page to find the
 * letters that change, and in a box as wide as the longest text yet, so that none else is laid out.
 */
export function LiveText({ tell, isSeen = true }: Props) {
  const box = useRef<HTMLSpanElement>(null);
  const longest = useRef(0);
  useEachTick((live) => {
    if (!box.current) return;
    const text = box.current.firstChild ?? box.current.appendChild(new Text());
    const words = tell(live);
    const hadFigure = text.nodeValue !== "" && text.nodeValue !== NOTHING;
    if (text.nodeValue === words || (!isSeen && hadFigure && words !== NOTHING)) return;
    text.nodeValue = words;
    if (words.length > longest.current) {
      longest.current = words.length;
      box.current.style.width = `${CH_A_LETTER * words.length}ch`;
    }
  });
  return <span ref={box} className="live-box live-text" />;
}
