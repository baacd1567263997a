/** Gets ready what a run needs: the peers' packages, the compiled peer and drivers, the builds, a certificate. */
import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { cpus, release, totalmem, type } from "node:os";
import { delimiter, join } from "node:path";
import { gzipSync } from "node:zlib";
import { bunBinary } from "../tests/support/process.ts";

export const bench = import.meta.dirname!;
export const work = join(bench, ".build");

export type Runtime = "node" | "deno" | "bun" | "c";

/** A client on a runtime, and the command that runs its driver. */
export interface Participant {
  client: string;
  title: string;
  runtime: Runtime;
  command: string[];
}

export interface Machine {
  cpu: string;
  cores: number;
  memory: string;
  system: string;
  /** Of the runtimes, the clients and the compiler, by name. */
  versions: Record<string, string>;
}

export interface Setup {
  participants: Participant[];
  /** The command of the synthetic peer, and of the one for TLS. */
  peer: string[];
  tlsPeer: string[];
  /** What the synthetic peer is, in words. */
  peerText: string;
  cert?: string;
  taskset: boolean;
  mosquitto?: string;
  machine: Machine;
  /** What was left out, and why. */
  notes: string[];
}

export interface Output {
  ok: boolean;
  stdout: string;
  stderr: string;
}

/** Runs a command to its end; a command that does not exist is one that failed. */
export async function run(command: string[], cwd = bench): Promise<Output> {
  const [name, ...args] = command as [string, ...string[]];
  try {
    const output = await new Deno.Command(name, { args, cwd, stdin: "null" })
      .output();
    const decoder = new TextDecoder();
    return {
      ok: output.success,
      stdout: decoder.decode(output.stdout),
      stderr: decoder.decode(output.stderr),
    };
  } catch (error) {
    return { ok: false, stdout: "", stderr: String(error) };
  }
}

async function mustRun(command: string[]): Promise<Output> {
  const output = await run(command);
  if (!output.ok) {
    throw new Error(
      `${command.slice(0, 2).join(" ")}: ${output.stderr || output.stdout}`,
    );
  }
  return output;
}

/** Deno without this repository's configuration: npm packages come from bench/node_modules alone. */
const deno = [
  Deno.execPath(),
  "run",
  "-A",
  "--no-config",
  "--node-modules-dir=manual",
  "--v8-flags=--expose-gc",
];
const esbuild = [
  ...deno,
  "node_modules/esbuild/bin/esbuild",
  "--log-level=warning",
];

/** A file in clients/, with the `// name: value` lines at its top: title, bundle, cc. */
interface ClientFile {
  client: string;
  file: string;
  about: Record<string, string>;
}

function clientFiles(): ClientFile[] {
  return readdirSync(join(bench, "clients")).sort().map((file) => {
    const text = readFileSync(join(bench, "clients", file), "utf8");
    const about = Object.fromEntries(
      Array.from(
        text.matchAll(/^\/\/ (title|bundle|cc): (.*)$/gm),
        (m) => [m[1], m[2]],
      ),
    );
    return { client: file.replace(/\.\w+$/, ""), file, about };
  });
}

async function installPackages() {
  const wanted = readFileSync(join(bench, "package.json"), "utf8");
  const stamp = join(bench, "node_modules", ".installed.json");
  if (existsSync(stamp) && readFileSync(stamp, "utf8") === wanted) return;
  await mustRun([
    Deno.execPath(),
    "install",
    "--quiet",
    "--node-modules-dir=auto",
    "--no-lock",
  ]);
  writeFileSync(stamp, wanted);
}

