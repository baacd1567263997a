/**
 * Topics that no broker minds. Many share one connection, and a broker may close it for a character
 * [MQTT-1.5.3-2] [MQTT-4.7.3-1], as mosquitto does: what it minds is refused here, to the one who sent it.
 */
import { Buffer } from "node:buffer";

/** Levels mosquitto takes at least. */
const MAX_LEVELS = 200;
const MAX_BYTES = 65_535;

/** @throws {TypeError | RangeError} If it is no topic name. */
export function checkTopic(topic: unknown): asserts topic is string {
  check(topic, "the topic");
  if (/[+#]/.test(topic)) throw new TypeError(`Cannot use the topic as it holds a wildcard: received "${topic}"`);
}

/** @throws {TypeError | RangeError} If it is no topic filter, or a shared one: all readers here share each. */
export function checkFilter(filter: unknown): asserts filter is string {
  check(filter, "the filter");
  const levels = filter.split("/");
  if (levels[0] === "$share") throw new TypeError("Cannot use the filter as it is a shared subscription");
  if (levels.some((level, i) => /[+#]/.test(level) && level !== "+" && (level !== "#" || i < levels.length - 1))) {
    throw new TypeError(`Cannot use the filter as + must fill a level and # the last one: received "${filter}"`);
  }
}

function check(text: unknown, what: string): asserts text is string {
  if (typeof text !== "string") throw new TypeError(`Cannot use ${what} as it must be a string: ${typeof text}`);
  if (text === "") throw new TypeError(`Cannot use ${what} as it is empty`);
  if (/[\p{Cc}\p{Cs}\p{Noncharacter_Code_Point}]/u.test(text)) {
    throw new TypeError(`Cannot use ${what} as it holds a control character, or what is no character`);
  }
  if (Buffer.byteLength(text) > MAX_BYTES) throw new RangeError(`Cannot use ${what} as it is over ${MAX_BYTES} bytes`);
  if (text.split("/").length > MAX_LEVELS) {
    throw new RangeError(`Cannot use ${what} as it has over ${MAX_LEVELS} levels`);
  }
}
