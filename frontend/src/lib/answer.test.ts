import { describe, expect, it } from "vitest";
import { hasInEach, parseAnswer } from "./answer";

const PATH = "/zaidash/api/metrics";
const isList = Array.isArray;
const reasonFor = (text: string): string => {
  try {
    parseAnswer(PATH, text, isList);
  } catch (error) {
    return (error as Error).message;
  }
  throw new Error("it was taken for an answer");
};

describe("an answer", () => {
  it("is what the JSON says", () => {
    expect(parseAnswer(PATH, '[{"a":1},null]', isList)).toEqual([{ a: 1 }, null]);
  });

  it.each([
    [
      "a login page",
      "\n<!doctype html>\n<title>Log in</title>",
      "a web page, as a proxy or a login in between does: “<!doctype html>",
    ],
    ["half of it", '{"production":{"timesta', "data that break off after 23 characters"],
    ["a list that stops", "[1,2,", "data that break off after 5 characters"],
    ["nothing", " ", "nothing"],
    ["words", "no healthy upstream", "something else than data: “no healthy upstream”"],
    ["null", "null", "“null”, which is not from zaidash"],
    ["of another kind", '{"ok":true}', '“{"ok":true}”, which is not from zaidash'],
  ])("that is %s is named with its address, in words", (_, text, words) => {
    const reason = reasonFor(text);
    expect(reason).toContain(`${PATH} answered with `);
    expect(reason).toContain(words);
    expect(reason).not.toMatch(/token|JSON|unexpected|undefined/i);
  });

  it("that is long is shown by its beginning alone, in one line", () => {
    const reason = reasonFor(`<p>\n${"x".repeat(5000)}`);
    expect(reason.length).toBeLessThan(200);
    expect(reason).toContain("“<p> xxx");
    expect(reason).not.toContain("\n");
  });
});

describe("the same property in each value", () => {
  it.each([
    ['{"production":{"timestamp":[]},"canary":{"timestamp":[1]}}', true],
    ["{}", true],
    ['{"production":{"timestamp":[]},"canary":{}}', false],
    ['{"ok":true}', false],
    ['{"ok":null}', false],
    ["[]", false],
    ["null", false],
  ])("of %s: %s", (text, wanted) => {
    expect(hasInEach(JSON.parse(text), "timestamp")).toBe(wanted);
  });
});
