import { assert, assertEquals, assertGreater, assertLess, assertStrictEquals, assertThrows } from "@std/assert";
import { describe, test } from "node:test";
import { checkFilter, checkName, matches, routeOf, TopicFilters, TopicName } from "../../src/protocol/topic.ts";
import { TopicCache } from "../../src/protocol/topic_cache.ts";
import { Random } from "../support/random.ts";

const utf8 = new TextEncoder();
const decoder = new TextDecoder("utf-8", { ignoreBOM: true });

/** The rules of section 4.7 once more, level by level, without a trie. */
function naiveMatch(filter: string, name: string): boolean {
  if (name[0] === "$" && (filter[0] === "+" || filter[0] === "#")) return false;
  const levels = filter.split("/"), words = name.split("/");
  for (let i = 0; i < levels.length; i++) {
    if (levels[i] === "#") return words.length >= i;
    if (i >= words.length || (levels[i] !== "+" && levels[i] !== words[i])) return false;
  }
  return levels.length === words.length;
}

const MATCHES: [statement: string, filter: string, name: string, matches: boolean][] = [
  // The examples of section 4.7.1.2
  ["[MQTT-4.7.1-2]", "sport/tennis/player1/#", "sport/tennis/player1", true],
  ["[MQTT-4.7.1-2]", "sport/tennis/player1/#", "sport/tennis/player1/ranking", true],
  ["[MQTT-4.7.1-2]", "sport/tennis/player1/#", "sport/tennis/player1/score/wimbledon", true],
  ["[MQTT-4.7.1-2]", "sport/tennis/player1/#", "sport/tennis/player2", false],
  ["[MQTT-4.7.1-2]", "sport/tennis/player1/#", "sport/tennis/player10", false],
  ["[MQTT-4.7.1-2]", "sport/#", "sport", true],
  ["[MQTT-4.7.1-2]", "sport/#", "sport/", true],
  ["[MQTT-4.7.1-2]", "sport/#", "sports", false],
  ["[MQTT-4.7.1-2]", "#", "sport", true],
  ["[MQTT-4.7.1-2]", "#", "/", true],
  ["[MQTT-4.7.1-2]", "#", "a/b/c/d", true],
  ["[MQTT-4.7.1-2]", "/#", "/", true],
  ["[MQTT-4.7.1-2]", "/#", "/a", true],
  ["[MQTT-4.7.1-2]", "/#", "a", false],
  ["[MQTT-4.7.1-2]", "a/#", "/a", false],
  // The examples of section 4.7.1.3
  ["[MQTT-4.7.1-3]", "sport/tennis/+", "sport/tennis/player1", true],
  ["[MQTT-4.7.1-3]", "sport/tennis/+", "sport/tennis/player2", true],
  ["[MQTT-4.7.1-3]", "sport/tennis/+", "sport/tennis/player1/ranking", false],
  ["[MQTT-4.7.1-3]", "sport/+", "sport", false],
  ["[MQTT-4.7.1-3]", "sport/+", "sport/", true],
  ["[MQTT-4.7.1-3]", "+", "sport", true],
  ["[MQTT-4.7.1-3]", "+", "sport/tennis", false],
  ["[MQTT-4.7.1-3]", "+/tennis/#", "sport/tennis", true],
  ["[MQTT-4.7.1-3]", "+/tennis/#", "sport/tennis/player1", true],
  ["[MQTT-4.7.1-3]", "+/tennis/#", "sport/golf/player1", false],
  ["[MQTT-4.7.1-3]", "sport/+/player1", "sport/tennis/player1", true],
  ["[MQTT-4.7.1-3]", "sport/+/player1", "sport/tennis/player2", false],
  ["[MQTT-4.7.1-3]", "+/+", "/finance", true],
  ["[MQTT-4.7.1-3]", "/+", "/finance", true],
  ["[MQTT-4.7.1-3]", "+", "/finance", false],
  ["[MQTT-4.7.1-3]", "+/+", "/", true],
  ["[MQTT-4.7.1-3]", "+", "/", false],
  ["[MQTT-4.7.1-3]", "+/+/+", "//", true],
  ["[MQTT-4.7.1-3]", "a/+/b", "a//b", true],
  ["[MQTT-4.7.1-3]", "+/#", "a", true],
  ["[MQTT-4.7.1-3]", "+/#", "a/b/c", true],
  ["[MQTT-4.7.1-3]", "+/+/#", "a", false],
  // The examples of section 4.7.2
  ["[MQTT-4.7.2-1] [MQTT5-4.7.2-1]", "#", "$SYS", false],
  ["[MQTT-4.7.2-1]", "#", "$SYS/broker", false],
  ["[MQTT-4.7.2-1]", "+", "$SYS", false],
  ["[MQTT-4.7.2-1]", "+/#", "$SYS", false],
  ["[MQTT-4.7.2-1]", "+/monitor/Clients", "$SYS/monitor/Clients", false],
  ["[MQTT-4.7.2-1]", "$SYS/#", "$SYS", true],
  ["[MQTT-4.7.2-1]", "$SYS/#", "$SYS/monitor", true],
  ["[MQTT-4.7.2-1]", "$SYS/monitor/+", "$SYS/monitor/Clients", true],
  ["[MQTT-4.7.2-1]", "#", "a/$SYS", true],
  ["[MQTT-4.7.2-1]", "+/+", "a/$SYS", true],
  ["[MQTT-4.7.2-1]", "+/#", "/$SYS", true],
  ["[MQTT-4.7.2-1]", "$", "$", true],
  // Section 4.7.3
  ["[MQTT-4.7.3-1]", "/", "/", true],
  ["[MQTT-4.7.3-1]", "/", "//", false],
  ["[MQTT-4.7.3-1]", "a", "a/", false],
  ["[MQTT-4.7.3-1]", "a/", "a", false],
  ["[MQTT-4.7.3-1]", "a//b", "a//b", true],
  ["[MQTT-4.7.3-1]", "a//b", "a/b", false],
  ["[MQTT-4.7.3-4] [MQTT5-4.7.3-4]", "ACCOUNTS", "Accounts", false],
  ["[MQTT-4.7.3-4]", "Accounts payable", "Accounts payable", true],
  ["[MQTT-4.7.3-4]", "caf\u00e9", "caf\u00e9", true],
  ["[MQTT-4.7.3-4]", "caf\u00e9", "cafe\u0301", false],
  ["[MQTT-4.7.3-4]", "\ufeffa", "a", false],
  ["[MQTT-4.7.3-4]", "漢/+/😀", "漢/字/😀", true],
  ["[MQTT-4.7.3-4]", "__proto__/+", "__proto__/constructor", true],
  ["[MQTT-4.7.3-4]", "__proto__", "constructor", false],
];

