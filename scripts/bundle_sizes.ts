/**
 * How large a program's bundle becomes, and of which modules: `deno run -A scripts/bundle_sizes.ts` prints a table for
 * `connect` alone, of mod.ts and of browser.ts.
 */
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { buildSync } from "esbuild";

const root = join(import.meta.dirname!, "..");

/** What a bundle weighs, in bytes. */
export interface BundleSize {
  minified: number;
  gzipped: number;
  /** Those of each module in it, minified; the largest first. */
  modules: [module: string, bytes: number][];
}

/** That of a program that has `connect` of an entry, and nothing else. */
export function bundleSize(entry: "mod.ts" | "browser.ts"): BundleSize {
  const { outputFiles, metafile } = buildSync({
    absWorkingDir: root,
    stdin: { contents: `export { connect } from "./${entry}"`, resolveDir: root },
    bundle: true,
    format: "esm",
    platform: entry === "mod.ts" ? "node" : "browser",
    minify: true,
    metafile: true,
    write: false,
  });
  const { contents } = outputFiles[0]!;
  const [output] = Object.values(metafile.outputs);
  const modules = Object.entries(output!.inputs).map(([module, { bytesInOutput }]): [string, number] => {
    return [module, bytesInOutput];
  });
  modules.sort(([, one], [, other]) => other - one);
  return { minified: contents.length, gzipped: gzipSync(contents, { level: 9 }).length, modules };
}

if (import.meta.main) {
  for (const entry of ["mod.ts", "browser.ts"] as const) {
    const { minified, gzipped, modules } = bundleSize(entry);
    console.log(`connect of ${entry}: ${minified} bytes minified, ${gzipped} gzipped`);
    for (const [module, bytes] of modules) if (bytes > 0) console.log(`${String(bytes).padStart(8)}  ${module}`);
  }
}
