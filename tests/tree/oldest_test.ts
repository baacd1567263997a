/** Each mode on the oldest runtimes that the README promises: they come from npm. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { after, before, describe, test } from "node:test";
import { pathToFileURL } from "node:url";
import { assertEquals } from "@std/assert";
import { build } from "../../scripts/build.ts";
import { certificates } from "../support/certificates.ts";
import { needs, run } from "../support/process.ts";
import { credentials, freePort, type Server, startMosquitto } from "../support/servers.ts";

const root = join(import.meta.dirname!, "..", "..");
const program = join(root, "tests", "tree", "oldest.js");
const [, deno, bun, node] = /for Deno from (\S+) on, Bun from (\S+) on, Node from (\S+) on/
  .exec(readFileSync(join(root, "README.md"), "utf8"))!;

/** From each runtime's first release of what the README says: the command, and whether it runs the sources. */
const runtimes: [name: string, command: string[], runsSources: boolean][] = [
  [`Deno ${deno}`, [`deno@${deno}`, "run", "-q", "-A", "--no-check", "--no-config"], true],
  [`Bun ${bun}`, [`bun@${bun}`], true],
  [`Node ${node}`, [`node@${node}`], false],
];

describe("the oldest runtimes", needs("npx", "mosquitto"), () => {
  let dir: string, places: string, servers: Server[] = [];

  before(async () => {
    dir = mkdtempSync(join(tmpdir(), "mqtt3c-oldest-"));
    await build(join(dir, "dist"));
    writeFileSync(join(dir, "package.json"), '{ "type": "module" }');
    const { ca, unknown } = certificates();
    const web = freePort();
    const [plain, secure, untrusted] = servers = await Promise.all([
      startMosquitto({ config: `listener ${web} 127.0.0.1\nprotocol websockets` }),
      startMosquitto({ tls: true, password: true }),
      startMosquitto({ tls: unknown }),
    ]);
    const ways = {
      tcp: `mqtt://127.0.0.1:${plain.port}`,
      tls: `mqtts://localhost:${secure.port}`,
      ws: `ws://127.0.0.1:${web}/mqtt`,
    };
    const unreachable = `mqtt://127.0.0.1:${freePort()}`;
    places = JSON.stringify({ ways, ca, credentials, untrusted: `mqtts://localhost:${untrusted.port}`, unreachable });
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
