/** `mqtt3c request` and `mqtt3c respond`: over both versions, and with handlers that fail, hang, flood and do not read. */
import { test } from "node:test";
import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { needs, type Process, run } from "../support/process.ts";
import { startAedes } from "../support/servers.ts";
import { mqtt3c, runShell, startCommand, withMosquitto } from "./support.ts";

const tools = needs("mosquitto", "mosquitto_rr");

/** Starts `respond`, and returns when it has subscribed. */
async function startResponder(port: number, args: string[]): Promise<Process> {
  const responder = await startCommand(["respond", "-h", "127.0.0.1", "-p", `${port}`, "-d", ...args]);
  await responder.output(/<- SUBACK/);
  return responder;
}

const ask = (port: number, ...args: string[]) => mqtt3c(["request", "-h", "127.0.0.1", "-p", `${port}`, ...args]);

test("an answer is what the command prints, over MQTT 5, 3.1.1 and whichever there is", tools, async () => {
  const old = await startAedes();
  try {
    await withMosquitto({}, async ({ port }) => {
      for (const [broker, version] of [[port, "5"], [port, "311"], [port, "auto"], [old.port, "auto"]] as const) {
        const script = `read -r text; echo "$MQTT_TOPIC: $text"`;
        const responder = await startResponder(broker, ["-V", version, "echo/+", "-C", "3", "--", "sh", "-c", script]);
        const question = ["-V", version, "echo/1", "-m", "größe"];
        assertEquals(await ask(broker, ...question), { code: 0, stdout: "echo/1: größe\n", stderr: "" });
        assertEquals((await ask(broker, ...question, "-N")).stdout, "echo/1: größe");
        const json = JSON.parse((await ask(broker, ...question, "--json")).stdout);
        assertEquals(json.payload, "echo/1: größe");
        assertEquals(await responder.exited, 0, responder.stderr());
      }
    });
  } finally {
    await old.stop();
  }
});

test("mosquitto_rr gets an answer of respond", tools, () =>
  withMosquitto({}, async ({ port }) => {
    const responder = await startResponder(port, ["sum", "-C", "1", "--", "tr", "a-z", "A-Z"]);
    const args = ["-h", "127.0.0.1", "-p", `${port}`, "-t", "sum", "-e", "answers", "-m", "two", "-W", "10"];
    const { code, stdout, stderr } = await run("mosquitto_rr", args);
    assertEquals([code, stdout], [0, "TWO\n"], stderr);
    assertEquals(await responder.exited, 0);
  }));

test(
  "bytes stay as they are both ways; one line end goes, unless it is asked for",
  tools,
  () =>
    withMosquitto({}, async ({ port }) => {
      const at = ["-p", `${port}`];
      const cat = await startResponder(port, ["bytes", "--", "cat"]),
        raw = await startResponder(port, ["raw", "--raw", "--", "cat"]);
      const hex = async (topic: string, digits: string) =>
        (await mqtt3c(["request", ...at, topic, "--hex", "-m", digits])).stdout;
      assertEquals(await hex("bytes", "00ff0a0a"), "00ff0a\n");
      assertEquals(await hex("raw", "00ff0a0a"), "00ff0a0a\n");
      assertEquals((await mqtt3c(["request", ...at, "bytes"])).stdout, "\n", "nothing is asked, and nothing answered");
      const file = await runShell(`head -c 300000 /dev/zero | mqtt3c request -p $1 -s bytes -N | wc -c`, [`${port}`]);
      assertEquals(file.stdout.trim(), "300000");
      for (const each of [cat, raw]) await each.stop();
    }),
);