describe("topic filters match topic names", () => {
  for (const [statement, filter, name, expected] of MATCHES) {
    test(`${statement} "${filter}" ${expected ? "matches" : "does not match"} "${name}"`, () => {
      checkFilter(filter);
      checkName(name);
      assertEquals(matches(filter, name), expected);
      assertEquals(naiveMatch(filter, name), expected, "the tests' own matcher");
    });
  }
});

const FILTERS: [statement: string, filter: string][] = [
  ["[MQTT-4.7.1-2]", "sport/tennis#"],
  ["[MQTT-4.7.1-2]", "sport/tennis/#/ranking"],
  ["[MQTT-4.7.1-2]", "#/"],
  ["[MQTT-4.7.1-2]", "##"],
  ["[MQTT-4.7.1-2]", "a/##"],
  ["[MQTT-4.7.1-2]", "#a"],
  ["[MQTT-4.7.1-2]", "#\n"],
  ["[MQTT-4.7.1-2]", "\n#"],
  ["[MQTT-4.7.1-2]", "a/#\u2028"],
  ["[MQTT-4.7.1-2]", "#/#"],
  ["[MQTT-4.7.1-3]", "sport+"],
  ["[MQTT-4.7.1-3]", "+sport"],
  ["[MQTT-4.7.1-3]", "++"],
  ["[MQTT-4.7.1-3]", "a/+b/c"],
  ["[MQTT-4.7.1-3]", "a/b+"],
  ["[MQTT-4.7.1-3]", "+\n"],
  ["[MQTT-4.7.1-3]", "\n+/a"],
  ["[MQTT-4.7.3-1]", ""],
  ["[MQTT-1.5.3-2]", "a/\0"],
  ["[MQTT-1.5.3-1]", "a/\ud800"],
  ["[MQTT-1.5.3-1]", "\udc00/+"],
];

