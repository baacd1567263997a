/**
 * Builds the npm package in dist/: one .js for Node, which loads it 17 ms sooner than a file for each module, one for
 * browsers, one .d.ts for each of these, and the command line. With `--tests` the modules that tests look into, the tests and the examples go beside them, for
 * Node, which cannot run TypeScript.
 */
import { cpSync, mkdirSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join, relative } from "node:path";
import { parseArgs } from "node:util";
import { type BuildOptions, buildSync } from "esbuild";
import { rollup } from "rollup";
import { dts } from "rollup-plugin-dts";
import ts from "typescript";

const root = join(import.meta.dirname!, "..");
const options: ts.CompilerOptions = {
  target: ts.ScriptTarget.ES2022,
  module: ts.ModuleKind.ESNext,
  verbatimModuleSyntax: true,
  rewriteRelativeImportExtensions: true,
};

/** The TypeScript files under a folder of the repository, sorted, as paths in it. */
export function sources(folder: string): string[] {
  const names = readdirSync(join(root, folder), { encoding: "utf8", recursive: true });
  return names.filter((name) => name.endsWith(".ts") && !name.includes("node_modules")).sort()
    .map((name) => join(folder, name));
}

/** Builds into `out`, which it replaces; throws on a syntax error or an export without a type. */
export async function build(out: string, withTests = false): Promise<void> {
  rmSync(out, { recursive: true, force: true });
  bundle(join(out, "mod.js"));
  bundleCommand(join(out, "cli", "main.js"));
  const forPages: BuildOptions = { absWorkingDir: root, bundle: true, platform: "browser", target: "es2022" };
  buildSync({ ...forPages, entryPoints: ["browser.ts"], format: "esm", outfile: join(out, "browser.js") });
  await declare(out, ["mod.ts", "browser.ts"]);
  if (!withTests) return;
  for (const file of sources("src")) write(out, file, ".js", ts.transpileModule(...input(file, options)));
  // The command stays as it is published; tests look into its parts.
  const parts = sources("cli").filter((file) => file !== join("cli", "main.ts"));
  for (const file of [...sources("tests"), ...sources("examples"), ...parts]) {
    write(out, file, ".js", ts.transpileModule(...input(file, { ...options, inlineSourceMap: true })));
  }
  // What the examples read: pages, not programs.
  cpSync(join(root, "examples"), join(out, "examples"), { recursive: true, filter: (file) => !file.endsWith(".ts") });
  const { imports } = JSON.parse(readFileSync(join(root, "deno.json"), "utf8")) as { imports: Record<string, string> };
  for (const [name, file] of Object.entries(imports).filter(([, file]) => file.startsWith("./"))) {
    const folder = join(out, "node_modules", name);
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, "package.json"), `{ "type": "module", "exports": "./index.js" }\n`);
    const path = relative(folder, join(out, file)).replace(/\.ts$/, ".js");
    writeFileSync(join(folder, "index.js"), `export * from "${path}";\n`);
  }
}

