/** Whole processes: interrupted while they sleep, left alone, and after many connections. */
import { test } from "node:test";
import { assertEquals, assertLess, assertLessOrEqual } from "@std/assert";
import { needs, startProcess } from "../support/process.ts";
import { bytes } from "../support/bytes.ts";
import { type Scripted, send, startScripted, wait } from "../support/scripted.ts";
import { startMosquitto } from "../support/servers.ts";
import { endsToo } from "../client/support.ts";
import { command, runScript, runtime } from "../support/spawn.ts";

const child = "tests/worker/child.ts";
const tools = needs("mosquitto");
/** Less than a thread's memory for each cycle would add up to: a runtime frees it when it likes. */
const flat = 64 << 20;

async function withBroker(act: (port: string) => Promise<unknown>): Promise<void> {
  const mosquitto = await startMosquitto({ config: "log_type none" });
  try {
    await act(`${mosquitto.port}`);
  } finally {
    await mosquitto.stop();
  }
}

test("Ctrl-C ends a program that is blocked in run()", needs("mosquitto", "perl"), () =>
  withBroker(async (port) => {
    // A shell has its background processes ignore SIGINT; a person's program does not.
    const [runtime, args] = command(child, ["run", port]);
    const script = await startProcess("perl", ["-e", "$SIG{INT} = 'DEFAULT'; exec @ARGV", runtime, ...args]);
    await script.output(/running/);
    script.kill("SIGINT");
    assertEquals(await script.exited, 130);
    await script.stop();
  }));

for (
  const [scenario, expected] of [
    ["done", "done\n"],
    ["ends", "cannotconnect\ncannotconnect\ndone\n"],
    ["nested", "t: hi\ndisconnect\n"],
  ] as const
) {
  test(`a process ends by itself: ${scenario}`, tools, () =>
    withBroker(async (port) => {
      const { stdout, stderr, code } = await runScript(child, [scenario, port]);
      assertEquals([stdout, stderr, code], [expected, "", 0]);
    }));
}

test("blocking: neither a quiet thread nor a long wait for the next attempt is the thread's death", async () => {
  /** Cuts its first connection within a packet, and greets the next. */
  const startCutting = async () => {
    const server: Scripted = await startScripted([wait(16), send(bytes("20 02 00 00")), ({ socket }) => {
      if (server.peers.length === 1) socket.end(bytes("30 05 0001"));
      else socket.write(bytes('30 05 0001 "t" "hi"'));
    }, endsToo]);
    return server;
  };
  const quiet = await startScripted([wait(16), send(bytes("20 02 00 00")), endsToo]);
  const servers = [quiet, await startCutting(), await startCutting()];
  const ways = [["poll"], ["again", "10"], ["again", "6000"]];
  const ends = await Promise.all(
    ways.map(([way, ...args], i) => runScript(child, [way!, `${servers[i]!.port}`, ...args])),
  );
  await Promise.all(servers.map((server) => server.stop()));
  assertEquals(ends.map(({ stdout, stderr }) => [stdout, stderr]), [["alive\n", ""], ["hi\n", ""], ["hi\n", ""]]);
});

for (const mode of ["worker", "sync"]) {
  test(
    `200 cycles of connect and disconnect leave no thread, handle or memory: ${mode}`,
    tools,
    () =>
      withBroker(async (port) => {
        // On Node glibc keeps memory for threads that have ended: 64 to 97 MiB after 200 cycles, and 11 after 600.
        const env: Record<string, string> = runtime === "node" ? { MALLOC_ARENA_MAX: "2" } : {};
        const { stdout, stderr, code } = await runScript(child, [mode, port], { env, deadline: 110_000 });
        assertEquals([stderr, code], ["", 0]);
        const [threads, files, bytes] = stdout.split(" ").map(Number) as [number, number, number];
        assertLessOrEqual(threads, 2, "threads"); // a runtime's pool may have grown
        assertLessOrEqual(files, 4, "files");
        assertLess(bytes, flat);
      }),
  );
}