describe("topic filters: what is none", () => {
  for (const [statement, filter] of FILTERS) {
    test(`${statement} ${JSON.stringify(filter)} is no topic filter`, () => {
      const error = assertThrows(() => checkFilter(filter), TypeError);
      assert(error.message.includes(statement), error.message);
    });
  }

  for (
    const filter of [
      "#",
      "+",
      "/",
      "//",
      "+/+",
      "/+",
      "+/",
      "a/#",
      "+/#",
      "/#",
      "a//#",
      " ",
      "$SYS/#",
      "$",
      "\ufeff",
      "a".repeat(65_535),
    ]
  ) {
    test(`"${filter.length > 20 ? "a... of 65,535 bytes" : filter}" is one`, () => checkFilter(filter));
  }

  for (const value of [undefined, null, 5, {}, ["a"], utf8.encode("a")]) {
    test(`${value} is none`, () => {
      assertThrows(() => checkFilter(value), TypeError, "string");
      assertThrows(() => checkName(value), TypeError, "string");
    });
  }
});

describe("topic names: what is none", () => {
  const names: [statement: string, name: string][] = [
    ["[MQTT-3.3.2-2]", "#"],
    ["[MQTT-3.3.2-2]", "+"],
    ["[MQTT-3.3.2-2]", "a/#"],
    ["[MQTT-3.3.2-2]", "a/+/b"],
    ["[MQTT-3.3.2-2]", "a+"],
    ["[MQTT-4.7.3-1]", ""],
    ["[MQTT-1.5.3-2]", "\0"],
    ["[MQTT-1.5.3-2]", "a\0b"],
    ["[MQTT-1.5.3-1]", "\ud83d"],
    ["[MQTT-1.5.3-1]", "\ude00\ud83d"],
  ];
  for (const [statement, name] of names) {
    test(`${statement} ${JSON.stringify(name)} is no topic name`, () => {
      const error = assertThrows(() => checkName(name), TypeError);
      assert(error.message.includes(statement), error.message);
    });
  }

  for (const name of ["/", "//", " ", "$SYS", "a/b", "\ufeff", "\u0001", "😀", "é".repeat(32_767) + "a"]) {
    test(`"${name.length > 20 ? "é... of 65,535 bytes" : name}" is one`, () => checkName(name));
  }

  test("the error names what it is", () => {
    assertThrows(() => checkName("#", "the will's topic"), TypeError, "the will's topic");
  });

  test("[MQTT-4.7.3-2] [MQTT5-4.7.3-2] U+0000 is refused anywhere in names and filters", () => {
    for (const text of ["\0", "\0a", "a/\0/b", "é\0", "a\0".repeat(1000)]) {
      for (const check of [checkName, checkFilter] as ((value: unknown) => void)[]) {
        assertThrows(() => check(text), TypeError, "U+0000");
      }
    }
  });

  for (const [letter, size] of [["a", 1], ["é", 2], ["€", 3], ["😀", 4]] as const) {
    test(`[MQTT-4.7.3-3] [MQTT5-4.7.3-3] 65,535 bytes of ${letter} are taken, 65,536 are not`, () => {
      const most = letter.repeat(Math.floor(65_535 / size)) + "x".repeat(65_535 % size);
      assertEquals(utf8.encode(most).length, 65_535);
      for (const check of [checkName, checkFilter] as ((value: unknown) => void)[]) {
        check(most);
        assertThrows(() => check(most + "x"), RangeError);
        assertThrows(() => check("x" + most), RangeError);
      }
    });
  }
});

