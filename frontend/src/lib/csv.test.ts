import { describe, expect, it } from "vitest";
import { fileName, isoTime, toCsv } from "./csv";

/** The fields of a CSV file, read as RFC 4180 says. */
function parse(text: string): string[][] {
  const rows: string[][] = [[]];
  let [field, isQuoted] = ["", false];
  for (let i = 0; i < text.length; i += 1) {
    const char = text[i];
    if (isQuoted) {
      if (char !== '"') field += char;
      else if (text[i + 1] === '"') {
        field += '"';
        i += 1;
      } else isQuoted = false;
    } else if (char === '"') isQuoted = true;
    else if (char === "," || char === "\n") {
      rows.at(-1)?.push(field);
      field = "";
      if (char === "\n" && i < text.length - 1) rows.push([]);
    } else if (char !== "\r") field += char;
  }
  return rows;
}

describe("a CSV file", () => {
  it("has a header, a line per row, and CRLF after each", () => {
    const text = toCsv(
      ["time", "value"],
      [
        ["2026-11-23T14:05:09Z", 1.5],
        ["later", 0],
      ],
    );
    expect(text).toBe("time,value\r\n2026-11-23T14:05:09Z,1.5\r\nlater,0\r\n");
  });

  it("has empty fields for what is not known, and a zero for zero", () => {
    expect(toCsv(["a", "b", "c"], [[null, undefined, 0]])).toBe("a,b,c\r\n,,0\r\n");
  });

  it("has only a header without rows", () => {
    expect(toCsv(["a"], [])).toBe("a\r\n");
  });

  it.each([
    ["a comma", "a,b"],
    ["quotes", 'say "yes"'],
    ["only a quote", '"'],
    ["a line break", "a\nb"],
    ["spaces at the ends", " a "],
    ["letters of other languages", "größe – ∞"],
  ])("can be read again with %s in a name", (_, name) => {
    expect(parse(toCsv([name, "x"], [[name, 1]]))).toEqual([
      [name, "x"],
      [name, "1"],
    ]);
  });

  it("quotes a carriage return", () => {
    expect(toCsv(["a\rb"], [])).toBe('"a\rb"\r\n');
  });

  it("has the twelve digits of a number that the service's have", () => {
    expect(toCsv(["x"], [[0.1 + 0.2], [1e21], [123456789012]])).toBe(
      "x\r\n0.3\r\n1e+21\r\n123456789012\r\n",
    );
  });
});

describe("times in files", () => {
  it.each([
    [Date.UTC(2026, 10, 23, 14, 5, 9), "2026-11-23T14:05:09Z"],
    [Date.UTC(2026, 10, 23, 14, 5, 9, 120), "2026-11-23T14:05:09.120Z"],
    [0, "1970-01-01T00:00:00Z"],
  ])("are in UTC, wherever the user is: %i", (ms, text) => {
    expect(isoTime(ms)).toBe(text);
    expect(Date.parse(text)).toBe(ms);
  });

  it.each([
    [Date.UTC(2026, 10, 23, 14, 5, 9), "zaidash-latency-20261123T140509Z.csv"],
    [Date.UTC(2026, 10, 23, 14, 5, 9, 137), "zaidash-latency-20261123T140509Z.csv"],
  ])("are part of the name of a download, without characters file systems refuse", (ms, name) => {
    expect(fileName("latency", ms, "csv")).toBe(name);
  });
});
