/** Strings, topic names and topic filters that have come, checked.
 * @module */

import type { Version } from "./packet.ts";
import { broken, must, RULES } from "./rules.ts";
import { routeOf, wrongWildcard } from "./topic.ts";

const utf8 = new TextDecoder("utf-8", { fatal: true, ignoreBOM: true });

/** Whether bytes are UTF-8. */
export function isUtf8(bytes: Uint8Array): boolean {
  try {
    utf8.decode(bytes);
    return true;
  } catch {
    return false; // there is no other way to ask
  }
}

/** A UTF-8 encoded string (section 1.5.3; 1.5.4 in version 5). */
export function decodeString(bytes: Uint8Array, version: Version): string {
  let text: string;
  try {
    text = utf8.decode(bytes);
  } catch (cause) {
    throw broken("a string that is not UTF-8", RULES.utf8, version, cause);
  }
  must(!text.includes("\0"), "a string with U+0000", RULES.nul, version);
  return text;
}

/** A topic name. */
export function decodeName(bytes: Uint8Array, version: Version): string {
  const name = decodeString(bytes, version);
  must(name !== "", "an empty topic name", RULES.emptyTopic, version);
  must(!/[+#]/.test(name), "a topic name with a wildcard", RULES.wildcard, version);
  return name;
}

/** A topic filter, in version 5 perhaps of a shared subscription. */
export function decodeFilter(bytes: Uint8Array, version: Version): string {
  const filter = decodeString(bytes, version);
  must(filter !== "", "an empty topic filter", RULES.emptyTopic, version);
  if (version === 5 && filter.startsWith("$share/")) checkShare(filter);
  const wrong = wrongWildcard(filter);
  must(wrong !== "#", "a topic filter that is none", RULES.hash, version);
  must(wrong !== "+", "a topic filter that is none", RULES.plus, version);
  return filter;
}

function checkShare(filter: string): void {
  const [, name = ""] = filter.split("/");
  must(name !== "", "a shared subscription without a name", RULES.shareName, 5);
  must(routeOf(filter) !== filter, "a shared subscription that is none", RULES.shareFilter, 5);
}
