import { type ReactNode, type RefObject, useEffect, useId, useRef, useState } from "react";
import { changeView } from "../hooks/use-view";
import { useChoices } from "../lib/board";
import { ErrorBoundary } from "./ErrorBoundary";
import { IconButton } from "./IconButton";

/** What a panel has instead of its content, or that the content is that of the question before. */
export type PanelState =
  | { readonly kind: "ready"; readonly isOld?: boolean }
  | { readonly kind: "loading" }
  | { readonly kind: "empty"; readonly text: string }
  | { readonly kind: "failed"; readonly error: string; readonly retry: () => void };

interface Props {
  readonly id: string;
  readonly title: string;
  readonly unit: string;
  /** Holds the card. */
  readonly card?: RefObject<HTMLElement | null>;
  readonly state: PanelState;
  /** The values now, beside the title. */
  readonly current?: ReactNode;
  readonly actions?: ReactNode;
  readonly below?: ReactNode;
  readonly isWide?: boolean;
  readonly children: ReactNode;
}

/** The panel that filled the screen last, until it is one of many again. */
let left: string | null = null;

/** A card with a title, its tools, its state and what it shows; it can fill the screen. */
export function Panel(props: Props) {
  const { id, title, unit, state, current, actions, below, isWide = false, children } = props;
  const titleId = useId();
  const isFull = useChoices().view.panel === id;
  const isOld = state.kind === "ready" && state.isOld === true;
  const own = useRef<HTMLElement>(null);
  const section = props.card ?? own;

  // Who opens a panel goes on reading there, and who leaves it, where it came from.
  useEffect(() => {
    if (isFull) {
      section.current?.focus();
      left = id;
    } else if (left === id) {
      left = null;
      section.current?.scrollIntoView({ block: "center" });
      section.current?.focus({ preventScroll: true });
    }
  }, [isFull, id, section]);

  return (
    <section
      ref={section}
      aria-labelledby={titleId}
      aria-busy={isOld}
      data-panel={id}
      tabIndex={-1}
      className={`flex min-w-0 flex-col card p-3 ${isWide && !isFull ? "lg:col-span-2" : ""}`}
    >
      {isOld && <Progress title={title} />}
      <header className="mb-1 flex flex-wrap items-center gap-x-2 gap-y-0.5">
        <h2 id={titleId} className="text-[15px] font-semibold">
          {title}
        </h2>
        <span className="text-xs text-muted">{unit}</span>
        <span className="ml-auto flex items-center gap-0.5">
          {actions}
          <IconButton
            icon={isFull ? "shrink" : "expand"}
            title={isFull ? "Back to all panels (Esc)" : "Full screen"}
            label={`${title}: ${isFull ? "back to all panels" : "full screen"}`}
            onClick={() => changeView({ panel: isFull ? null : id })}
          />
        </span>
      </header>
      {current}
      <div className="relative flex min-h-0 flex-1 flex-col">
        <ErrorBoundary name={title}>{children}</ErrorBoundary>
        <Overlay title={title} state={state} />
      </div>
      {below}
    </section>
  );
}

/** An answer that comes at once needs no word, ms. */
const SOON_MS = 150;

/** Says that the old picture waits for the new one, on the edge of the card. */
function Progress({ title }: { readonly title: string }) {
  const [isSlow, setIsSlow] = useState(false);
  useEffect(() => {
    const timer = setTimeout(() => setIsSlow(true), SOON_MS);
    return () => clearTimeout(timer);
  }, []);
  return isSlow && <div role="progressbar" aria-label={`${title}: loading`} className="progress" />;
}

function Overlay({ title, state }: { title: string; state: PanelState }) {
  if (state.kind === "ready") return null;
  return (
    <div className="absolute inset-0 z-10 grid place-items-center bg-card/80 p-3 text-center">
      {state.kind === "failed" ? (
        <div role="alert">
          <p className="font-semibold text-critical-ink">Failed</p>
          <p className="mb-2 wrap-anywhere text-muted">{state.error}</p>
          <button
            type="button"
            className="button"
            aria-label={`Retry ${title}`}
            onClick={state.retry}
          >
            Retry
          </button>
        </div>
      ) : (
        <p className="text-muted" role="status">
          {state.kind === "loading" ? "Loading …" : state.text}
        </p>
      )}
    </div>
  );
}
