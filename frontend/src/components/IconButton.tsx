import { Icon } from "./Icon";

interface Props {
  readonly icon: Parameters<typeof Icon>[0]["name"];
  /** What it is for, as a tooltip. */
  readonly title: string;
  /** The same for screen readers, which do not see where the button is. */
  readonly label: string;
  readonly isPressed?: boolean;
  readonly isDisabled?: boolean;
  readonly onClick: () => void;
}

/** A small button without words. */
export function IconButton({ icon, title, label, isPressed, isDisabled, onClick }: Props) {
  return (
    <button
      type="button"
      className="icon-button"
      title={title}
      aria-label={label}
      aria-pressed={isPressed}
      disabled={isDisabled}
      onClick={onClick}
    >
      <Icon name={icon} />
    </button>
  );
}
