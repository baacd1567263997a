import { readFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import ts from "typescript";
import { assert, assertEquals, assertGreater } from "@std/assert";
import { sources } from "../../scripts/build.ts";
import { run } from "../support/process.ts";

const root = join(import.meta.dirname!, "..", "..");

interface Import {
  from: string;
  /** A path in the repository, or what is written when it is not a file of ours. */
  to: string;
  typeOnly: boolean;
}

interface Dependency {
  specifier: string;
  isDynamic?: boolean;
  code?: { specifier: string };
  type?: { specifier: string };
}

/** Every import that an entry reaches, dynamic ones and those of types included, as Deno sees them. */
async function graphOf(entry: string): Promise<Import[]> {
  const { stdout } = await run(process.execPath, ["info", "--json", entry], { cwd: root });
  const { modules } = JSON.parse(stdout) as {
    modules: { kind: string; specifier: string; error?: string; dependencies?: Dependency[] }[];
  };
  const name = (url: string) => url.startsWith("file:") ? fileURLToPath(url).slice(root.length + 1) : url;
  return modules.filter((module) => module.kind === "esm").flatMap(({ specifier, dependencies = [] }) =>
    dependencies.map(({ specifier: written, code, type }) => ({
      from: name(specifier),
      to: name((code ?? type)?.specifier ?? written),
      typeOnly: !code,
    }))
  );
}

/** What both entries reach. */
async function graph(): Promise<Import[]> {
  return [...await graphOf("mod.ts"), ...await graphOf("browser.ts")];
}

/** What each part may import from the tree, first match; `types` is what it may know of by type only; `node`: built-ins. */
const layers: { files: RegExp; may: RegExp; types?: RegExp; node?: RegExp }[] = [
  { files: /^(mod|browser)\.ts$/, may: /^src\// },
  {
    files: /^src\/(errors|deferred|flight_recorder)\.ts$/,
    may: /^src\/errors\.ts$/,
    types: /^src\/(options5?|status)\.ts$/,
  },
  { files: /^src\/runtime\.ts$/, may: /^$/, node: /./ },
  { files: /^src\/page_tick\.ts$/, may: /^$/ },
  { files: /^src\/lazy\.ts$/, may: /^$/ },
  {
    files: /^src\/message\.ts$/,
    may: /^src\/(protocol\/(bytes|properties)|runtime)\.ts$/,
    types: /^src\/protocol\/packet/,
  },
  { files: /^src\/(api|options5?|status)\.ts$/, may: /^$/, types: /^src\// },
  { files: /^src\/protocol\//, may: /^src\/(protocol\/|(errors|message|lazy)\.ts)/ },
  {
    files: /^src\/session\//,
    may: /^src\/(session\/|protocol\/|(errors|message|lazy)\.ts)/,
    types: /^src\/(options5?|status)\.ts$/,
  },
  {
    files: /^src\/transport\//,
    may: /^src\/(transport\/|protocol\/|session\/trust\.ts|(errors|runtime|page_tick)\.ts)/,
    types: /^src\/(options5?|status)\.ts$/,
    node: /./,
  },
  {
    files: /^src\/worker\//,
    may: /^src\/(worker\/|transport\/|protocol\/|session\/keepalive\.ts|(errors|message|deferred|runtime)\.ts)/,
    types: /^src\/(options|status|session\/trust|transport\/.*)\.ts$/,
    node: /./,
  },
  {
    files: /^src\/store\//,
    may: /^src\/(store\/|client\/(checks|options)\.ts|protocol\/bytes\.ts|(errors|deferred|runtime)\.ts)/,
    node: /./,
  },
  // The entries open connections; the shells see a transport, and know of time.
  { files: /^src\/client\/connect(_worker|_sync)?\.ts$/, may: /^src\//, node: /./ },
  { files: /^src\/client\/(connect_page|start_client)\.ts$/, may: /^src\// },
  // The client in the thread of a module, and who holds it in the caller's.
  {
    files: /^src\/client\/module_/,
    may:
      /^src\/(client\/(?!connect|sync_)|session\/|protocol\/|worker\/|transport\/|store\/|(errors|deferred|message|runtime)\.ts)/,
    types: /^src\/(api|options5?|status)\.ts$/,
  },
  { files: /^src\/client\/sync_/, may: /^src\/(client\/|session\/|protocol\/|worker\/|errors\.ts)/, types: /^src\// },
  {
    files: /^src\/client\//,
    may:
      /^src\/(client\/(?!connect|sync_|module_(?!messages))|session\/|protocol\/|(errors|deferred|runtime|page_tick)\.ts)/,
    types: /^src\/(api|options5?|status|message|transport\/.*|store\/session_store)\.ts$/,
  },
];

test("dependencies point one way: mod -> client -> session -> protocol, and node: stays at the edges", async () => {
  const imports = await graph();
  assertGreater(imports.length, 20);
  const wrong = imports.filter(({ from, to, typeOnly }) => {
    const layer = layers.find(({ files }) => files.test(from));
    if (to.startsWith("node:")) return !layer?.node?.test(from);
    return !layer || !(layer.may.test(to) || typeOnly && layer.types?.test(to));
  });
  assertEquals(wrong, []);
});

test("no file needs itself, whatever is between, types included", async () => {
  const needs = new Map<string, Set<string>>();
  for (const { from, to } of await graph()) needs.set(from, (needs.get(from) ?? new Set()).add(to));
  const circles: string[] = [];
  const visit = (file: string, path: readonly string[], done: Set<string>) => {
    if (path.includes(file)) return void circles.push([...path.slice(path.indexOf(file)), file].join(" -> "));
    if (done.has(file)) return;
    for (const next of needs.get(file) ?? []) visit(next, [...path, file], done);
    done.add(file);
  };
  const done = new Set<string>();
  for (const file of needs.keys()) visit(file, [], done);
  assertEquals(circles, []);
});

test("mod.ts reaches nothing but files of ours and node: built-ins", async () => {
  const foreign = (await graph()).filter(({ to }) => !to.startsWith("node:") && !/^src\/.*\.ts$/.test(to));
  assertEquals(foreign, []);
});

test("browser.ts reaches nothing but files of ours, and what those of node: have is of the types only", async () => {
  const imports = await graphOf("browser.ts");
  const reached = new Set(["browser.ts"]);
  for (const file of reached) {
    for (const { from, to, typeOnly } of imports) {
      if (from === file && !typeOnly) reached.add(to);
    }
  }
  assertGreater(reached.size, 50);
  assertEquals([...reached].filter((file) => !/^(browser|src\/.*)\.ts$/.test(file)), []);
});

test("every file of src/ is reached from mod.ts or browser.ts", async () => {
  const reached = new Set((await graph()).map(({ to }) => to));
  assertEquals(sources("src").filter((file) => !reached.has(file)), []);
});

test("the command line is on the public names of mod.ts alone, and node: built-ins", () => {
  assertGreater(sources("cli").length, 5);
  for (const file of sources("cli")) {
    const { importedFiles } = ts.preProcessFile(readFileSync(join(root, file), "utf8"), true, true);
    const foreign = importedFiles.map(({ fileName }) => fileName)
      .filter((name) => !/^(node:\w+(\/\w+)?|\.\.\/mod\.ts|\.\.\/deno\.json|\.\/\w+\.ts)$/.test(name));
    assertEquals(foreign, [], file);
  }
});

test("protocol and session know no timer, promise or clock, and nothing in src/ uses the console or Date.now()", () => {
  const impure = /^(setTimeout|setInterval|setImmediate|queueMicrotask|performance|Date|Promise|async|await)$/;
  for (const file of sources("src")) {
    const words = tokens(file).map(({ text }) => text);
    assert(!words.includes("console"), `${file} uses console`);
    assert(!words.join("").includes("Date.now("), `${file} uses Date.now(): performance.now() does not jump`);
    if (/src.(protocol|session)/.test(file)) assertEquals(words.filter((word) => impure.test(word)), [], file);
  }
});

/** The tokens of a file and the lines they are on: comments and blank lines have none. */
function tokens(file: string): { text: string; first: number; last: number }[] {
  const source = ts.createSourceFile(file, readFileSync(join(root, file), "utf8"), ts.ScriptTarget.Latest, true);
  const found: { text: string; first: number; last: number }[] = [];
  const lineOf = (position: number) => source.getLineAndCharacterOfPosition(position).line;
  const visit = (node: ts.Node) => {
    if (node.kind >= ts.SyntaxKind.FirstJSDocNode && node.kind <= ts.SyntaxKind.LastJSDocNode) return;
    const children = node.getChildren(source);
    children.forEach(visit);
    if (children.length || node.kind === ts.SyntaxKind.EndOfFileToken || !node.getWidth(source)) return;
    const first = lineOf(node.getStart(source));
    found.push({ text: node.getText(source), first, last: lineOf(node.getEnd()) });
  };
  visit(source);
  return found;
}
