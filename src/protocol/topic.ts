/** Topic names and topic filters: valid ones, matching ones, and many filters at once (section 4.7).
 * @module */

import { LazyMap } from "../lazy.ts";
import { kindOf, utf8 } from "./bytes.ts";

/** The longest UTF-8 string of the protocol, in bytes (section 1.5.3). */
const MAX_STRING = 65_535;

/**
 * Checks what every UTF-8 string of the protocol must be (section 1.5.3).
 *
 * @throws {TypeError | RangeError} If it is not.
 */
export function checkString(value: unknown, what: string): asserts value is string {
  if (typeof value !== "string") throw refused(what, `must be a string: received ${kindOf(value)}`);
  if (value.includes("\0")) throw refused(what, "holds U+0000 [MQTT-1.5.3-2]");
  if (!value.isWellFormed()) throw refused(what, "holds a lone surrogate [MQTT-1.5.3-1]");
  if (value.length * 3 > MAX_STRING && utf8.encode(value).length > MAX_STRING) {
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
  const wrong = wrongWildcard(filter);
  if (wrong === "#") throw refused(what, `has a # that is not its last level [MQTT-4.7.1-2]: received "${filter}"`);
  if (wrong === "+") throw refused(what, `has a + that does not fill a level [MQTT-4.7.1-3]: received "${filter}"`);
}

/** The wildcard that is in the wrong place of a topic filter, if one is. */
export function wrongWildcard(filter: string): "#" | "+" | undefined {
  if (/#./s.test(filter) || /[^/]#/.test(filter)) return "#";
  return /[^/]\+|\+[^/]/.test(filter) ? "+" : undefined;
}

/** A topic name with the values last matched to it, so that each name is matched once. */
export class TopicName {
  readonly name: string;
  /** What {@linkcode TopicFilters.match} made of it, as of `version`. */
  matches: unknown;
  version: object | undefined;

  constructor(name: string) {
    this.name = name;
    this.matches = undefined;
    this.version = undefined;
  }
}

interface Level<T> {
  readonly next: LazyMap<string, Level<T>>;
  value: T | undefined;
}

/** Values by topic filter, in a trie: what matches a name costs its levels, not the filters there are. */
export class TopicFilters<T> {
  #root: Level<T> = { next: new LazyMap(), value: undefined };
  /** Changes with the filters: what was matched before is matched again. */
  #version = {};
  #size = 0;

  /** How many filters have a value. */
  get size(): number {
    return this.#size;
  }

  /** The value of the filter, by its letters. */
  get(filter: string): T | undefined {
    let level: Level<T> | undefined = this.#root;
    for (const word of filter.split("/")) level = level?.next.get(word);
    return level?.value;
  }

  /** Gives the filter a value, instead of the one it had. */
  set(filter: string, value: T): void {
    let level = this.#root;
    for (const word of filter.split("/")) {
      let next = level.next.get(word);
      if (next === undefined) level.next.set(word, next = { next: new LazyMap(), value: undefined });
      level = next;
    }
    if (level.value === undefined) this.#size++;
    level.value = value;
    this.#version = {};
  }

  /** Takes the filter out, and the levels only it needed. */
  delete(filter: string): void {
    const words = filter.split("/");
    const path = [this.#root];
    for (const word of words) {
      const next = path.at(-1)!.next.get(word);
      if (next === undefined) return;
      path.push(next);
    }
    const last = path.at(-1)!;
    if (last.value === undefined) return;
    last.value = undefined;
    this.#size--;
    this.#version = {};
    for (let i = words.length; i > 0 && path[i]!.value === undefined && path[i]!.next.size === 0; i--) {
      path[i - 1]!.next.delete(words[i - 1]!);
    }
  }

  /** What `combine`, always the same one, makes of the values of all filters that match the name; made again when the filters change. */
  match<R>(topic: TopicName, combine: (values: T[]) => R): R {
    if (topic.version !== this.#version) {
      topic.matches = combine(this.#find(topic.name));
      topic.version = this.#version;
    }
    return topic.matches as R;
  }

  #find(name: string): T[] {
    const found: T[] = [];
    const take = (level: Level<T> | undefined) => {
      if (level?.value !== undefined) found.push(level.value);
    };
    // A wildcard at the first level does not match a name that starts with $ [MQTT-4.7.2-1].
    let wild = !name.startsWith("$");
    let levels = [this.#root];
    for (const word of name.split("/")) {
      const next: Level<T>[] = [];
      for (const level of levels) {
        if (wild) take(level.next.get("#"));
        const exact = level.next.get(word);
        if (exact !== undefined) next.push(exact);
        const any = wild ? level.next.get("+") : undefined;
        if (any !== undefined) next.push(any);
      }
      if (next.length === 0) return found;
      levels = next;
      wild = true;
    }
    for (const level of levels) {
      take(level);
      take(level.next.get("#")); // "sport/#" also matches "sport" (section 4.7.1.2)
    }
    return found;
  }
}

/** Whether the topic filter matches the topic name (section 4.7); both valid. */
export function matches(filter: string, name: string): boolean {
  const filters = new TopicFilters<true>();
  filters.set(filter, true);
  return filters.match(new TopicName(name), (values) => values.length > 0);
}

/** The filter that says which messages come: of a shared subscription, what is behind the group (`$share/group/filter`, `$queue/filter`). */
export function routeOf(filter: string): string {
  return /^(?:\$share\/[^/+#]+|\$queue)\/(.+)$/s.exec(filter)?.[1] ?? filter;
}
