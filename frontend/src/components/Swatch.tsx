import { dashOf } from "../lib/theme";

/** A piece of line in a variant's pattern. */
export function DashSwatch({ index }: { readonly index: number }) {
  return (
    <svg aria-hidden="true" className="h-2 w-6 shrink-0" viewBox="0 0 24 8">
      <path
        d="M0 4h24"
        stroke="currentColor"
        strokeWidth="2"
        strokeDasharray={dashOf(index).join(" ") || undefined}
      />
    </svg>
  );
}
