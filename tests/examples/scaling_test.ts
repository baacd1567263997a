/** The examples of what outlives a process, a broker's node, or a power cut: with real processes, killed. */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { assert, assertEquals, assertGreater, assertMatch } from "@std/assert";
import { needs } from "../support/process.ts";
import { freePort, mosquittoPub, mosquittoSub, startMosquitto } from "../support/servers.ts";
import { runScript, startScript } from "../support/spawn.ts";

/** The last line of an example that has counted, without lost messages; how many each worker has handled. */
function counted(stdout: string, total: number): Record<string, number> {
  const line = stdout.trim().split("\n").at(-1)!;
  const pattern = /^at the end: (\d+) acknowledged, (\d+) of them not handled, (\d+) handled again; (.*)$/;
  const [, acknowledged, lost, repeated, workers] = pattern.exec(line) ?? [];
  assertEquals({ acknowledged, lost }, { acknowledged: `${total}`, lost: "0" }, stdout);
  const counts: Record<string, number> = {};
  for (const [, name, count] of workers!.matchAll(/(\w+) (\d+)/g)) counts[name!] = Number(count);
  const handled = Object.values(counts).reduce((sum, count) => sum + count, 0);
  assert(handled >= total + Number(repeated), stdout);
  return counts;
}

test("examples/shared_worker.ts: what came while it was dead is done when it is back", needs("mosquitto"), async () => {
  const broker = await startMosquitto();
  const { port } = broker;
  const publish = (message: string) => mosquittoPub({ port, topic: "demo/work", message, qos: 1 });
  const args = [`127.0.0.1:${port}`, "worker-7"];
  let worker = await startScript("examples/shared_worker.ts", args);
  try {
    await worker.output(/ready/);
    await publish("1");
    await worker.output(/done 1\n/);
    worker.kill("SIGKILL");
    await worker.exited;
    await publish("2");
    worker = await startScript("examples/shared_worker.ts", args);
    await worker.output(/done 2\n/);
    await worker.output(/ready\n/);
    worker.kill("SIGTERM");
    assertEquals(await worker.exited, 0, worker.stderr());
    assertMatch(worker.stdout(), /the connection has ended: disconnect\n$/);
  } finally {
    await worker.stop();
    await broker.stop();
  }
});

test(
  "examples/shared_workers.ts: one of four is killed, and nothing acknowledged is lost",
  needs("mosquitto"),
  async () => {
    const { code, stdout, stderr } = await runScript("examples/shared_workers.ts", [], { deadline: 60_000 });
    assertEquals([code, stderr], [0, ""], stdout);
    assertMatch(stdout, /^ben is killed: \d+ acknowledged, [1-9]\d* of them not handled/);
    const counts = counted(stdout, 2000);
    assertEquals(Object.keys(counts), ["anna", "ben", "clara", "david"]);
    // Each has its share: mosquitto deals them out in turn, to one that is away, too.
    for (const count of Object.values(counts)) assertGreater(count, 499);
  },
);

test("examples/cluster.ts: a node is killed, and nothing acknowledged is lost", needs("nats-server"), async () => {
  const { code, stdout, stderr } = await runScript("examples/cluster.ts", [], { deadline: 120_000 });
  assertEquals([code, stderr], [0, ""], stdout);
  const [, killed] = /^(127\.0\.0\.1:\d+) is killed: /m.exec(stdout) ?? [];
  for (const name of ["anna", "publisher"]) {
    const places = [...stdout.matchAll(/^(\w+) is connected to (\S+), (.*)$/gm)].filter(([, who]) => who === name);
    assertEquals(places[0]!.slice(2), [killed, "without an earlier session"], stdout);
    assert(places.at(-1)![2] !== killed, stdout);
    assertEquals(places.at(-1)![3], "with its session", stdout);
  }
  assertEquals(Object.keys(counted(stdout, 600)), ["anna", "ben"]);
});

test(
  "examples/sensor.ts: every reading that was stored arrives, in order, over two power cuts",
  needs("mosquitto"),
  async () => {
    const folder = mkdtempSync(join(tmpdir(), "mqtt3c-sensor-"));
    const port = freePort();
    const args = [`127.0.0.1:${port}`, join(folder, "sensor.mqtt")];
    const stored = (stdout: string) => [...stdout.matchAll(/^stored (.*)\n/gm)].map(([, reading]) => reading!);
    const expected: string[] = [];
    try {
      for (let boot = 1; boot <= 2; boot++) {
        const sensor = await startScript("examples/sensor.ts", args);
        await sensor.output(/(stored [^]*){5}/);
        sensor.kill("SIGKILL");
        await sensor.exited;
        expected.push(...stored(sensor.stdout()));
      }
      const broker = await startMosquitto({ port });
      const subscriber = await mosquittoSub({ port, topic: "demo/sensor/reading", qos: 1 });
      const sensor = await startScript("examples/sensor.ts", args);
      try {
        await sensor.output(/connected[^]*(stored [^]*){3}/);
        sensor.kill("SIGTERM");
        assertEquals(await sensor.exited, 0, sensor.stderr());
        expected.push(...stored(sensor.stdout()));
        const received: string[] = [];
        // One may have been stored, and not told, when its process was killed.
        while (received.at(-1) !== expected.at(-1)) {
          received.push(new TextDecoder().decode((await subscriber.next()).payload));
        }
        assertEquals(received.filter((reading) => expected.includes(reading)), expected);
        assert(received.length <= expected.length + 2, `${received.length} of ${expected.length}`);
      } finally {
        await sensor.stop();
        await subscriber.stop();
        await broker.stop();
      }
    } finally {
      rmSync(folder, { recursive: true });
    }
  },
);