describe("TopicFilters", () => {
  /** What is found, as it is. */
  const asFound = <T>(found: T[]) => found;
  const values = (filters: TopicFilters<string>, name: string) => filters.match(new TopicName(name), asFound).sort();

  test("set, get, delete, size", () => {
    const filters = new TopicFilters<string>();
    assertEquals([filters.size, filters.get("a")], [0, undefined]);
    filters.set("a/b", "1");
    filters.set("a", "2");
    filters.set("a/#", "3");
    assertEquals([filters.size, filters.get("a/b"), filters.get("a"), filters.get("a/#")], [3, "1", "2", "3"]);
    assertEquals([filters.get("a/c"), filters.get("a/b/c"), filters.get("#")], [undefined, undefined, undefined]);
    assertEquals(values(filters, "a/b"), ["1", "3"]);
    filters.set("a/b", "4");
    assertEquals([filters.size, filters.get("a/b")], [3, "4"]);
    filters.delete("a");
    filters.delete("a");
    filters.delete("never/there");
    filters.delete("a/b/c");
    assertEquals([filters.size, filters.get("a"), filters.get("a/b")], [2, undefined, "4"]);
    assertEquals(values(filters, "a/b"), ["3", "4"]);
    filters.delete("a/b");
    filters.delete("a/#");
    assertEquals([filters.size, values(filters, "a/b")], [0, []]);
  });

  test("a name is matched once, until the filters change", () => {
    const filters = new TopicFilters<string>();
    const name = new TopicName("a/b");
    assertEquals(filters.match(name, asFound), []);
    assertStrictEquals(filters.match(name, asFound), filters.match(name, asFound));
    filters.set("#", "x");
    assertEquals(filters.match(name, asFound), ["x"]);
    assertStrictEquals(filters.match(name, asFound), filters.match(name, asFound));
    filters.set("#", "y");
    assertEquals(filters.match(name, asFound), ["y"]);
    filters.delete("#");
    assertEquals(filters.match(name, asFound), []);
  });

  test("what is found is combined once, until the filters change", () => {
    const filters = new TopicFilters<string>();
    const name = new TopicName("a/b");
    let combined = 0;
    const combine = (found: string[]) => {
      combined++;
      return { count: found.length };
    };
    for (let round = 1; round <= 3; round++) {
      filters.set(`${"+/".repeat(round - 1)}#`, "x");
      const first = filters.match(name, combine);
      assertEquals(first, { count: round });
      assertStrictEquals(filters.match(name, combine), first);
      assertEquals(filters.match(new TopicName("a/b"), combine), first);
      assertStrictEquals(filters.match(name, combine), first);
      assertEquals(combined, 2 * round);
    }
    filters.delete("never/there");
    filters.match(name, combine);
    assertEquals(combined, 6, "nothing has changed");
  });

  test("one name, two sets of filters: each answers for itself", () => {
    const one = new TopicFilters<string>(), two = new TopicFilters<string>();
    one.set("a", "1");
    two.set("+", "2");
    const name = new TopicName("a");
    for (let i = 0; i < 3; i++) assertEquals([...one.match(name, asFound), ...two.match(name, asFound)], ["1", "2"]);
  });

  test("random filters and names: the answers of the tests' own matcher", () => {
    for (let seed = 1; seed <= 100; seed++) {
      const random = new Random(seed);
      const filters = new TopicFilters<string>();
      const all = new Set<string>();
      const words = ["", "a", "b", "$x", "é"];
      const names = Array.from(
        { length: 20 },
        () => new TopicName(Array.from({ length: random.int(1, 5) }, () => random.pick(words)).join("/") || "a"),
      );
      for (let step = 0; step < 60; step++) {
        const filter = random.filter();
        if (random.chance(0.6)) {
          filters.set(filter, filter);
          all.add(filter);
        } else {
          const gone = random.chance(0.5) || all.size === 0 ? filter : random.pick([...all]);
          filters.delete(gone);
          all.delete(gone);
        }
        assertEquals(filters.size, all.size);
        const name = random.pick(names);
        const expected = [...all].filter((candidate) => naiveMatch(candidate, name.name)).sort();
        assertEquals(
          [...filters.match(name, asFound)].sort(),
          expected,
          `seed ${seed}: "${name.name}" in ${[...all].join(", ")}`,
        );
        assertEquals([...all].filter((candidate) => matches(candidate, name.name)).sort(), expected);
      }
      for (const filter of all) filters.delete(filter);
      assertEquals([filters.size, names.flatMap((name) => [...filters.match(name, asFound)])], [0, []]);
    }
  });

  test("a hundred thousand filters that come and go leave nothing behind", () => {
    const filters = new TopicFilters<number>();
    filters.set("keep/+/this", 1);
    const start = performance.now();
    for (let i = 0; i < 100_000; i++) {
      filters.set(`keep/${i}/this/level/#`, i);
      filters.delete(`keep/${i}/this/level/#`);
    }
    assertEquals([filters.size, filters.match(new TopicName("keep/7/this"), asFound)], [1, [1]]);
    assertLess(performance.now() - start, 10_000);
  });
});

