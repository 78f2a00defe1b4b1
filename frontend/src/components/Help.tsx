import { useEffect, useRef } from "react";
import { SHORTCUTS } from "../hooks/use-shortcuts";

/** The list of keys. */
export function Help({ onClose }: { readonly onClose: () => void }) {
  const dialog = useRef<HTMLDialogElement>(null);
  useEffect(() => dialog.current?.showModal(), []);
  return (
    <dialog
      ref={dialog}
      aria-labelledby="help-title"
      className="m-auto w-96 max-w-[95vw] rounded-lg border border-line bg-card p-4 text-ink backdrop:bg-black/50"
      onClose={onClose}
    >
      <h2 id="help-title" className="mb-2 text-base font-semibold">
        Keyboard
      </h2>
      <dl className="grid grid-cols-[auto_1fr] gap-x-4 gap-y-1">
        {SHORTCUTS.map(({ keys, does }) => (
          <div key={keys} className="contents">
            <dt>
              <kbd className="rounded border border-line bg-raised px-1.5 py-0.5 font-mono text-xs">
                {keys}
              </kbd>
            </dt>
            <dd>{does}</dd>
          </div>
        ))}
      </dl>
      <p className="mt-3 text-muted">
        Drag over a chart to zoom, double-click to return; pan with the wheel sideways or with
        Shift.
      </p>
      <form method="dialog" className="mt-3 text-right">
        <button type="submit" className="button">
          Close
        </button>
      </form>
    </dialog>
  );
}
