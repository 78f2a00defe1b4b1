import { useEffect, useRef, useState } from "react";
import { useBoard } from "../lib/board";
import { connectionOf } from "../lib/connection";
import { formatDuration } from "../lib/time";

/** How the page stands to the service. It counts by itself, whatever else happens. */
export function ConnectionBadge() {
  const { live, config } = useBoard();
  const connection = connectionOf(
    live.streamState,
    live.ageMs(),
    config.scrape_interval,
    performance.now(),
  );
  // A live page is drawn at every tick; else the seconds have to be counted here.
  const [, count] = useState(0);
  const isLive = connection.kind === "live";
  useEffect(() => {
    if (isLive) return;
    const timer = setInterval(() => count((n) => n + 1), 1000);
    return () => clearInterval(timer);
  }, [isLive]);
  const isTrouble = connection.kind === "stale" || connection.kind === "reconnecting";
  return (
    <div
      data-connection={connection.kind}
      className={`flex items-center gap-2 rounded-full px-2.5 py-0.5 text-[13px] ${isTrouble ? "bg-warning text-warning-ink" : "text-muted"}`}
    >
      {connection.kind === "live" && <Pulse beat={live.newest()} />}
      {isTrouble && <span aria-hidden="true">▲</span>}
      <span className="whitespace-nowrap">{words()}</span>
      {connection.kind === "reconnecting" && (
        <button type="button" className="underline" onClick={() => live.open()}>
          retry now
        </button>
      )}
    </div>
  );

  function words(): string {
    switch (connection.kind) {
      case "live":
        return "live";
      case "paused":
        return "paused";
      case "connecting":
        return "connecting …";
      case "reconnecting":
        return `reconnecting in ${connection.inSeconds} s`;
      case "stale":
        return `stale: last data ${formatDuration(connection.ageMs)} ago`;
    }
  }
}

const BEAT_MS = 300;

/** A dot that beats once whenever `beat` changes. */
function Pulse({ beat }: { readonly beat: number | null }) {
  const dot = useRef<HTMLSpanElement>(null);
  useEffect(() => {
    if (beat === null) return;
    dot.current?.classList.add("pulse");
    const timer = setTimeout(() => dot.current?.classList.remove("pulse"), BEAT_MS);
    return () => clearTimeout(timer);
  }, [beat]);
  return <span ref={dot} aria-hidden="true" className="size-2 rounded-full bg-good" />;
}
