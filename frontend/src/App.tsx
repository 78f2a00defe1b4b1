import { Fragment, memo, useCallback, useEffect, useState } from "react";
import { fetchConfig } from "./api/client";
import type { Config } from "./api/types";
import { Banners } from "./components/Banners";
import { Header } from "./components/Header";
import { Help } from "./components/Help";
import { Tiles } from "./components/Tiles";
import { useDashboard, usePolledTargets } from "./hooks/use-dashboard";
import { useNavigation } from "./hooks/use-navigation";
import { usePoll } from "./hooks/use-poll";
import { useShortcuts } from "./hooks/use-shortcuts";
import { useTheme } from "./hooks/use-theme";
import { useView } from "./hooks/use-view";
import { BoardProvider, ChoicesProvider, TargetsProvider, useChoices } from "./lib/board";
import { PANELS } from "./panels";

/** The page: first the service's settings, without which nothing can be asked. */
export function App() {
  const theme = useTheme(useView().theme);
  useEffect(() => {
    document.documentElement.dataset.theme = theme;
  }, [theme]);
  const [first, setFirst] = useState<{ config: Config; aheadMs: number } | null>(null);
  const { data, error, refresh } = usePoll("config", fetchConfig, first ? 60_000 : 2_000);
  if (data && !first) setFirst(data);
  if (first) {
    const isOutdated =
      data !== null && JSON.stringify(data.config) !== JSON.stringify(first.config);
    return (
      <Dashboard
        config={first.config}
        aheadMs={data?.aheadMs ?? first.aheadMs}
        isOutdated={isOutdated}
      />
    );
  }
  return (
    <main className="grid min-h-dvh place-items-center p-4 text-center">
      {error === null ? (
        <p role="status">Loading …</p>
      ) : (
        <div role="alert">
          <h1 className="text-lg font-semibold">zaidash does not answer</h1>
          <p className="mb-3 text-muted">{error}. Trying again every 2 s.</p>
          <button type="button" className="button" onClick={refresh}>
            Try now
          </button>
        </div>
      )}
    </main>
  );
}

interface Props {
  readonly config: Config;
  readonly aheadMs: number;
  /** The service has been started anew with other settings, or another version of it. */
  readonly isOutdated: boolean;
}

function Dashboard({ config, aheadMs, isOutdated }: Props) {
  const board = useDashboard(config, aheadMs);
  // The questions go out first, so that they are answered while the page is made.
  const [hasAsked, setHasAsked] = useState(false);
  useEffect(() => setHasAsked(true), []);
  return (
    <ChoicesProvider value={board.choices}>
      <BoardProvider value={board}>
        <PolledTargets>
          <Page>
            <Banners isOutdated={isOutdated} />
            {hasAsked && <Panels />}
          </Page>
        </PolledTargets>
      </BoardProvider>
    </ChoicesProvider>
  );
}

function PolledTargets({ children }: { readonly children: React.ReactNode }) {
  return <TargetsProvider value={usePolledTargets(useChoices().live)}>{children}</TargetsProvider>;
}

/** The figures and all panels, or the one panel that fills the screen. */
const Panels = memo(function Panels() {
  const { view } = useChoices();
  if (view.panel !== null) {
    const open = PANELS.find(({ id }) => id === view.panel);
    return <div className="grid flex-1">{open?.content}</div>;
  }
  return (
    <>
      <Tiles />
      <div className="grid grid-cols-1 gap-3 lg:grid-cols-2">
        {PANELS.map(({ id, content }) => (
          <Fragment key={id}>{content}</Fragment>
        ))}
      </div>
    </>
  );
});

function Page({ children }: { readonly children: React.ReactNode }) {
  const choices = useChoices();
  const [isHelping, setIsHelping] = useState(false);
  const { onPan } = useNavigation();
  const onHelp = useCallback(() => setIsHelping(true), []);
  useShortcuts(choices, { onPan, onHelp });
  return (
    <div className="flex min-h-dvh flex-col">
      <Header onHelp={onHelp} />
      <main className="mx-auto flex w-full max-w-[3840px] flex-1 flex-col gap-3 p-3 lg:p-4">
        {children}
      </main>
      {isHelping && <Help onClose={() => setIsHelping(false)} />}
    </div>
  );
}