test(
  "who asks is told at once that nobody is there, and why a handler has failed",
  tools,
  () =>
    withMosquitto({}, async ({ port }) => {
      const nobody = await ask(port, "nobody");
      assertEquals([nobody.code, nobody.stdout], [27, ""]);
      assertMatch(nobody.stderr, /Nobody has subscribed to "nobody"/);
      const late = await ask(port, "nobody", "-V", "311", "-W", "0.3");
      assertEquals([late.code, late.stdout], [27, ""]);
      for (const version of ["5", "311"]) {
        const cases: [script: string, says: RegExp][] = [
          ["echo no >&2; echo 'out of order' >&2; exit 3", /failed: out of order$/m],
          ["exit 3", /failed: sh has ended with status 3$/m],
          ["kill -9 $$", /failed: sh has ended with SIGKILL$/m],
          ["sleep 60 & sleep 60", /failed: sh has not ended within 0\.5 s$/m],
        ];
        for (const [script, says] of cases) {
          const responder = await startResponder(port, ["-V", version, "t", "-W", "0.5", "--", "sh", "-c", script]);
          const { code, stdout, stderr } = await ask(port, "t", "-V", version, "-m", "x".repeat(100_000));
          assertEquals([code, stdout], [131, ""], stderr);
          assertMatch(stderr, says);
          assertMatch(responder.stderr(), /mqtt3c: t: /);
          await responder.stop();
        }
      }
      const missing = await startResponder(port, ["t", "--", "/no/such/command"]);
      const { code, stderr } = await ask(port, "t");
      assertEquals(code, 131);
      assertMatch(stderr, /\/no\/such\/command cannot be run/);
      await missing.stop();
    }),
);

test(
  "a command that prints without an end is ended, and the next request is answered",
  tools,
  () =>
    withMosquitto({}, async ({ port }) => {
      const script = `read -r what; if [ "$what" = flood ]; then yes; else echo fine; fi`;
      const responder = await startResponder(port, ["t", "--", "sh", "-c", script]);
      const flood = await ask(port, "t", "-m", "flood", "-W", "30");
      assertEquals(flood.code, 131, flood.stderr);
      assertMatch(flood.stderr, /sh prints more than 16777216 bytes/);
      assertEquals((await ask(port, "t", "-m", "x")).stdout, "fine\n");
      await responder.stop();
    }),
);

test(
  "what is no request is no reason to end; a signal is, once those who have asked have their answers",
  tools,
  () =>
    withMosquitto({}, async ({ port }) => {
      const responder = await startResponder(port, [
        "t",
        "--",
        "sh",
        "-c",
        "echo begun >&2; sleep 1; read -r a; echo $a; exit $a",
      ]);
      assertEquals((await mqtt3c(["pub", "-p", `${port}`, "-V", "5", "-t", "t", "-m", "1"])).code, 0);
      await responder.output(/mqtt3c: t: begun/);
      const asking = ask(port, "t", "-m", "0");
      await responder.output(/t: begun[^]*begun/);
      responder.kill("SIGTERM");
      assertEquals(await asking, { code: 0, stdout: "0\n", stderr: "" });
      assertEquals(await responder.exited, 0);
    }),
);

test("so many commands run at once", tools, () =>
  withMosquitto({}, async ({ port }) => {
    // Each waits for the other: one at a time, none would end.
    const script = `d=$(cat); touch "$d/$$"; until [ "$(ls "$d" | wc -l)" = 2 ]; do sleep 0.05; done; echo both`;
    const responder = await startResponder(port, ["t", "--concurrency", "2", "--", "sh", "-c", script]);
    const { stdout, stderr } = await runShell(
      `d=$(mktemp -d); mqtt3c request -p $1 t -m "$d" -W 30 & mqtt3c request -p $1 t -m "$d" -W 30; wait; rm -r "$d"`,
      [`${port}`],
    );
    assertEquals(stdout, "both\nboth\n", stderr);
    await responder.stop();
  }));

test("wrong arguments of request and respond are said", async () => {
  const cases: [says: string, args: string[]][] = [
    ["mqtt3c request TOPIC", ["request"]],
    ["mqtt3c respond FILTER", ["respond"]],
    ["respond FILTER -- COMMAND", ["respond", "t"]],
    ["Unexpected argument 'b'", ["request", "a", "b"]],
    ["Unexpected argument 'a': there is -t", ["request", "a", "-t", "b"]],
    ["Unexpected argument 'c'", ["request", "a", "--", "c"]],
    ["One of -m TEXT", ["request", "a", "-m", "m", "-n"]],
    ["takes the packets connect, will, disconnect", [..."respond a -D subscribe user-property a b -- cat".split(" ")]],
  ];
  for (const [says, args] of cases) {
    const { code, stdout, stderr } = await mqtt3c(args);
    assertEquals([code, stdout], [1, ""], stderr);
    assertStringIncludes(stderr, says);
    assert(!/\n +at /.test(stderr), stderr);
  }
});
