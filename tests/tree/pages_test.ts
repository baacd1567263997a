/** docs/how_built.md and docs/how_tested.md are right: the picture, and what they name, is there. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { test } from "node:test";
import { assert, assertEquals, assertGreater, assertStringIncludes } from "@std/assert";
import { edges, picture } from "../../scripts/layers.ts";
import { kinds } from "../simulation/simulate.ts";

const root = join(import.meta.dirname!, "..", "..");
const read = (file: string) => readFileSync(join(root, file), "utf8");
const pages = ["docs/how_built.md", "docs/how_tested.md"];

test("docs/how_built.md has the picture that the imports make today: deno run -R scripts/layers.ts", () => {
  const names = readdirSync(join(root, "src"), { withFileTypes: true }).filter((entry) => entry.isDirectory());
  assertEquals(new Set(edges().flat()), new Set(names.map(({ name }) => name)));
  assertStringIncludes(read(pages[0]!), `\`\`\`mermaid\n${picture()}\`\`\`\n`);
});

test("every file that the two pages name is there", () => {
  for (const page of pages) {
    const files = [...read(page).matchAll(/\b(?:src|tests|scripts)\/[\w./]*\w/g)].map(([file]) => file);
    assertGreater(files.length, 5, page);
    for (const file of files) assert(existsSync(join(root, file)), `${page}: ${file}`);
  }
});

test("every command of the two pages starts a program that has these options", () => {
  const { tasks } = JSON.parse(read("deno.json"));
  const commands = pages.flatMap((page) => [...read(page).matchAll(/^(?:\| `)?(deno (?:run|task) [^`#\n]*)/gm)])
    .map(([, command]) => command!.trim());
  assertGreater(commands.length, 12);
  for (const command of commands) {
    const [, name] = /^deno task (\w+)/.exec(command) ?? [];
    if (name !== undefined) assert(name in tasks, command);
    const [file] = /\b[\w/]+\.ts\b/.exec(name === undefined ? command : tasks[name].command) ?? [];
    if (file === undefined) continue; // a task that is another task
    for (const [, option] of command.matchAll(/ --(\w+)/g)) {
      assert(new RegExp(`\\b${option}: \\{ type: "`).test(read(file)), `${command}: ${file} has no --${option}`);
    }
  }
});

test("docs/how_tested.md: the kinds of histories are those of the simulation", () => {
  for (const kind of kinds) assertStringIncludes(read(pages[1]!), `\`${kind}\``);
});

test("docs/README.md links to every page", () => {
  const index = read("docs/README.md");
  for (const page of readdirSync(join(root, "docs")).filter((name) => name.endsWith(".md") && name !== "README.md")) {
    assertStringIncludes(index, `](${page})`);
  }
});
