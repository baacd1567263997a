/** Finds out what is here: runtimes, clients, the peer, a broker, the machine; and what is not. */
import { mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { cpus, release, totalmem, type } from "node:os";
import { delimiter, join } from "node:path";
import { bunBinary } from "../tests/support/process.ts";
import { bench, buildForNode, clientFiles, compile, deno, installPackages, repository, run, work } from "./build.ts";
import type { Scenario } from "./scenarios.ts";

export type Runtime = "node" | "deno" | "bun" | "c" | "chromium";

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
  /** Of the runtimes and the peers, by name. */
  versions: Record<string, string>;
}

export interface Setup {
  /** The commands of the runtimes of JavaScript that are wanted and here. */
  runtimes: Partial<Record<Runtime, string>>;
  /** Whether there is a C compiler. */
  compiler: boolean;
  /** The command of the synthetic peer, and of the one for TLS. */
  peer: string[];
  tlsPeer: string[];
  /** What the synthetic peer is, in words. */
  peerText: string;
  /** Key and certificate in one file. */
  cert?: string;
  mosquitto?: string;
  taskset: boolean;
  /** A browser, for the clients that run in pages. */
  chromium: boolean;
  machine: Machine;
  /** What was left out, and why. */
  notes: string[];
}

/** Clients that have a build for browsers, and the platform's WebSocket alone. */
const PAGES = ["mqtt3c", "mqttjs", "websocket"];

const version = async (command: string, flag = "--version") =>
  (await run([command, flag])).stdout.match(/\d+\.[\d.]+/)?.[0];

/** Bun of the search path, but not the stub that npm's package leaves in node_modules; or the binary of that package. */
async function findBun(): Promise<string> {
  const folders = (Deno.env.get("PATH") ?? "").split(delimiter).filter((folder) => !folder.includes("node_modules"));
  for (const bun of folders.map((folder) => join(folder, "bun"))) {
    if ((await run([bun, "--version"])).ok) return bun;
  }
  return await bunBinary().catch(() => "bun");
}

async function findRuntimes(
  wanted: string[] | undefined,
  versions: Record<string, string>,
  notes: string[],
): Promise<Setup["runtimes"]> {
  const commands: Setup["runtimes"] = { node: "node", deno: Deno.execPath(), bun: await findBun() };
  const runtimes: Setup["runtimes"] = {};
  for (const [runtime, command] of Object.entries(commands) as [Runtime, string][]) {
    if (wanted && !wanted.includes(runtime)) continue;
    const found = await version(command);
    if (!found) {
      notes.push(`${runtime} is not installed`);
      continue;
    }
    versions[runtime] = found;
    runtimes[runtime] = command;
  }
  return runtimes;
}

/** The drivers in TypeScript, with the library of the tree `root`; for Node both are built into `out`. */
export async function inTypeScript({ runtimes }: Setup, root: string, out: string): Promise<Participant[]> {
  const folder = join(root, "bench");
  const drivers: [Runtime, string[], string, string][] = [];
  if (runtimes.node) drivers.push(["node", [runtimes.node, "--expose-gc"], await buildForNode(root, out), ".js"]);
  if (runtimes.deno) drivers.push(["deno", deno, folder, ".ts"]);
  if (runtimes.bun) drivers.push(["bun", [runtimes.bun], folder, ".ts"]);
  return clientFiles().filter(({ file }) => file.endsWith(".ts")).flatMap(({ client, title }) =>
    drivers.map(([runtime, command, folder, extension]) => ({
      ...{ client, title, runtime },
      command: [
        ...command,
        join(folder, `driver${extension}`),
        `client=${join(folder, "clients", client)}${extension}`,
      ],
    }))
  );
}

/** The drivers in C, where their libraries are here. */
async function inC({ compiler, notes }: Setup): Promise<Participant[]> {
  const found: Participant[] = [];
  if (!compiler) return found;
  for (const { client, title, file, about } of clientFiles()) {
    if (!file.endsWith(".c")) continue;
    const problem = await compile(`clients/${file}`, `${client}-c`, about.cc?.split(" ") ?? []);
    if (problem) notes.push(`${title} is left out: ${problem}`);
    else found.push({ client, title, runtime: "c", command: [join(work, `${client}-c`)] });
  }
  return found;
}

/** Those that take part, and those of them again that do so with a store: in the folder of the build, as /tmp may be memory. */
export function withStores(taking: Participant[], { stored = [] }: Scenario): Participant[] {
  return taking.flatMap((one) => {
    const kinds = stored.includes(one.client) ? ["os", "disk"] : [];
    const kept = kinds.map((sync) => ({
      ...one,
      title: `${one.title}, store: ${sync}`,
      command: [...one.command, `store=${work}`, `sync=${sync}`],
    }));
    return [one, ...kept];
  });
}

