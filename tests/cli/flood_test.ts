/** Nothing is lost on the way through the command, at full flood, and into a pipe that is slow. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { test } from "node:test";
import { assertEquals, assertLess } from "@std/assert";
import { needs, run, startProcess } from "../support/process.ts";
import { compare, eventually, flood, subscribed, writeNumbers } from "./flood.ts";
import { commandLine, runShell, withMosquitto } from "./support.ts";

const tools = needs("mosquitto", "mosquitto_pub", "mosquitto_sub");

test("pub -l -q 1 to sub -C at QoS 1: 20,000 lines, complete and in order", tools, async () => {
  assertEquals((await flood("mqtt3c", 20_000)).wrong, undefined);
});

/** KiB that a process has in memory. */
function resident(pid: number): number {
  return Number(/^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, "utf8"))![1]);
}

for (const qos of [0, 1]) {
  test(`sub -q ${qos} into a pipe that nobody reads: memory is flat, and at QoS 1 nothing is lost`, {
    skip: process.platform === "linux" ? tools.skip ?? false : "needs Linux",
  }, () =>
    withMosquitto({ config: "log_type none\nlog_type subscribe" }, async (broker) => {
      const dir = mkdtempSync(join(tmpdir(), "mqtt3c-slow-"));
      const gate = join(dir, "gate"), to = join(dir, "to"), from = join(dir, "from"), script = join(dir, "sub.sh");
      const lines = 20_000, at = `-h 127.0.0.1 -p ${broker.port} -q ${qos}`;
      try {
        // 80 MB, of which a pipe and the buffers of two kernels have some hundred KiB.
        writeNumbers(from, lines, 4096);
        // The process that is watched is the command itself: sh becomes it.
        writeFileSync(script, `echo $$ >&2; exec ${commandLine} sub ${at} -t slow -t end\n`);
        const reader = `sh "$1" | { until test -e "$2"; do sleep 0.05; done; cat > "$3"; }`;
        const sub = await startProcess("sh", ["-c", reader, "sh", script, gate, to]);
        await subscribed(broker, "end");
        const pid = Number(/^\d+/m.exec(sub.stderr())![0]);
        try {
          const before = resident(pid);
          const published = await runShell(`mqtt3c pub ${at} -t slow -l < "$1"`, [from]);
          assertEquals([published.code, published.stderr], [0, ""]);
          assertLess(resident(pid) - before, 48 * 1024, "KiB more while nobody reads");
          writeFileSync(gate, "");
          if (qos === 1) {
            const args = ["-h", "127.0.0.1", "-p", `${broker.port}`, "-t", "end", "-m", `${lines + 1}`, "-q", "1"];
            await run("mosquitto_pub", args);
            const last = async () => (await run("tail", ["-n", "1", to])).stdout === `${lines + 1}\n`;
            await eventually(last, "last line");
            assertEquals(await compare(to, lines + 1), undefined);
          }
        } finally {
          writeFileSync(gate, "");
          process.kill(pid, "SIGTERM");
          await sub.exited;
        }
      } finally {
        rmSync(dir, { recursive: true });
      }
    }));
}
