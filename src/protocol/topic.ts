/** Topic names and topic filters: valid ones, matching ones, and many filters at once (section 4.7).
 * @module */

const encoder = new TextEncoder();

/** The longest UTF-8 string of the protocol, and any other field with a length, in bytes (section 1.5.3). */
export const MAX_STRING = 65_535;

/**
 * Checks what every UTF-8 string of the protocol must be (section 1.5.3).
 *
 * @throws {TypeError | RangeError} If it is not.
 */
export function checkString(value: unknown, what: string): asserts value is string {
  if (typeof value !== "string") throw refused(what, `must be a string: received ${typeof value}`);
  if (value.includes("\0")) throw refused(what, "holds U+0000 [MQTT-1.5.3-2]");
  if (!value.isWellFormed()) throw refused(what, "holds a lone surrogate [MQTT-1.5.3-1]");
  if (value.length * 3 > MAX_STRING && encoder.encode(value).length > MAX_STRING) {
    throw new RangeError(`Cannot use ${what} as it is over ${MAX_STRING} bytes`);
  }
}

function refused(what: string, why: string): TypeError {
  return new TypeError(`Cannot use ${what} as it ${why}`);
}

/**
 * Checks a topic name, which has no wildcard [MQTT-3.3.2-2].
 *
 * @throws {TypeError | RangeError} If it is none.
 */
export function checkName(name: unknown, what = "the topic name"): asserts name is string {
  checkString(name, what);
  if (name === "") throw refused(what, "is empty [MQTT-4.7.3-1]");
  if (/[+#]/.test(name)) throw refused(what, `holds a wildcard [MQTT-3.3.2-2]: received "${name}"`);
}

/**
 * Checks a topic filter: `+` fills a level, `#` is the last level [MQTT-4.7.1-2] [MQTT-4.7.1-3].
 *
 * @throws {TypeError | RangeError} If it is none.
 */
export function checkFilter(filter: unknown): asserts filter is string {
  const what = "the topic filter";
  checkString(filter, what);
  if (filter === "") throw refused(what, "is empty [MQTT-4.7.3-1]");
  if (/#./s.test(filter) || /[^/]#/.test(filter)) {
    throw refused(what, `has a # that is not its last level [MQTT-4.7.1-2]: received "${filter}"`);
  }
  if (/[^/]\+|\+[^/]/.test(filter)) {
    throw refused(what, `has a + that does not fill a level [MQTT-4.7.1-3]: received "${filter}"`);
  }
}

/** A topic name with the values last matched to it, so that each name is matched once. */
export class TopicName {
  readonly name: string;
  /** What {@linkcode TopicFilters.match} found, as of `version`. */
  matches: readonly unknown[] | undefined;
  version: object | undefined;

  constructor(name: string) {
    this.name = name;
  }
}

/** Values by topic filter, and the values of all filters that match a name. */
export class TopicFilters<T> extends Map<string, T> {
  /** Those with a wildcard, tried one by one: 0.2 us each, once for a name until the filters change. */
  readonly #wild = new Map<string, T>();
  /** Changes with the filters. */
  #version = {};

  /** Gives the filter a value, instead of the one it had. */
  override set(filter: string, value: T): this {
    if (/[+#]/.test(filter)) this.#wild.set(filter, value);
    this.#version = {};
    return super.set(filter, value);
  }

  /** Takes the filter out. */
  override delete(filter: string): boolean {
    this.#wild.delete(filter);
    this.#version = {};
    return super.delete(filter);
  }

  /** The values of all filters that match the name; the same array until the filters change. */
  match(topic: TopicName): readonly T[] {
    if (topic.version !== this.#version) {
      const exact = this.get(topic.name), levels = topic.name.split("/");
      const wild = [...this.#wild].filter(([filter]) => matchLevels(filter.split("/"), levels));
      topic.matches = [...exact === undefined ? [] : [exact], ...wild.map(([, value]) => value)];
      topic.version = this.#version;
    }
    return topic.matches as readonly T[];
  }
}

/** Whether the topic filter matches the topic name (section 4.7); both valid. */
export function matches(filter: string, name: string): boolean {
  return matchLevels(filter.split("/"), name.split("/"));
}

function matchLevels(words: string[], levels: string[]): boolean {
  // A wildcard at the first level does not match a name that starts with $ [MQTT-4.7.2-1].
  if (levels[0]!.startsWith("$") && /^[+#]/.test(words[0]!)) return false;
  const open = words.at(-1) === "#"; // "sport/#" also matches "sport" (section 4.7.1.2)
  if (open) words.pop();
  if (open ? levels.length < words.length : levels.length !== words.length) return false;
  return words.every((word, i) => word === "+" || word === levels[i]);
}
