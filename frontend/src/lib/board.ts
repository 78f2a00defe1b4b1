import { type Context, createContext, useContext } from "react";
import type { Config, Summary, TargetReport } from "../api/types";
import type { History, Question } from "../hooks/use-history";
import type { Polled } from "../hooks/use-poll";
import type { FieldGroup } from "../panels/spec";
import type { Live } from "./live";
import type { Colours, Theme } from "./theme";
import type { View } from "./view";

/** What changes only when the user chooses something. */
export interface Choices {
  readonly live: Live;
  readonly config: Config;
  readonly view: View;
  /** The variants shown. */
  readonly variants: readonly string[];
}

/** What all parts of the page draw from, but for what changes with every tick: see `useLive`. */
export interface Board extends Choices {
  readonly choices: Choices;
  readonly theme: Theme;
  readonly colours: Colours;
  /** What the user asked for. */
  readonly question: Question;
  readonly histories: Readonly<Record<FieldGroup, History>>;
  /** The window before, where the user compares. */
  readonly before: Readonly<Partial<Record<FieldGroup, History>>>;
  /** By variant; null until they are known. */
  readonly summaries: ReadonlyMap<string, Summary> | null;
  /** Why the last request for them failed. */
  readonly summaryError: string | null;
  /** Why the service is not ready, an empty list where it is. */
  readonly readiness: Polled<readonly string[]>;
}

/** How every target does. It is never the same twice, which is nothing to most of the page. */
export type Targets = Polled<readonly TargetReport[]>;

const BoardContext = createContext<Board | null>(null);
const ChoicesContext = createContext<Choices | null>(null);
const TargetsContext = createContext<Targets | null>(null);
export const BoardProvider = BoardContext.Provider;
export const ChoicesProvider = ChoicesContext.Provider;
export const TargetsProvider = TargetsContext.Provider;

export function useBoard(): Board {
  return useInside(BoardContext);
}

/** For what need not be drawn anew at every tick. */
export function useChoices(): Choices {
  return useInside(ChoicesContext);
}

export function useTargets(): Targets {
  return useInside(TargetsContext);
}

function useInside<T>(context: Context<T | null>): T {
  const value = useContext(context);
  if (value === null) throw new Error("outside of the dashboard");
  return value;
}
