/** Bytes as people read them: hexadecimal digits, spaced at will, and text in quotes. */
import { AssertionError } from "@std/assert";

/** `bytes('30 07 0003 "a/b" "hi"')`: the bytes; text in quotes is ASCII, `"x"*1000` repeats it. */
export function bytes(literal: string): Uint8Array {
  const found: number[] = [];
  for (const [token, text, times, digits] of literal.matchAll(/"([^"]*)"(?:\*(\d+))?|([0-9a-f]{2})|\S/g)) {
    if (digits !== undefined) found.push(Number.parseInt(digits, 16));
    else if (text === undefined) throw new Error(`Cannot read "${token}" in ${literal}`);
    else for (const char of text.repeat(Number(times ?? 1))) found.push(char.charCodeAt(0));
  }
  return Uint8Array.from(found);
}

/** The bytes in hexadecimal, two digits each. */
export function hex(value: Uint8Array): string {
  return Array.from(value, (byte) => byte.toString(16).padStart(2, "0")).join(" ");
}

export function join(parts: readonly Uint8Array[]): Uint8Array {
  const all = new Uint8Array(parts.reduce((sum, part) => sum + part.length, 0));
  let at = 0;
  for (const part of parts) {
    all.set(part, at);
    at += part.length;
  }
  return all;
}

/** Compares long strings of bytes quickly; says where they differ. */
export function assertBytes(actual: Uint8Array, expected: Uint8Array, msg = ""): void {
  const length = Math.max(actual.length, expected.length);
  let at = 0;
  while (at < length && actual[at] === expected[at]) at++;
  if (at === length) return;
  const show = (value: Uint8Array) => `${hex(value.subarray(Math.max(at - 8, 0), at + 24))} (${value.length} bytes)`;
  throw new AssertionError({ message: `${msg} at byte ${at}: ${show(actual)} instead of ${show(expected)}` });
}
