/** Each mode on the oldest runtimes that the README promises, and on newer Nodes: they come from npm. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { pathToFileURL } from "node:url";
import { assertEquals } from "@std/assert";
import { build } from "../../scripts/build.ts";
import { certificates } from "../support/certificates.ts";
import { needs, run } from "../support/process.ts";
import { credentials, freePort, type MosquittoOptions, type Server, startMosquitto } from "../support/servers.ts";

const root = join(import.meta.dirname!, "..", "..");
const program = join(root, "tests", "tree", "versions.js");
const [, deno, bun, node] = /for Deno from (\S+) on, Bun from (\S+) on, Node from (\S+) on/
  .exec(readFileSync(join(root, "README.md"), "utf8"))!;

type Runtime = [name: string, command: string[], runsSources: boolean];

/** The command, and whether it runs the sources. */
const runtimes: Runtime[] = [
  [`Deno ${deno}`, [`deno@${deno}`, "run", "-q", "-A", "--no-check", "--no-config"], true],
  [`Bun ${bun}`, [`bun@${bun}`], true],
  ...[node, "22", "24", "26"].map((version): Runtime => [`Node ${version}`, [`node@${version}`], false]),
];

describe("other versions of the runtimes", needs("npx", "mosquitto"), () => {
  let dir: string, places: string;
  const servers: Server[] = [];

  async function start(options: MosquittoOptions): Promise<number> {
    const server = await startMosquitto(options);
    servers.push(server);
    return server.port;
  }

  before(async () => {
    dir = mkdtempSync(join(tmpdir(), "mqtt3c-versions-"));
    await build(join(dir, "dist"));
    writeFileSync(join(dir, "package.json"), '{ "type": "module" }');
    const { ca, unknown } = certificates();
    const web = freePort();
    const [plain, secure, untrusted] = await Promise.all([
      start({ config: `listener ${web} 127.0.0.1\nprotocol websockets` }),
      start({ tls: true, password: true }),
      start({ tls: unknown }),
    ]);
    const ways = {
      tcp: `mqtt://127.0.0.1:${plain}`,
      tls: `mqtts://localhost:${secure}`,
      ws: `ws://127.0.0.1:${web}/mqtt`,
    };
    const unreachable = `mqtt://127.0.0.1:${freePort()}`;
    places = JSON.stringify({ ways, ca, credentials, untrusted: `mqtts://localhost:${untrusted}`, unreachable });
  });
  after(async () => {
    await Promise.all(servers.map((server) => server.stop()));
    rmSync(dir, { recursive: true, force: true });
  });

  for (const [name, [command, ...args], runsSources] of runtimes) {
    const modules: [string, () => string][] = [
      ["the package", () => join(dir, "dist", "mod.js")],
      ...runsSources ? [["the sources", () => join(root, "mod.ts")]] satisfies [string, () => string][] : [],
    ];
    for (const [what, module] of modules) {
      test(`${name}, ${what}: every mode, TLS, a WebSocket, both versions, a session in a file`, async () => {
        const from = ["-y", command!, ...args, program, pathToFileURL(module()).href, places];
        const ended = await run("npx", from, { cwd: dir, env: { NO_COLOR: "1" }, deadline: 300_000 });
        assertEquals(ended, { code: 0, stdout: "tcp\ntls\nws\ntrust\nstore\n", stderr: "" });
      });
    }
  }
});
