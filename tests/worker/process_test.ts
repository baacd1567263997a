/** Whole processes: interrupted while they sleep, left alone, and after many connections. */
import { test } from "node:test";
import { assertEquals, assertLess, assertLessOrEqual } from "@std/assert";
import { needs, startProcess } from "../support/process.ts";
import { startMosquitto } from "../support/servers.ts";
import { command, runScript } from "../support/spawn.ts";

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

for (const mode of ["worker", "sync"]) {
  test(
    `200 cycles of connect and disconnect leave no thread, handle or memory: ${mode}`,
    tools,
    () =>
      withBroker(async (port) => {
        const { stdout, stderr, code } = await runScript(child, [mode, port], { deadline: 110_000 });
        assertEquals([stderr, code], ["", 0]);
        const [threads, files, bytes] = stdout.split(" ").map(Number) as [number, number, number];
        assertLessOrEqual(threads, 2, "threads"); // a runtime's pool may have grown
        assertLessOrEqual(files, 4, "files");
        assertLess(bytes, flat);
      }),
  );
}
