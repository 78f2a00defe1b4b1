import { type FormEvent, memo, useEffect, useState } from "react";
import { changeView } from "../hooks/use-view";
import { useChoices } from "../lib/board";
import { THEMES } from "../lib/theme";
import {
  formatDuration,
  fromLocalInput,
  RANGES,
  type RangeKey,
  type Span,
  toLocalInput,
} from "../lib/time";
import { SHORTEST_MS, spanOf } from "../lib/view";
import { ConnectionBadge } from "./ConnectionBadge";
import { Icon } from "./Icon";
import { IconButton } from "./IconButton";

/** Name, connection, and all the choices that hold for the whole page. */
export const Header = memo(function Header({ onHelp }: { readonly onHelp: () => void }) {
  const { config, view, live } = useChoices();
  const [isCustom, setIsCustom] = useState(false);
  const isPaused = view.pausedAt !== null;
  return (
    <header className="border-b border-line bg-card px-3 py-2 lg:sticky lg:top-0 lg:z-20 lg:px-4">
      <div className="flex flex-wrap items-center gap-x-3 gap-y-2">
        <h1 className="text-base font-bold">
          zaidash <span className="text-xs font-normal text-muted">{config.version}</span>
        </h1>
        <ConnectionBadge />
        <div className="flex flex-wrap items-center gap-2 lg:ml-auto">
          {config.variants.length > 1 && <VariantSwitch />}
          <fieldset className="segments" aria-label="Time range">
            {RANGES.map(({ key, words }) => (
              <button
                key={key}
                type="button"
                aria-pressed={view.window === null && view.range === key}
                aria-label={`Last ${words}`}
                onClick={() => {
                  setIsCustom(false);
                  changeView({ range: key, window: null });
                }}
              >
                {key}
              </button>
            ))}
            <button
              type="button"
              aria-pressed={view.window !== null}
              aria-expanded={isCustom}
              onClick={() => setIsCustom(!isCustom)}
            >
              custom
            </button>
          </fieldset>
          <button
            type="button"
            className="button"
            aria-pressed={isPaused}
            title="Space"
            onClick={() => changeView({ pausedAt: isPaused ? null : live.pauseAt() })}
          >
            {isPaused ? <Icon name="play" /> : <Icon name="pause" />}
            {isPaused ? "resume" : "pause"}
          </button>
          <button
            type="button"
            className="button"
            aria-pressed={view.isComparing}
            title="Draw the equally long window before, faintly"
            onClick={() => changeView({ isComparing: !view.isComparing })}
          >
            compare with before
          </button>
          <label className="flex items-center">
            <span className="sr-only">Theme</span>
            <select
              className="field"
              value={view.theme}
              onChange={(event) => changeView({ theme: event.target.value as never })}
            >
              {THEMES.map((theme) => (
                <option key={theme}>{theme}</option>
              ))}
            </select>
          </label>
          <IconButton
            icon="help"
            title="Keyboard (?)"
            label="Keyboard shortcuts"
            onClick={onHelp}
          />
        </div>
      </div>
      {isCustom && <CustomWindow onDone={() => setIsCustom(false)} />}
      {view.window && <WindowBar window={view.window} range={view.range} />}
    </header>
  );
});

function VariantSwitch() {
  const { config, view } = useChoices();
  const { variants } = config;
  return (
    <fieldset className="segments" aria-label="Variant">
      {variants.map((variant) => (
        <button
          key={variant}
          type="button"
          aria-pressed={view.variant === variant}
          onClick={() => changeView({ variant })}
        >
          {variant}
        </button>
      ))}
      <button
        type="button"
        aria-pressed={view.variant === null}
        onClick={() => changeView({ variant: null })}
      >
        {variants.length === 2 ? "both" : "all"}
      </button>
    </fieldset>
  );
}

/** Two fields for a window of one's own. */
function CustomWindow({ onDone }: { readonly onDone: () => void }) {
  const { view, config, live } = useChoices();
  const span = spanOf(view, live.now());
  const keptMs = Math.max(config.retention_1m, config.retention_5s) * 1000;
  const [start, setStart] = useState(toLocalInput(span.start));
  const [end, setEnd] = useState(toLocalInput(span.end));
  const [problem, setProblem] = useState<string | null>(null);
  const submit = (event: FormEvent) => {
    event.preventDefault();
    const [from, to] = [fromLocalInput(start), fromLocalInput(end)];
    if (from === null || to === null) setProblem("Enter both times.");
    else if (to - from < SHORTEST_MS) {
      setProblem(`The end has to be ${SHORTEST_MS / 1000} s or more after the beginning.`);
    } else if (from > live.now()) {
      setProblem("The beginning lies in the future.");
    } else if (to < live.now() - keptMs) {
      setProblem(`Nothing is kept for longer than ${formatDuration(keptMs)}.`);
    } else {
      changeView({ window: { start: Math.max(from, 0), end: to } });
      onDone();
    }
  };
  return (
    <form className="mt-2 flex flex-wrap items-center gap-2" onSubmit={submit} noValidate>
      <label className="flex items-center gap-1.5">
        from
        <input
          className="field"
          type="datetime-local"
          step="1"
          value={start}
          onChange={(event) => setStart(event.target.value)}
        />
      </label>
      <label className="flex items-center gap-1.5">
        to
        <input
          className="field"
          type="datetime-local"
          step="1"
          value={end}
          onChange={(event) => setEnd(event.target.value)}
        />
      </label>
      <button type="submit" className="button">
        show
      </button>
      {problem && (
        <span role="alert" className="text-critical-ink">
          {problem}
        </span>
      )}
    </form>
  );
}

/** Says that the page does not move on, and leads back. */
function WindowBar({ window, range }: { readonly window: Span; readonly range: RangeKey }) {
  const [from, to] = [window.start, window.end].map((ms) => toLocalInput(ms).replace("T", " "));
  useEffect(() => {
    document.title = `zaidash ${from}`;
    return () => {
      document.title = "zaidash";
    };
  }, [from]);
  return (
    <p className="mt-2 flex flex-wrap items-center gap-x-3 gap-y-1">
      <span>
        Fixed window: <time>{from}</time> to <time>{to}</time>
      </span>
      <button type="button" className="button" onClick={() => changeView({ window: null })}>
        <Icon name="back" />
        back to the last {range}
      </button>
    </p>
  );
}
