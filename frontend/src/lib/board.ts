import { createContext, useContext } from "react";
import type { Config, Summary, TargetReport } from "../api/types";
import type { History } from "../hooks/use-history";
import type { Polled } from "../hooks/use-poll";
import type { FieldGroup } from "../panels/spec";
import type { Live } from "./live";
import type { Colours, Theme } from "./theme";
import type { Span } from "./time";
import type { View } from "./view";

/** What all parts of the page draw from; made anew with every tick. */
export interface Board {
  readonly live: Live;
  readonly config: Config;
  readonly view: View;
  readonly theme: Theme;
  readonly colours: Colours;
  /** The service's time at this drawing, ms. */
  readonly now: number;
  /** The time the user asked for. */
  readonly span: Span & { readonly isLive: boolean };
  /** The variants shown. */
  readonly variants: readonly string[];
  readonly histories: Readonly<Record<FieldGroup, History>>;
  /** The window before, where the user compares. */
  readonly before: Readonly<Partial<Record<FieldGroup, History>>>;
  readonly summaries: Readonly<Record<string, Summary>> | null;
  readonly targets: Polled<readonly TargetReport[]>;
  /** Why the service is not ready, an empty list where it is. */
  readonly readiness: Polled<readonly string[]>;
}

const Context = createContext<Board | null>(null);
export const BoardProvider = Context.Provider;

export function useBoard(): Board {
  const board = useContext(Context);
  if (board === null) throw new Error("useBoard outside of the board");
  return board;
}