describe("the route of a shared subscription is the filter behind its group", () => {
  const routes: [filter: string, route: string][] = [
    ["$share/g/a", "a"],
    ["$share/g/a/+/#", "a/+/#"],
    ["$share/g//a", "/a"],
    ["$share/g//", "/"],
    ["$share/g/#", "#"],
    ["$share/g/$SYS/#", "$SYS/#"],
    ["$share/a b\u20ac/x", "x"],
    ["$share/g/line\nbreak", "line\nbreak"],
    ["$share/g/$share/h/a", "$share/h/a"],
    ["$queue/a", "a"],
    ["$queue/#", "#"],
    ["$queue//a", "/a"],
    // These have no group, or nothing behind it: they mean what they say.
    ["$share", "$share"],
    ["$share/", "$share/"],
    ["$share/g", "$share/g"],
    ["$share/g/", "$share/g/"],
    ["$share//x", "$share//x"],
    ["$share/+/x", "$share/+/x"],
    ["$share/#", "$share/#"],
    ["$queue", "$queue"],
    ["$queue/", "$queue/"],
    ["$shared/g/a", "$shared/g/a"],
    ["$SHARE/g/a", "$SHARE/g/a"],
    ["a/$share/g/b", "a/$share/g/b"],
    ["/$share/g/b", "/$share/g/b"],
    ["\n$share/g/b", "\n$share/g/b"],
    ["", ""],
  ];
  for (const [filter, route] of routes) {
    test(`${JSON.stringify(filter)}: ${JSON.stringify(route)}`, () => assertEquals(routeOf(filter), route));
  }
});

