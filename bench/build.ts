/** Builds what a run needs: the peers' packages, our package and the drivers for Node, the C files, the bundles. */
import { existsSync, readdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { gzipSync } from "node:zlib";
import { buildSync } from "esbuild";

export const bench: string = import.meta.dirname!;
export const repository: string = join(bench, "..");
export const work: string = join(bench, ".build");

export interface Output {
  ok: boolean;
  stdout: string;
  stderr: string;
}

/** Runs a command to its end; a command that does not exist is one that failed. */
export async function run(command: string[], cwd: string = bench): Promise<Output> {
  const [name, ...args] = command as [string, ...string[]];
  try {
    const output = await new Deno.Command(name, { args, cwd, stdin: "null" }).output();
    const decoder = new TextDecoder();
    return { ok: output.success, stdout: decoder.decode(output.stdout), stderr: decoder.decode(output.stderr) };
  } catch (error) {
    return { ok: false, stdout: "", stderr: String(error) };
  }
}

export async function mustRun(command: string[], cwd: string = bench): Promise<Output> {
  const output = await run(command, cwd);
  if (!output.ok) throw new Error(`${command.slice(0, 2).join(" ")}: ${output.stderr || output.stdout}`);
  return output;
}

/** Deno without this repository's configuration: npm packages come from bench/node_modules alone. */
export const deno: string[] = [
  Deno.execPath(),
  "run",
  "-A",
  "--no-config",
  "--node-modules-dir=manual",
  "--v8-flags=--expose-gc",
];

/** A file in clients/, with the `// name: value` lines at its top: title, bundle, cc. */
export interface ClientFile {
  client: string;
  file: string;
  title: string;
  about: Record<string, string>;
}

export function clientFiles(): ClientFile[] {
  return readdirSync(join(bench, "clients")).filter((file) => /^[^.].*\.(ts|c)$/.test(file)).sort().map((file) => {
    const text = readFileSync(join(bench, "clients", file), "utf8");
    const about = Object.fromEntries([...text.matchAll(/^\/\/ (\w+): (.*)$/gm)].map((match) => match.slice(1)));
    const client = file.replace(/\.\w+$/, "");
    return { client, file, title: about.title ?? client, about };
  });
}

/** What a run in TypeScript consists of, besides the library. */
export function driverFiles(): string[] {
  const clients = clientFiles().filter(({ file }) => file.endsWith(".ts"));
  return [
    "client.ts",
    "driver.ts",
    "jobs.ts",
    "onpub.ts",
    "process.ts",
    ...clients.map(({ file }) => `clients/${file}`),
  ];
}

/** In work/, and seen from here through a link: a package.json here would hide the configuration of the repository. */
export async function installPackages(): Promise<void> {
  const wanted = readFileSync(join(bench, "peers.json"), "utf8");
  const [installed, link] = [join(work, "package.json"), join(bench, "node_modules")];
  if (existsSync(link) && existsSync(installed) && readFileSync(installed, "utf8") === wanted) return;
  writeFileSync(installed, wanted);
  await mustRun([Deno.execPath(), "install", "--quiet", "--node-modules-dir=auto", "--no-lock"], work);
  rmSync(link, { force: true, recursive: true });
  symlinkSync(join(work, "node_modules"), link, "junction");
}

/** Builds the package of a tree with its own script, and the drivers beside it, for Node, which cannot run TypeScript. */
export async function buildForNode(root: string, out: string): Promise<string> {
  const script = pathToFileURL(join(root, "scripts", "build.ts")).href;
  const { build } = await import(script) as typeof import("../scripts/build.ts");
  await build(out);
  for (const file of readdirSync(out, { recursive: true, encoding: "utf8" })) {
    if (file.endsWith(".d.ts")) rmSync(join(out, file));
  }
  const entries = driverFiles();
  const outdir = join(out, "bench");
  buildSync({ absWorkingDir: bench, entryPoints: entries, outdir, outbase: ".", format: "esm", logLevel: "warning" });
  for (const file of entries) {
    const built = join(outdir, file.replace(/\.ts$/, ".js"));
    writeFileSync(built, readFileSync(built, "utf8").replaceAll(/((?:from |import\()"\.[^"]*)\.ts"/g, '$1.js"'));
  }
  writeFileSync(join(out, "package.json"), '{ "type": "module" }\n');
  return outdir;
}

/** Compiles a C file into work/; what the compiler said when it could not. */
export async function compile(source: string, output: string, flags: string[]): Promise<string> {
  const cc = ["cc", "-O2", "-pthread", source, "-o", join(work, output), ...flags];
  const { ok, stderr } = await run(cc);
  return ok ? "" : stderr.split("\n").find((line) => line.includes("error")) ?? stderr;
}

/** What a program needs of a client, in bytes. */
export interface Bundle {
  client: string;
  title: string;
  minified: number;
  gzipped: number;
}

export function bundles(): Bundle[] {
  const found: Bundle[] = [];
  for (const { client, title, about } of clientFiles()) {
    if (!about.bundle) continue;
    const entry = join(work, `bundle_${client}.mjs`);
    writeFileSync(entry, about.bundle);
    const { outputFiles } = buildSync({
      ...{ entryPoints: [entry], bundle: true, minify: true, write: false },
      ...{ format: "esm", platform: "node", target: "es2022", logLevel: "warning" },
    });
    const bytes = outputFiles[0]!.contents;
    const gzipped = gzipSync(bytes, { level: 9 }).length;
    found.push({ client, title, minified: bytes.length, gzipped });
  }
  return found;
}
