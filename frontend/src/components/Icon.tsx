const PATHS = {
  expand: "M9.5 2.5h4v4M13.5 2.5 9 7M6.5 13.5h-4v-4M2.5 13.5 7 9",
  shrink: "M13.5 6.5h-4v-4M9.5 6.5 14 2M2.5 9.5h4v4M6.5 9.5 2 14",
  table: "M2.5 3.5h11v9h-11zM2.5 6.5h11M2.5 9.5h11M6.5 3.5v9",
  image: "M2.5 3.5h11v9h-11zM3 11l3-3 2 2 2.5-2.5L13 10",
  scale: "M3 2.5v11h10.5M3.2 13C8 12.5 11 9 12.5 3",
  pause: "M5.5 3.5v9M10.5 3.5v9",
  play: "M5 3.5v9l7-4.5z",
  help: "M8 14.2A6.2 6.2 0 1 0 8 1.8a6.2 6.2 0 0 0 0 12.4M6.2 6.2c.3-2.4 3.8-2.2 3.6 0C9.6 7.4 8 7.6 8 9.1M8 11.5v.1",
  back: "M7 3.5 2.5 8 7 12.5M3 8h10.5",
} as const;

/** An icon in the colour of the text around it; screen readers get the name of its button. */
export function Icon({ name }: { readonly name: keyof typeof PATHS }) {
  return (
    <svg
      aria-hidden="true"
      className="size-4"
      viewBox="0 0 16 16"
      fill="none"
      stroke="currentColor"
      strokeWidth="1.6"
      strokeLinecap="round"
      strokeLinejoin="round"
    >
      <path d={PATHS[name]} />
    </svg>
  );
}
