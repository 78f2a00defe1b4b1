import { type RefObject, useEffect, useLayoutEffect, useRef } from "react";
import uPlot from "uplot";
import "uplot/dist/uPlot.min.css";
import { useIsSeen } from "../hooks/use-is-seen";
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
  const isSeen = useIsSeen(element);
  const latest = useRef(props);
  latest.current = props;

  // Show what there is to show. What is out of sight comes after what is in it where there is another
  // chart to be made, and where there are only newer rows, when it comes into sight.
  useLayoutEffect(() => {
    const decision = decide(shown.current, props);
    if (isSeen || chart.current === null) show(decision);
    else if (decision === "create") {
      const timer = setTimeout(() => show(decision), LATER_MS);
      return () => clearTimeout(timer);
    }
    return undefined;
  });

  /** The chart is made again only where its shape has changed. */
  function show(decision: Decision): void {
    const { shape, data, span, options } = latest.current;
    shown.current = { shape, data, span };
    if (decision === "update") {
      chart.current?.batch(() => {
        chart.current?.setData(data, false);
        chart.current?.setScale("x", { min: span.start / 1000, max: span.end / 1000 });
      });
    } else if (decision === "create" && element.current) {
      tooltip.current?.destroy();
      chart.current?.destroy();
      const made = options(sizeOf(element.current), () => latest.current.span);
      made.hooks = { ...made.hooks, setCursor: [...(made.hooks?.setCursor ?? []), point] };
      chart.current = new uPlot(made, data, element.current);
      tooltip.current = new Tooltip(chart.current);
    }
  }

  function point(u: uPlot): void {
    // All charts follow the pointer, but only the one under it speaks.
    const isHovered = u.cursor.event != null && u.over.matches(":hover");
    tooltip.current?.show(isHovered ? latest.current.tip(u) : null, latest.current.span);
  }

  // Follow the size of the element.
  useEffect(() => {
    const parent = element.current;
    if (!parent) return;
    const observer = new ResizeObserver(() => {
      const size = sizeOf(parent);
      const u = chart.current;
      if (u && (u.width !== size.width || u.height !== size.height)) u.setSize(size);
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

function sizeOf(element: HTMLElement): Size {
  return { width: Math.max(element.clientWidth, 1), height: Math.max(element.clientHeight, 1) };
}