/** The clients that run in pages; the driver is a process that has a browser. */
function inPages({ chromium }: Setup): Participant[] {
  if (!chromium) return [];
  const command = [Deno.execPath(), "run", "-A", "--config", join(repository, "deno.json"), join(bench, "page.ts")];
  return clientFiles().filter(({ client }) => PAGES.includes(client)).map(({ client, title }) => ({
    ...{ client, title, runtime: "chromium" },
    command: [...command, `client=${client}`],
  }));
}

/** Every client on every runtime, with this tree's library. */
export async function allParticipants(ready: Setup): Promise<Participant[]> {
  await installPackages();
  return [...await inTypeScript(ready, repository, join(work, "node")), ...await inC(ready), ...inPages(ready)];
}

async function syntheticPeer(
  compiler: boolean,
  notes: string[],
): Promise<Pick<Setup, "peer" | "tlsPeer" | "peerText">> {
  const script = [...deno, join(bench, "peer.ts")];
  const compiled = [join(work, "peer")];
  if (!compiler) return { peer: script, tlsPeer: script, peerText: "a script (bench/peer.ts)" };
  const peerText = "a small C program (bench/peer.c)";
  if (!await compile("peer.c", "peer", ["-DTLS", "-lssl", "-lcrypto"])) {
    return { peer: compiled, tlsPeer: compiled, peerText };
  }
  notes.push("OpenSSL's headers are missing: the peer for TLS is a script");
  const problem = await compile("peer.c", "peer", []);
  if (problem) throw new Error(problem);
  return { peer: compiled, tlsPeer: script, peerText };
}

async function certificate(): Promise<string | undefined> {
  const [key, cert] = [join(work, "key.pem"), join(work, "cert.pem")];
  const { ok } = await run([
    ...["openssl", "req", "-x509", "-nodes", "-days", "30", "-subj", "/CN=localhost"],
    ...["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-addext", "subjectAltName=DNS:localhost"],
    ...["-keyout", key, "-out", cert],
  ]);
  if (!ok) return undefined;
  writeFileSync(cert, readFileSync(key, "utf8") + readFileSync(cert, "utf8"));
  return cert;
}

async function findMosquitto(): Promise<string | undefined> {
  for (const path of ["mosquitto", "/usr/sbin/mosquitto", "/usr/local/sbin/mosquitto"]) {
    if ((await run([path, "-h"])).stdout.includes("mosquitto version")) return path;
  }
  return undefined;
}

/** `wanted`: the runtimes that are asked for, all when left out. */
export async function setup(wanted?: string[]): Promise<Setup> {
  mkdirSync(work, { recursive: true });
  const notes: string[] = [];
  const versions: Record<string, string> = {};
  const runtimes = await findRuntimes(wanted, versions, notes);
  const compiler = await version("cc") !== undefined;
  if (!compiler) notes.push("there is no C compiler: the peer is a script, and the clients in C are left out");
  const peer = await syntheticPeer(compiler, notes);
  const cert = await certificate();
  if (!cert) notes.push("openssl is not installed: no TLS");
  const taskset = (await run(["taskset", "-c", "0", "true"])).ok;
  if (!taskset) notes.push("there is no taskset: nothing is held on one core");
  const mosquitto = await findMosquitto();
  if (!mosquitto) notes.push("mosquitto is not installed: no figure through a broker");

  const chromium = await version("chromium");
  if (chromium !== undefined) versions.chromium = chromium;
  else notes.push("Chromium is not installed: no figure of a page");
  const { dependencies } = JSON.parse(readFileSync(join(bench, "peers.json"), "utf8"));
  Object.assign(versions, { "MQTT.js": dependencies.mqtt, "u8-mqtt": dependencies["u8-mqtt"] });
  if (mosquitto) versions.mosquitto = await version(mosquitto, "-h") ?? "";
  const machine = {
    cpu: cpus()[0]?.model.trim() ?? "unknown",
    cores: cpus().length,
    memory: `${Math.round(totalmem() / 2 ** 30)} GiB`,
    system: `${type()} ${release()}`,
    versions,
  };
  return {
    runtimes,
    compiler,
    ...peer,
    ...(cert ? { cert } : {}),
    ...(mosquitto ? { mosquitto } : {}),
    taskset,
    chromium: chromium !== undefined && (wanted?.includes("chromium") ?? true),
    machine,
    notes,
  };
}