/** The types of each of these modules in one file beside it, which depends on nothing but `node:` types. */
async function declare(out: string, modules: string[]): Promise<void> {
  const tree = mkdtempSync(join(tmpdir(), "mqtt3c-types-"));
  try {
    for (const file of [...modules, ...sources("src")]) {
      const types = ts.transpileDeclaration(...input(file, { ...options, declaration: true }));
      // A method named by a symbol is declared twice, first as a property.
      types.outputText = types.outputText.replace(/^ +\[Symbol\.\w+\]: \(.*;\n/gm, "");
      write(tree, file, ".d.ts", types);
    }
    for (const module of modules) {
      const name = module.replace(/\.ts$/, ".d.ts");
      const declarations = await rollup({ input: join(tree, name), plugins: [dts()], external: /^node:/ });
      await declarations.write({ file: join(out, name) });
      await declarations.close();
    }
  } finally {
    rmSync(tree, { recursive: true });
  }
}

/** The whole library in one file, with the code of its threads as a text: in a copy of the sources, which then has it. */
function bundle(outfile: string): void {
  const tree = mkdtempSync(join(tmpdir(), "mqtt3c-build-"));
  const options: BuildOptions = {
    absWorkingDir: tree,
    bundle: true,
    platform: "node",
    target: "es2022",
    logLevel: "warning",
  };
  try {
    for (const part of ["mod.ts", "src"]) cpSync(join(root, part), join(tree, part), { recursive: true });
    // The code of all threads first: each is made of the sources as they are.
    const relay = threadCode(options, "src/worker/relay.ts", "startRelay");
    const host = threadCode(options, "src/client/module_host.ts", "startHost");
    const embed = (file: string, name: string, code: string) =>
      writeFileSync(join(tree, file), `export function ${name}() { return ${JSON.stringify(code)}; }`);
    embed("src/worker/code.ts", "threadCode", relay);
    embed("src/client/module_code.ts", "moduleCode", host);
    // Deno, which may import this one file by URL, asks it for its types.
    const banner = { js: `/* @ts-self-types="./mod.d.ts" */` };
    buildSync({ ...options, entryPoints: ["mod.ts"], format: "esm", outfile, banner });
  } finally {
    rmSync(tree, { recursive: true });
  }
}

/** The command line in one file, on the library's. */
function bundleCommand(outfile: string): void {
  const { outputFiles } = buildSync({
    absWorkingDir: root,
    entryPoints: ["cli/main.ts"],
    bundle: true,
    platform: "node",
    format: "esm",
    target: "es2022",
    external: ["../mod.ts"],
    write: false,
    logLevel: "warning",
  });
  mkdirSync(dirname(outfile), { recursive: true });
  writeFileSync(outfile, rename(outputFiles[0]!.text), { mode: 0o755 });
}

/** All that a thread runs, as a script: a URL of it would be in every line of a stack, and Bun would keep each. */
function threadCode(options: BuildOptions, module: string, start: string): string {
  const contents = `import { parentPort } from "node:worker_threads";
    import { ${start} } from "./${module}";
    parentPort.on("message", ${start}());`;
  const { outputFiles } = buildSync({
    ...options,
    stdin: { contents, resolveDir: options.absWorkingDir! },
    format: "cjs",
    minifyWhitespace: true,
    minifySyntax: true,
    write: false,
    logOverride: { "empty-import-meta": "silent" }, // of locate(), which is left out
    // Node evaluates it as a module, which has no require, where the program was started with --input-type=module.
    banner: { js: "((require) => {" },
    footer: { js: `})(typeof require === "function" ? require : process.getBuiltinModule);` },
  });
  return outputFiles![0]!.text;
}

function input(file: string, compilerOptions: ts.CompilerOptions): [string, ts.TranspileOptions] {
  const fileName = join(root, file);
  return [readFileSync(fileName, "utf8"), { fileName, compilerOptions, reportDiagnostics: true }];
}

function write(out: string, file: string, extension: string, result: ts.TranspileOutput): void {
  if (result.diagnostics?.length) {
    const host = { getCurrentDirectory: () => root, getCanonicalFileName: String, getNewLine: () => "\n" };
    throw new Error(ts.formatDiagnostics(result.diagnostics, host));
  }
  const target = join(out, file.replace(/\.ts$/, extension));
  mkdirSync(dirname(target), { recursive: true });
  writeFileSync(target, rename(result.outputText));
}

/** What the compiler leaves: `new URL("./a.ts", import.meta.url)` of a worker, and the imports of declarations. */
function rename(text: string): string {
  return text.replaceAll(/(?<=["']\.{1,2}\/[^"'\n]*)\.ts(?=["'])/g, ".js");
}

if (import.meta.main) {
  const { values } = parseArgs({ options: { tests: { type: "boolean", default: false } } });
  await build(join(root, "dist"), values.tests);
}
