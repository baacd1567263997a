import { assert, assertEquals } from "@std/assert";
import { existsSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { named, read, readTests, root, STATEMENTS } from "./statements.ts";

const tests = readTests();

test("every statement of the specification that is the client's is named by a test", () => {
  const found = new Set(tests.flatMap(({ text }) => named(text)));
  const missing = STATEMENTS.filter(({ id, whose }) => whose === "client" && !found.has(id));
  assertEquals(missing.map(({ id, says }) => `${id} ${says}`), []);
});

test("no statement is open that a test of the session or the client names", () => {
  const beyond = tests.filter(({ path }) => !/^tests.(protocol|fuzz|support)/.test(path));
  const found = new Set(beyond.flatMap(({ text }) => named(text)));
  assertEquals(STATEMENTS.filter(({ id, whose }) => whose === "open" && found.has(id)).map(({ id }) => id), []);
});

test("every statement is the client's, or it is said why not", () => {
  for (const { id, whose, why } of STATEMENTS) assertEquals(why !== undefined, whose !== "client", id);
});

test("the list is whole: each section's statements, numbered from 1", () => {
  const ids = STATEMENTS.flatMap(({ id }) => {
    const [, section, number] = /^\[MQTT-(\d+\.\d+\.\d+)-(\d+)\]$/.exec(id) ?? [];
    return section === undefined ? [] : [["", section, number]];
  });
  const sections = new Map<string, number[]>();
  for (const [, section, number] of ids) sections.set(section!, [...sections.get(section!) ?? [], Number(number)]);
  for (const [section, numbers] of sections) {
    assertEquals(numbers, Array.from(numbers, (_, i) => i + 1), section);
  }
  assertEquals(Object.fromEntries([...sections].map(([section, numbers]) => [section, numbers.length])), {
    "1.5.3": 3,
    "2.2.2": 2,
    "2.3.1": 7,
    "3.1.0": 2,
    "3.1.2": 24,
    "3.1.3": 11,
    "3.1.4": 5,
    "3.2.0": 1,
    "3.2.2": 6,
    "3.3.1": 12,
    "3.3.2": 3,
    "3.3.4": 1,
    "3.3.5": 2,
    "3.6.1": 1,
    "3.8.1": 1,
    "3.8.3": 4,
    "3.8.4": 6,
    "3.9.3": 2,
    "3.10.1": 1,
    "3.10.3": 2,
    "3.10.4": 6,
    "3.12.4": 1,
    "3.14.1": 1,
    "3.14.4": 3,
    "4.1.0": 2,
    "4.3.1": 1,
    "4.3.2": 2,
    "4.3.3": 2,
    "4.4.0": 1,
    "4.5.0": 2,
    "4.6.0": 6,
    "4.7.1": 3,
    "4.7.2": 1,
    "4.7.3": 4,
    "4.8.0": 2,
    "6.0.0": 4,
    "7.0.0": 2,
    "7.1.1": 1,
    "7.1.2": 1,
  });
});

test("the list of MQTT 5 is whole: 251, each section's numbered from 1, but for one that the specification has no more", () => {
  const sections = new Map<string, number[]>();
  for (const { id } of STATEMENTS) {
    const [, section, number] = /^\[MQTT5-([\d.]+)-(\d+)\]$/.exec(id) ?? [];
    if (section !== undefined) sections.set(section, [...sections.get(section) ?? [], Number(number)]);
  }
  const first = (section: string) => section === "2.2.1" ? 2 : 1;
  for (const [section, numbers] of sections) {
    assertEquals(numbers, Array.from(numbers, (_, i) => i + first(section)), section);
  }
  assertEquals([...sections.values()].flat().length, 251);
  assertEquals(Object.fromEntries([...sections].map(([section, numbers]) => [section, numbers.at(-1)])), {
    "1.5.4": 3,
    "1.5.5": 1,
    "1.5.7": 1,
    "2.1.3": 1,
    "2.2.1": 6,
    "2.2.2": 1,
    "3.1.0": 2,
    "3.1.2": 30,
    "3.1.3": 12,
    "3.1.4": 6,
    "3.2.0": 2,
    "3.2.2": 22,
    "3.3.1": 13,
    "3.3.2": 20,
    "3.3.4": 10,
    "3.4.2": 3,
    "3.5.2": 3,
    "3.6.1": 1,
    "3.6.2": 3,
    "3.7.2": 3,
    "3.8.1": 1,
    "3.8.3": 5,
    "3.8.4": 8,
    "3.9.2": 2,
    "3.9.3": 2,
    "3.10.1": 1,
    "3.10.3": 2,
    "3.10.4": 6,
    "3.11.2": 2,
    "3.11.3": 2,
    "3.12.4": 1,
    "3.14.0": 1,
    "3.14.1": 1,
    "3.14.2": 4,
    "3.14.4": 3,
    "3.15.1": 1,
    "3.15.2": 3,
    "4.1.0": 2,
    "4.2": 1,
    "4.3.1": 1,
    "4.3.2": 5,
    "4.3.3": 13,
    "4.4.0": 2,
    "4.5.0": 2,
    "4.6.0": 6,
    "4.7.0": 1,
    "4.7.1": 2,
    "4.7.2": 1,
    "4.7.3": 4,
    "4.8.2": 6,
    "4.9.0": 3,
    "4.12.0": 7,
    "4.12.1": 2,
    "4.13.1": 1,
    "4.13.2": 1,
    "6.0.0": 4,
  });
});

test("no statement is named that does not exist, in the tests, the sources and the documents", () => {
  const known = new Set(STATEMENTS.map(({ id }) => id));
  const documents = ["mod.ts", "README.md", "CHANGELOG.md", "CONTRIBUTING.md"].filter((path) =>
    existsSync(join(root, path))
  )
    .map((path) => ({ path, text: readFileSync(join(root, path), "utf8") }));
  for (const { path, text } of [...tests, ...read("src"), ...documents]) {
    // The sources give some without the brackets, which `violation` adds.
    const numbers = path.startsWith("src") ? text.matchAll(/(5: )?"(\d\.\d+\.\d+-\d+)"/g) : [];
    const bare = Array.from(numbers, ([, is5, id]) => `[${is5 ? "MQTT5" : "MQTT"}-${id}]`);
    for (const id of [...named(text), ...bare]) assert(known.has(id), `${path}: ${id}`);
  }
});
