/** The headers that a program adds to the request for a WebSocket.
 * @module */

import type { ConnectOptions } from "../options.ts";
import { kindOf } from "../protocol/bytes.ts";
import { check, isObject } from "./checks.ts";

/** A name (RFC 9110, section 5.6.2), and a value (section 5.5), of one byte a letter. */
const NAME = /^[!#$%&'*+.^_`|~\w-]+$/, VALUE = /^[\t\x20-\x7e\x80-\xff]*$/;

/** What the request says itself, or what would make it another one. */
const OWN = /^(host|upgrade|connection|sec-websocket-.*|content-length|transfer-encoding|te|trailer|expect)$/i;

/**
 * Each name with one value. No error repeats a value, which may be a secret.
 *
 * @throws {TypeError} If something is no header, or not the program's to give.
 */
export function parseHeaders(headers: ConnectOptions["headers"] = {}): (readonly [name: string, value: string])[] {
  const isTable = isObject(headers) && !Array.isArray(headers) && !(Symbol.iterator in headers);
  check(isTable, "headers", `an object, of texts or lists of texts by name: received ${kindOf(headers)}`);
  return Object.entries(headers).flatMap(([name, given]) => {
    check(NAME.test(name), "headers", `an object whose keys are names of headers: received ${JSON.stringify(name)}`);
    check(!OWN.test(name), `headers[${JSON.stringify(name)}]`, "left out: the client says it itself");
    const values: readonly unknown[] = Array.isArray(given) ? given : given === undefined ? [] : [given];
    return values.map((value) => {
      const isText = typeof value === "string" && VALUE.test(value);
      const must = "a text, or a list of texts, without line breaks and control characters";
      check(isText, `headers[${JSON.stringify(name)}]`, `${must}, and without letters beyond Latin-1`);
      return [name, value.trim()] as const;
    });
  });
}
