/** How much of an answer that makes no sense is shown. */
const SHOWN = 60;

/** Whether something is an object whose values all have a property. */
export function hasInEach(answer: unknown, property: string): boolean {
  const isObject = (value: unknown): value is object => typeof value === "object" && value !== null;
  return (
    isObject(answer) &&
    !Array.isArray(answer) &&
    Object.values(answer).every((value) => isObject(value) && property in value)
  );
}

/** The JSON in an answer; what is not wanted is said in words, for whoever runs what lies between. */
export function parseAnswer(
  path: string,
  text: string,
  isWanted: (answer: unknown) => boolean,
): unknown {
  let answer: unknown;
  try {
    answer = JSON.parse(text);
  } catch {
    throw new Error(`${path} answered with ${kindOf(text)}`);
  }
  if (isWanted(answer)) return answer;
  throw new Error(`${path} answered with ${excerpt(text)}, which is not from zaidash`);
}

function kindOf(text: string): string {
  const start = text.trimStart();
  if (start === "") return "nothing";
  if (start.startsWith("<")) {
    return `a web page, as a proxy or a login in between does: ${excerpt(start)}`;
  }
  if (/^[[{]/.test(start)) return `data that break off after ${text.length} characters`;
  return `something else than data: ${excerpt(start)}`;
}

function excerpt(text: string): string {
  const line = text.replace(/\s+/g, " ");
  return line.length > SHOWN ? `“${line.slice(0, SHOWN)}…”` : `“${line}”`;
}
