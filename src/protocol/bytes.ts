/** Text as bytes and bytes as text; whether a value is bytes, and what it is instead, in words.
 * @module */

/** Encodes text. */
export const utf8: TextEncoder = new TextEncoder();

/** Decodes text as it is: a byte order mark stays, and what is no UTF-8 becomes U+FFFD. */
export const fromUtf8: TextDecoder = new TextDecoder("utf-8", { ignoreBOM: true });

/** Tells which typed array it is, whatever its prototype; undefined of everything else. */
const arrayName = Object.getOwnPropertyDescriptor(
  Object.getPrototypeOf(Uint8Array.prototype),
  Symbol.toStringTag,
)!.get!;

/** Whether it is a Uint8Array: ours, or one of another realm, as a `node:vm` context or a test runner makes them. */
export function isBytes(value: unknown): value is Uint8Array {
  return value instanceof Uint8Array || arrayName.call(value) === "Uint8Array";
}

/** What a value is, such as "null", "an array" or "a Blob"; nothing of what it holds, which may be a secret. */
export function kindOf(value: unknown): string {
  if (value === null || value === undefined) return `${value}`;
  if (Array.isArray(value)) return "an array";
  const name: unknown = typeof value === "object" ? value.constructor?.name : typeof value;
  if (typeof name !== "string" || name === "" || name === "Object") return "an object";
  return `${/^[AEIO]/.test(name) ? "an" : "a"} ${name}`;
}