/** Our package as it is published, and the drivers beside it, for Node, which cannot run TypeScript. */
async function buildForNode(): Promise<string> {
  const out = join(work, "node");
  const { build } = await import("../scripts/build.ts");
  build(out);
  for (const file of readdirSync(out, { recursive: true, encoding: "utf8" })) {
    if (file.endsWith(".d.ts")) rmSync(join(out, file));
  }
  const scripts = readdirSync(join(bench, "clients")).filter((file) =>
    file.endsWith(".ts")
  );
  const entries = [
    "client.ts",
    "driver.ts",
    ...scripts.map((file) => `clients/${file}`),
  ];
  await mustRun([
    ...esbuild,
    ...entries,
    "--format=esm",
    `--outdir=${join(out, "bench")}`,
    "--outbase=.",
  ]);
  for (const file of entries) {
    const built = join(out, "bench", file.replace(/\.ts$/, ".js"));
    writeFileSync(
      built,
      readFileSync(built, "utf8").replaceAll(/(from "\.[^"]*)\.ts"/g, '$1.js"'),
    );
  }
  writeFileSync(join(out, "package.json"), '{ "type": "module" }\n');
  return join(out, "bench");
}

/** Compiles a C file; the compiler's words when it cannot. */
async function compile(
  source: string,
  output: string,
  flags: string[],
): Promise<string> {
  const cc = [
    "cc",
    "-O2",
    "-pthread",
    source,
    "-o",
    join(work, output),
    ...flags,
  ];
  const { ok, stderr } = await run(cc);
  return ok
    ? ""
    : stderr.split("\n").find((line) => line.includes("error")) ?? stderr;
}

async function certificate(): Promise<string | undefined> {
  const [key, cert] = [join(work, "key.pem"), join(work, "cert.pem")];
  const { ok } = await run([
    ...[
      "openssl",
      "req",
      "-x509",
      "-nodes",
      "-days",
      "30",
      "-subj",
      "/CN=localhost",
    ],
    ...[
      "-newkey",
      "ec",
      "-pkeyopt",
      "ec_paramgen_curve:prime256v1",
      "-addext",
      "subjectAltName=DNS:localhost",
    ],
    ...["-keyout", key, "-out", cert],
  ]);
  if (!ok) return undefined;
  writeFileSync(cert, readFileSync(key, "utf8") + readFileSync(cert, "utf8"));
  return cert;
}

/** Bun of the search path, but not the stub that npm's package leaves in node_modules; or the binary of that package. */
async function findBun(): Promise<string> {
  const folders = (Deno.env.get("PATH") ?? "").split(delimiter).filter((
    folder,
  ) => !folder.includes("node_modules"));
  for (const bun of folders.map((folder) => join(folder, "bun"))) {
    if ((await run([bun, "--version"])).ok) return bun;
  }
  return await bunBinary().catch(() => "bun");
}

const version = async (...command: string[]) =>
  (await run(command)).stdout.match(/\d+\.[\d.]+/)?.[0];