describe("TopicCache", () => {
  /** A cache that counts what it decodes. */
  function counted() {
    const counter = { decoded: 0 };
    const cache = new TopicCache((bytes) => {
      counter.decoded++;
      return decoder.decode(bytes);
    });
    return { cache, counter };
  }

  /** Asks for the bytes, which lie at some place of a larger buffer. */
  function get(cache: TopicCache, bytes: Uint8Array, offset = 0, after = 0): TopicName {
    const whole = new Uint8Array(offset + bytes.length + after).fill(0x2e);
    whole.set(bytes, offset);
    return cache.get(whole, new DataView(whole.buffer), offset, bytes.length);
  }

  test("names of 1 to 300 bytes: the string that decoding gives, wherever they lie", () => {
    const { cache, counter } = counted();
    const random = new Random(5);
    for (let length = 1; length <= 300; length++) {
      const bytes = Uint8Array.from({ length }, () => random.int(0x30, 0x7a));
      const expected = decoder.decode(bytes);
      const first = get(cache, bytes);
      for (const [offset, after] of [[0, 0], [1, 0], [2, 3], [7, 0], [64, 100]] as const) {
        assertEquals(get(cache, bytes, offset, after).name, expected);
      }
      if (length <= 128) assertStrictEquals(get(cache, bytes), first, `${length} bytes are kept`);
    }
    assertLess(counter.decoded, 128 + 172 * 6 + 1);
  });

  test("a view into a larger buffer", () => {
    const { cache } = counted();
    const whole = utf8.encode("....sensors/1/temperature....");
    const view = new Uint8Array(whole.buffer, 4, 21);
    const name = cache.get(view, new DataView(whole.buffer, 4, 21), 0, 21);
    assertEquals(name.name, "sensors/1/temperature");
    assertStrictEquals(get(cache, utf8.encode("sensors/1/temperature")), name);
  });

  test("names that differ in one byte, or in length only, are different names", () => {
    const { cache } = counted();
    for (let length = 1; length <= 40; length++) {
      const bytes = new Uint8Array(length).fill(0x61);
      assertEquals(get(cache, bytes).name, "a".repeat(length));
      for (let at = 0; at < length; at++) {
        const other = bytes.slice();
        other[at] = 0x62;
        assertEquals(get(cache, other).name, decoder.decode(other));
      }
      assertEquals(get(cache, bytes).name, "a".repeat(length));
    }
  });

  test("beyond ASCII", () => {
    const { cache } = counted();
    for (const name of ["é", "€", "😀", "\ufeffa", "a\ufeff", "漢字/é", "\u0080", "\uffff"]) {
      for (let i = 0; i < 3; i++) {
        assertEquals(get(cache, utf8.encode(name), i).name, decoder.decode(utf8.encode(name)));
      }
    }
  });

  test("bytes that are no name throw each time, and are not kept", () => {
    const cache = new TopicCache((bytes) => {
      if (bytes[0] === 0x23) throw new TypeError("no name");
      return decoder.decode(bytes);
    });
    for (let i = 0; i < 3; i++) {
      assertThrows(() => get(cache, utf8.encode("#bad")), TypeError, "no name");
      assertEquals(get(cache, utf8.encode("good")).name, "good");
    }
  });

  test("200,000 names: right, and nothing grows for ever; an empty one is none at any time", () => {
    const counter = { decoded: 0 };
    const cache = new TopicCache((bytes) => {
      if (bytes.length === 0) throw new TypeError("empty");
      counter.decoded++;
      return decoder.decode(bytes);
    });
    for (let round = 0; round < 2; round++) {
      for (let i = 0; i < 100_000; i++) {
        const name = `device/${round}/${i.toString(36)}`;
        assertEquals(get(cache, utf8.encode(name), i % 5).name, name);
        if (i % 64 < 2) assertThrows(() => get(cache, new Uint8Array(0)), TypeError, "empty");
      }
    }
    const before = counter.decoded;
    for (let i = 0; i < 1000; i++) get(cache, utf8.encode("device/1/again"));
    assertLess(counter.decoded - before, 3, "a new name is still kept");
  });

  test("a few names over and over are decoded once", () => {
    const { cache, counter } = counted();
    const names = Array.from({ length: 1000 }, (_, i) => utf8.encode(`site/${i}/temperature`));
    for (let round = 0; round < 10; round++) for (const name of names) get(cache, name);
    assertLess(counter.decoded, 1100);
    assertGreater(counter.decoded, 999);
  });

  test("names that were made to collide are still told apart", () => {
    // Names of eight bytes with one hash, computed back from the cache's own steps.
    const word = (text: string) => new DataView(utf8.encode(text).buffer).getInt32(0, true);
    const step = (hash: number, value: number) => {
      const mixed = Math.imul(hash ^ value, 0x9e3779b1);
      return mixed ^ mixed >>> 15;
    };
    const target = step(8, word("topi")) ^ word("c/01");
    const random = new Random(3);
    const colliding: string[] = ["topic/01"];
    while (colliding.length < 40) {
      const first = String.fromCharCode(...Array.from({ length: 4 }, () => random.int(0x30, 0x7a)));
      const second = new Uint8Array(4);
      new DataView(second.buffer).setInt32(0, step(8, word(first)) ^ target, true);
      if (second.every((byte) => byte > 0x2f && byte < 0x7b)) colliding.push(first + decoder.decode(second));
    }
    const { cache } = counted();
    for (let round = 0; round < 3; round++) {
      for (const name of colliding) assertEquals(get(cache, utf8.encode(name)).name, name);
    }
  });

  test("random names, many of them again: always the string of their bytes", () => {
    const random = new Random(9);
    const { cache } = counted();
    const names = Array.from({ length: 3000 }, () => utf8.encode(random.text(random.size(90) + 1)));
    for (let i = 0; i < 20_000; i++) {
      const name = random.pick(names);
      assertEquals(get(cache, name, random.int(0, 9), random.int(0, 9)).name, decoder.decode(name));
    }
  });
});
