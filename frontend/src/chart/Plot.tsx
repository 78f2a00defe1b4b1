import { type RefObject, useEffect, useLayoutEffect, useRef, useState } from "react";
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import type { Span } from "../lib/time";
import { type Tip, Tooltip } from "./tooltip";
import { type Decision, decide, type Shown } from "./update";

/** How often the window follows the wheel, ms. */
const PAN_EVERY_MS = 200;

/** How long what is out of sight waits for what is in it, ms. */
const LATER_MS = 50;

interface Size {
  readonly width: number;
  readonly height: number;
}

interface Props extends Shown {
  /** Whether it is in sight. */
  readonly isSeen: boolean;
  /** Makes the options; `span` is for uPlot to ask later, since the window moves on. */
  readonly options: (size: Size, span: () => Span) => uPlot.Options;
  /** What the tooltip says for the place of the pointer. */
  readonly tip: (chart: uPlot) => Tip | null;
  /** The wheel was turned by this share of the window. */
  readonly onPan: (share: number) => void;
  /** What the chart shows, in words. */
  readonly description: string;
  /** Holds the chart while there is one. */
  readonly chart: RefObject<uPlot | null>;
}

/** A uPlot chart that fills its element: one effect per concern. */
export function Plot(props: Props) {
  const { chart } = props;
  const element = useRef<HTMLDivElement>(null);
  const tooltip = useRef<Tooltip | null>(null);
  const shown = useRef<Shown | null>(null);
  const size = useRef<Size | null>(null);
  const later = useRef<ReturnType<typeof setTimeout>>(undefined);
  const frame = useRef(0);
  const latest = useRef(props);
  latest.current = props;
  const [failure, setFailure] = useState<{ readonly error: unknown } | null>(null);
  if (failure) throw failure.error;

  /**
   * Show what there is to show. What is out of sight comes after what is in it where there is another
   * chart to be made, and where there are only newer rows, when it comes into sight.
   */
  function catchUp(): void {
    clearTimeout(later.current);
    if (size.current === null) return;
    const decision = decide(shown.current, latest.current);
    if (latest.current.isSeen) show(decision);
    else if (decision === "create")
      later.current = setTimeout(() => besideReact(() => show(decision)), LATER_MS);
  }
  const onSize = useRef(catchUp);
  onSize.current = () => besideReact(catchUp);
  useLayoutEffect(catchUp);

  /** The chart is made again only where its shape has changed. */
  function show(decision: Decision): void {
    // Answers come to a hidden tab as well, but frames only to one that is shown.
    if (document.hidden) {
      frame.current = requestAnimationFrame(() => besideReact(catchUp));
      return;
    }
    const { shape, data, span, options } = latest.current;
    if (decision === "update") {
      chart.current?.batch(() => {
        chart.current?.setData(data, false);
        chart.current?.setScale("x", { min: span.start / 1000, max: span.end / 1000 });
      });
    } else if (decision === "create" && element.current && size.current) {
      tooltip.current?.destroy();
      chart.current?.destroy();
      const made = options(size.current, () => latest.current.span);
      made.hooks = { ...made.hooks, setCursor: [...(made.hooks?.setCursor ?? []), point] };
      chart.current = new uPlot(made, data, element.current);
      tooltip.current = new Tooltip(chart.current);
    }
    shown.current = { shape, data, span };
  }

  /** Do what React does not know of; what fails there is the panel's to tell, too. */
  function besideReact(act: () => void): void {
    try {
      act();
    } catch (error) {
      setFailure({ error });
    }
  }

  function point(u: uPlot): void {
    // All charts follow the pointer, but only the one under it speaks.
    const isHovered = u.cursor.event != null && u.over.matches(":hover");
    tooltip.current?.show(isHovered ? latest.current.tip(u) : null, latest.current.span);
  }

  // Follow the size of the element. It comes with the layout: who asks for it, for one chart after the
  // other, has all of the page laid out again for each.
  useLayoutEffect(() => {
    const parent = element.current;
    if (!parent) return;
    const observer = new ResizeObserver((entries) => {
      const { width = 0, height = 0 } = entries.at(-1)?.contentRect ?? {};
      size.current = {
        width: Math.max(Math.round(width), 1),
        height: Math.max(Math.round(height), 1),
      };
      const u = chart.current;
      if (!u) onSize.current();
      else if (u.width !== size.current.width || u.height !== size.current.height)
        u.setSize(size.current);
    });
    observer.observe(parent);
    return () => observer.disconnect();
  }, [chart]);

  // Pan with the wheel: sideways, or with Shift. A plain wheel scrolls the page.
  useEffect(() => {
    const parent = element.current;
    if (!parent) return;
    let share = 0;
    let timer: ReturnType<typeof setTimeout> | undefined;
    const move = () => {
      timer = undefined;
      latest.current.onPan(share);
      share = 0;
    };
    const onWheel = (event: WheelEvent) => {
      const isSideways = Math.abs(event.deltaX) > Math.abs(event.deltaY);
      const delta = event.shiftKey ? event.deltaY || event.deltaX : isSideways ? event.deltaX : 0;
      if (delta === 0) return;
      event.preventDefault();
      share += delta / Math.max(parent.clientWidth, 1);
      // A trackpad turns the wheel sixty times a second; each move is a question to the service.
      timer ??= setTimeout(move, PAN_EVERY_MS);
    };
    parent.addEventListener("wheel", onWheel, { passive: false });
    return () => {
      clearTimeout(timer);
      parent.removeEventListener("wheel", onWheel);
    };
  }, []);

  // Leave nothing behind.
  useEffect(
    () => () => {
      clearTimeout(later.current);
      cancelAnimationFrame(frame.current);
      tooltip.current?.destroy();
      chart.current?.destroy();
      chart.current = null;
      shown.current = null;
    },
    [chart],
  );

  return (
    <div ref={element} className="absolute inset-0" role="img" aria-label={props.description} />
  );
}