export async function setup(): Promise<Setup> {
  mkdirSync(work, { recursive: true });
  const notes: string[] = [];
  await installPackages();
  const runtimes: Partial<Record<Runtime, string>> = {};
  const bun = await findBun();
  for (
    const [runtime, command] of [["node", "node"], ["deno", Deno.execPath()], [
      "bun",
      bun,
    ]] as const
  ) {
    const found = await version(command, "--version");
    if (found) runtimes[runtime] = found;
    else notes.push(`${runtime} is not installed`);
  }
  const compiler = await version("cc", "--version");
  if (!compiler) {
    notes.push(
      "there is no C compiler: the peer is a script, and the clients in C are left out",
    );
  }

  const participants: Participant[] = [];
  const builtForNode = runtimes.node ? await buildForNode() : "";
  for (const { client, file, about } of clientFiles()) {
    const title = about.title ?? client;
    if (file.endsWith(".c")) {
      if (!compiler) continue;
      const problem = await compile(
        `clients/${file}`,
        `${client}-c`,
        (about.cc ?? "").split(" ").filter(Boolean),
      );
      if (problem) notes.push(`${title} is left out: ${problem.trim()}`);
      else {participants.push({
          client,
          title,
          runtime: "c",
          command: [join(work, `${client}-c`)],
        });}
      continue;
    }
    if (!file.endsWith(".ts")) continue;
    const source = [
      join(bench, "driver.ts"),
      `client=${join(bench, "clients", file)}`,
    ] as const;
    const js = join(builtForNode, "clients", file.replace(/\.ts$/, ".js"));
    const node = [
      "node",
      "--expose-gc",
      join(builtForNode, "driver.js"),
      `client=${js}`,
    ];
    if (runtimes.node) {
      participants.push({ client, title, runtime: "node", command: node });
    }
    if (runtimes.deno) {
      participants.push({
        client,
        title,
        runtime: "deno",
        command: [...deno, ...source],
      });
    }
    if (runtimes.bun) {
      participants.push({
        client,
        title,
        runtime: "bun",
        command: [bun, ...source],
      });
    }
  }

  const script = [...deno, join(bench, "peer.ts")];
  const binary = [join(work, "peer")];
  const noTls = compiler &&
    await compile("peer.c", "peer", ["-DTLS", "-lssl", "-lcrypto"]);
  const noPeer = !compiler || (noTls && await compile("peer.c", "peer", []));
  if (noTls) {
    notes.push("OpenSSL's headers are missing: the peer for TLS is a script");
  }
  const cert = await certificate();
  if (!cert) notes.push("openssl is not installed: no TLS");
  const taskset = (await run(["taskset", "-c", "0", "true"])).ok;
  if (!taskset) notes.push("there is no taskset: nothing is held on one core");
  let mosquitto: string | undefined;
  for (
    const path of [
      "mosquitto",
      "/usr/sbin/mosquitto",
      "/usr/local/sbin/mosquitto",
    ]
  ) {
    if (!mosquitto && (await run([path, "-h"])).stdout.includes("mosquitto")) {
      mosquitto = path;
    }
  }
  if (!mosquitto) {
    notes.push("mosquitto is not installed: no figure through a broker");
  }

  const { dependencies } = JSON.parse(
    readFileSync(join(bench, "package.json"), "utf8"),
  );
  const [cpu] = cpus();
  return {
    participants,
    peer: noPeer ? script : binary,
    tlsPeer: noPeer || noTls ? script : binary,
    peerText: noPeer ? "bench/peer.ts, a script" : "bench/peer.c, compiled",
    ...(cert ? { cert } : {}),
    taskset,
    ...(mosquitto ? { mosquitto } : {}),
    machine: {
      cpu: cpu?.model.trim() ?? "unknown",
      cores: cpus().length,
      memory: `${Math.round(totalmem() / 2 ** 30)} GiB`,
      system: `${type()} ${release()}`,
      versions: {
        ...runtimes,
        "MQTT.js": dependencies.mqtt,
        "u8-mqtt": dependencies["u8-mqtt"],
        ...(mosquitto
          ? { mosquitto: (await version(mosquitto, "-h")) ?? "" }
          : {}),
      },
    },
    notes,
  };
}

/** Bytes of what a program needs of each client, minified, and gzipped. */
export async function bundles(): Promise<
  { client: string; title: string; minified: number; gzipped: number }[]
> {
  const found = [];
  for (const { client, about } of clientFiles()) {
    if (!about.bundle) continue;
    const entry = join(bench, "clients", ".bundle.ts");
    writeFileSync(entry, about.bundle);
    const flags = [
      "--bundle",
      "--minify",
      "--format=esm",
      "--platform=node",
      "--target=es2022",
    ];
    const { stdout } = await mustRun([...esbuild, entry, ...flags]).finally(
      () => rmSync(entry),
    );
    const bytes = new TextEncoder().encode(stdout);
    const gzipped = gzipSync(bytes, { level: 9 }).length;
    found.push({
      client,
      title: about.title ?? client,
      minified: bytes.length,
      gzipped,
    });
  }
  return found;
}
