import { useBoard, useTargets } from "../lib/board";

interface Props {
  /** The service is not the one this page was loaded from. */
  readonly isOutdated: boolean;
}

/** What is wrong, in words: targets that are down, storage that does not take anything. */
export function Banners({ isOutdated }: Props) {
  const { readiness, summaryError } = useBoard();
  const targets = useTargets();
  const reports = targets.data ?? [];
  const down = reports.filter(({ health }) => health === "down");
  const storage = (readiness.data ?? []).filter((reason) => reason.startsWith("storage"));
  return (
    <div aria-live="polite" className="grid gap-2 empty:hidden">
      {readiness.error !== null && (
        <Banner kind="critical">zaidash does not answer: {readiness.error}</Banner>
      )}
      {summaryError !== null && readiness.error === null && (
        <Banner kind="warning">
          Totals of the window and changes are missing or old: {summaryError}
        </Banner>
      )}
      {storage.map((reason) => (
        <Banner key={reason} kind="critical">
          {reason}. New data wait in memory.
        </Banner>
      ))}
      {down.map(({ url, variant, last_error }) => (
        <Banner key={`${variant} ${url}`} kind="critical">
          {variant} target {url} is down: {last_error ?? "no reason given"}
        </Banner>
      ))}
      {reports
        .filter(({ warning }) => warning)
        .map(({ url, warning }) => (
          <Banner key={url} kind="warning">
            {url}: {warning}
          </Banner>
        ))}
      {isOutdated && (
        <Banner kind="warning">
          zaidash was started anew with other settings or another version.{" "}
          <button type="button" className="underline" onClick={() => window.location.reload()}>
            Reload the page
          </button>
        </Banner>
      )}
    </div>
  );
}

function Banner(props: {
  readonly kind: "warning" | "critical";
  readonly children: React.ReactNode;
}) {
  const { kind, children } = props;
  return (
    <p
      className={`flex gap-2 rounded-md px-3 py-1.5 ${kind === "critical" ? "bg-critical text-critical-ink" : "bg-warning text-warning-ink"}`}
    >
      <span aria-hidden="true">{kind === "critical" ? "‼" : "▲"}</span>
      <span className="min-w-0 wrap-anywhere">{children}</span>
    </p>
  );
}
