/**
 * Makes what is published: `deno task pack`. In `packed/` are then the tarball for npm, and the library in one ES module,
 * `mqtt3c.js` with its types, for import by URL; what JSR would get is checked. It prints how large each is.
 */
import { copyFileSync, cpSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { gzipSync } from "node:zlib";
import { build } from "./build.ts";
import { bundleSize } from "./bundle_sizes.ts";
import { spawnOk } from "./spawn.ts";

const root = join(import.meta.dirname!, "..");

/** What was made, as paths. */
export interface Packed {
  /** The npm package. */
  tarball: string;
  /** Its files, and how many bytes they have together. */
  files: string[];
  unpacked: number;
  /** The library in one ES module, its types beside it. */
  module: string;
}

/** Makes them in a folder, which it replaces; throws when npm does. */
export async function pack(folder: string): Promise<Packed> {
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  const tree = mkdtempSync(join(tmpdir(), "mqtt3c-pack-"));
  try {
    await build(join(tree, "dist"));
    for (const file of ["package.json", "README.md", "LICENSE", "CHANGELOG.md"]) {
      cpSync(join(root, file), join(tree, file));
    }
    // npm would build it once more, in the copy, which has no tasks.
    const args = ["pack", "--ignore-scripts", "--json", "--pack-destination", folder];
    const [made] = JSON.parse(spawnOk("npm", args, tree).stdout) as [Manifest];
    const module = join(folder, "mqtt3c.js");
    const code = readFileSync(join(tree, "dist", "mod.js"), "utf8");
    writeFileSync(module, code.replace("./mod.d.ts", "./mqtt3c.d.ts"));
    copyFileSync(join(tree, "dist", "mod.d.ts"), join(folder, "mqtt3c.d.ts"));
    const files = made.files.map(({ path }) => path);
    return { tarball: join(folder, made.filename), files, unpacked: made.unpackedSize, module };
  } finally {
    rmSync(tree, { recursive: true });
  }
}

/** What `npm pack --json` says. */
interface Manifest {
  filename: string;
  files: { path: string }[];
  unpackedSize: number;
}

const kB = (bytes: number) => `${Math.round(bytes / 1000)} kB`;

if (import.meta.main) {
  const { tarball, files, unpacked, module } = await pack(join(root, "packed"));
  const size = (file: string) => readFileSync(file).length;
  const zipped = (file: string) => gzipSync(readFileSync(file), { level: 9 }).length;
  const name = (file: string) => file.slice(root.length + 1).padEnd(29);
  console.log(`npm  ${name(tarball)}${kB(size(tarball))}, ${kB(unpacked)} in ${files.length} files`);
  console.log(`URL  ${name(module)}${kB(size(module))}, gzipped ${kB(zipped(module))}; its types are beside it`);
  const { stderr } = spawnOk(process.execPath, ["publish", "--dry-run", "--allow-dirty"], root);
  const count = stderr.match(/^ +file:.* \([\d.]+K?B\)$/gm)?.length;
  console.log(`JSR  ${"deno publish --dry-run".padEnd(29)}would be accepted: ${count} files`);
  for (const entry of ["mod.ts", "browser.ts"] as const) {
    const { minified, gzipped } = bundleSize(entry);
    console.log(`     ${`connect of ${entry} alone`.padEnd(29)}${kB(minified)} minified, gzipped ${kB(gzipped)}`);
  }
}
