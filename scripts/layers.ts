/**
 * The picture of `docs/how_built.md`, made of the imports in `src/`: `deno run -R scripts/layers.ts`. An arrow is an import
 * that runs; those of types alone, and those of the few files that all share, are left out.
 */
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, relative, sep } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";

const root = join(import.meta.dirname!, "..");

/** The folders of `src/`, and what each is for, as CONTRIBUTING.md has it. */
function layers(): Map<string, string> {
  const page = readFileSync(join(root, "CONTRIBUTING.md"), "utf8");
  return new Map([...page.matchAll(/^ {4}(\w+)\/ +(.+)$/gm)].map(([, name, purpose]) => [name!, purpose!]));
}

/** The files of ours that a file imports to run, and not for their types. */
function imports(file: string): string[] {
  const source = readFileSync(file, "utf8");
  const found: string[] = [];
  for (const [, names, from] of source.matchAll(/^(?:import|export)\s(?!type\s)([^;"]*?)\sfrom\s"(\.[^"]+)";/gm)) {
    const list = /\{([^}]*)\}/.exec(names!)?.[1]?.split(",").map((name) => name.trim()).filter(Boolean);
    if (list === undefined || list.some((name) => !name.startsWith("type "))) found.push(from!);
  }
  for (const [, from] of source.matchAll(/\bimport\("(\.[^"]+)"\)/g)) found.push(from!);
  return found.map((from) => join(dirname(file), from));
}

/** Which folder imports which, each pair once. */
export function edges(): [from: string, to: string][] {
  const src = join(root, "src"), pairs = new Set<string>();
  for (const name of readdirSync(src, { encoding: "utf8", recursive: true }).filter((name) => name.endsWith(".ts"))) {
    if (!name.includes(sep)) continue;
    const [from] = name.split(sep);
    for (const file of imports(join(src, name))) {
      const path = relative(src, file).split(sep);
      if (path.length > 1 && path[0] !== from) pairs.add(`${from} ${path[0]}`);
    }
  }
  return [...pairs].sort().map((pair) => pair.split(" ") as [string, string]);
}

/** As Mermaid draws it. */
export function picture(): string {
  const boxes = [...layers()].map(([name, purpose]) => `  ${name}["${name}: ${purpose}"]`);
  const arrows = edges().map(([from, to]) => `  ${from} --> ${to}`);
  return `flowchart TD\n${[...boxes, "  mod.ts --> client", ...arrows].join("\n")}\n`;
}

if (process.argv[1] === fileURLToPath(import.meta.url)) console.log(picture());
