import { useEffect, useState } from "react";
import { AXIS_PX } from "../chart/options";

/** From this width on, panels stand in two columns; as in the style of the page. */
const TWO_COLUMNS_PX = 1024;
/** Page margins and the borders of a card, px. */
const FRAME_PX = 60;
/** Rows are asked for in such steps, so that moving a window's edge does not ask at every pixel. */
const STEP = 120;
/** An hour has 720 ticks of 5 s: as they are, they say more than averages, and cost the service less. */
const [LEAST, MOST] = [720, 1920];

/** As many rows as a chart has pixels. */
export function pointsFor(pagePx: number, isFull: boolean): number {
  const columns = pagePx >= TWO_COLUMNS_PX && !isFull ? 2 : 1;
  const plotPx = pagePx / columns - FRAME_PX - AXIS_PX;
  return Math.min(MOST, Math.max(LEAST, Math.ceil(plotPx / STEP) * STEP));
}

export function usePoints(isFull: boolean): number {
  const [pagePx, setPagePx] = useState(window.innerWidth);
  useEffect(() => {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const onResize = () => {
      clearTimeout(timer);
      timer = setTimeout(() => setPagePx(window.innerWidth), 200);
    };
    window.addEventListener("resize", onResize);
    return () => {
      clearTimeout(timer);
      window.removeEventListener("resize", onResize);
    };
  }, []);
  return pointsFor(pagePx, isFull);
}
