/** `mqtt3c sub` and `mqtt3c pub`, against mosquitto and its own two commands. */
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import process from "node:process";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { assert, assertEquals, assertMatch, assertStringIncludes } from "@std/assert";
import { matcher } from "../../cli/sub.ts";
import { certificates } from "../support/certificates.ts";
import { needs, type Process, startProcess } from "../support/process.ts";
import { credentials, freePort, mosquittoPub, mosquittoSub, startMosquitto, untilAccepts } from "../support/servers.ts";
import { commandLine, mqtt3c, type Result, runShell, startCommand, withMosquitto } from "./support.ts";

/** The one of Linux; those of other systems take other arguments. */
const onTerminal = process.platform === "linux" ? needs("mosquitto", "script", "timeout") : { skip: "needs Linux" };
const tools = needs("mosquitto", "mosquitto_pub", "mosquitto_sub", "openssl");

async function inFolder(use: (dir: string) => Promise<void>): Promise<void> {
  const dir = mkdtempSync(join(tmpdir(), "mqtt3c-cli-"));
  try {
    await use(dir);
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

/** Starts `sub`, and returns when it has subscribed: a retained message that it lets through says so. */
async function startSub(port: number, args: string[], env?: Record<string, string>): Promise<Process> {
  const sub = await startCommand(["sub", "-p", `${port}`, "-d", ...args], env);
  await sub.output(/<- SUBACK/);
  return sub;
}

function assertDone({ code, stdout, stderr }: Result, expected = ""): void {
  assertEquals([code, stderr, stdout], [0, "", expected]);
}

test(
  "pub: each way to give a message, as mosquitto_sub gets it",
  tools,
  () =>
    withMosquitto({}, ({ port }) =>
      inFolder(async (dir) => {
        const sub = await mosquittoSub({ port, topic: "t/#", qos: 2 });
        const file = join(dir, "message");
        writeFileSync(file, "from a\nfile\0");
        const to = (...args: string[]) => ["pub", "-p", `${port}`, "-t", "t/1", ...args];
        const next = async () => {
          const { payload, qos, retain } = await sub.next();
          return `${new TextDecoder().decode(payload)} ${qos}${retain ? " retained" : ""}`;
        };
        try {
          assertDone(await mqtt3c(to("-m", "größe")));
          assertEquals(await next(), "größe 0");
          assertDone(await mqtt3c(to("-m", "-5", "-q", "1")));
          assertEquals(await next(), "-5 1");
          assertDone(await mqtt3c(to("-f", file, "-q2")));
          assertEquals(await next(), "from a\nfile\0 2");
          assertDone(await mqtt3c(to("-n")));
          assertEquals(await next(), " 0");
          assertDone(await mqtt3c(to("--hex", "-m", "C3 a4")));
          assertEquals(await next(), "ä 0");
          assertDone(await runShell(`printf 'all\nof it' | mqtt3c "$@"`, to("-s")));
          assertEquals(await next(), "all\nof it 0");
          assertDone(await runShell(`printf 'one\n\nthree' | mqtt3c "$@"`, to("-l", "-q", "1")));
          assertEquals([await next(), await next(), await next()], ["one 1", " 1", "three 1"]);
          assertDone(await mqtt3c(to("-m", "thrice", "--repeat", "3", "--repeat-delay", "0.01")));
          assertEquals([await next(), await next(), await next()], ["thrice 0", "thrice 0", "thrice 0"]);
          assertDone(await mqtt3c(["pub", "-L", `mqtt://127.0.0.1:${port}/t/of/url`, "-m", "url"]));
          assertEquals(await next(), "url 0");
          const lines = `{"topic":"t/2","payload":"x","qos":1}\n{"base64":"/w=="}\n{"payload":{"a":1}}`;
          assertDone(await runShell(`printf '%s' '${lines}' | mqtt3c "$@"`, to("--json")));
          // Those of QoS 0 may overtake.
          assertEquals([await next(), await next(), await next()].sort(), ["x 1", `{"a":1} 0`, "\ufffd 0"]);
          const wrong = await runShell(`printf '{"payload":"right"}\\nwrong\\n' | mqtt3c "$@"`, to("--json"));
          assertEquals([wrong.code, wrong.stderr], [1, "mqtt3c: Line 2 of the input is no JSON\n"]);
          assertEquals(await next(), "right 0");
          const large = "x".repeat(20 << 20); // more than may wait by default
          writeFileSync(file, large);
          assertDone(await mqtt3c(to("-f", file, "-q", "1")));
          assertEquals(await next(), `${large} 1`);
        } finally {
          await sub.stop();
        }
      })),
);

test("sub: each way to print a message", tools, () =>
  withMosquitto({}, async ({ port }) => {
    for (const [topic, message] of [["r/1", "one"], ["r/2", new Uint8Array([255, 10])], ["r/3", ""]] as const) {
      await mosquittoPub({ port, topic, message, retain: true, qos: 1 });
    }
    await mosquittoPub({ port, topic: "r/2", message: new Uint8Array([255]), retain: true, qos: 1 });
    const out = async (...args: string[]) => {
      const { code, stdout, stderr } = await mqtt3c(["sub", "-p", `${port}`, "-t", "r/#", "-C", "2", ...args]);
      assertEquals([code, stderr], [0, ""]);
      return stdout;
    };
    assertEquals(await out("-v"), "r/1 one\nr/2 \ufffd\n");
    assertEquals(await out("--hex", "-v"), "r/1 6f6e65\nr/2 ff\n");
    assertEquals(await out("-N"), "one\ufffd");
    assertEquals(await out("-F", "%t:%l:%x:%r:%q%%"), "r/1:3:6f6e65:1:0%\nr/2:1:ff:1:0%\n");
    const lines = (await out("--json", "-q", "1")).trim().split("\n").map((line) => JSON.parse(line));
    for (const { time } of lines) assertMatch(time, /^\d{4}-\d\d-\d\dT[\d:.]+Z$/);
    assertEquals(lines.map(({ time: _, ...rest }) => rest), [
      { topic: "r/1", qos: 1, retain: true, payload: "one" },
      { topic: "r/2", qos: 1, retain: true, base64: "/w==" },
    ]);
  }));

test(
  "sub --json and pub --json are each other's: what is recorded is played",
  tools,
  () =>
    withMosquitto({}, async ({ port }) => {
      const args = [`${port}`];
      for (const [topic, message] of [["a/1", "text"], ["a/2", new Uint8Array([0, 254])]] as const) {
        await mosquittoPub({ port, topic, message, retain: true });
      }
      const played = await runShell(
        `mqtt3c sub -p $1 -t 'a/#' -C 2 --json | sed s:a/:b/: | mqtt3c pub -p $1 --json && mqtt3c sub -p $1 -t 'b/#' -C 2 -v --hex`,
        args,
      );
      assertDone(played, "b/1 74657874\nb/2 00fe\n");
    }),
);

test(
  "sub: filters of retained messages and of topics, several topics, and a status for a time that is over",
  tools,
  () =>
    withMosquitto({}, async ({ port }) => {
      await mosquittoPub({ port, topic: "f/kept", message: "old", retain: true });
      const fresh = await startSub(port, ["-t", "f/#", "-t", "g", "-T", "f/no/+", "-R", "-C", "2", "-v"]);
      const kept = await startSub(port, ["-t", "f/#", "--retained-only"]);
      await kept.output(/old/);
      for (const topic of ["f/no/1", "f/yes", "g"]) await mosquittoPub({ port, topic, message: "new" });
      assertEquals([await fresh.exited, fresh.stdout()], [0, "f/yes new\ng new\n"]);
      assertEquals([await kept.exited, kept.stdout()], [0, "old\n"]);
      const late = await mqtt3c(["sub", "-p", `${port}`, "-t", "nothing", "-W", "0.2"]);
      assertEquals(late, { code: 27, stdout: "", stderr: "" });
      assertDone(await mqtt3c(["sub", "-p", `${port}`, "-t", "nothing", "-E"]));
      assertDone(await mqtt3c(["sub", "-L", `mqtt://127.0.0.1:${port}/f/+`, "-C", "1", "-v"]), "f/kept old\n");
    }),
);

test("a filter leaves out what it matches [MQTT-4.7.1-2] [MQTT-4.7.1-3] [MQTT-4.7.2-1]", () => {
  const matching = [["a/b", "a/b"], ["a/+", "a/b"], ["a/#", "a"], ["a/#", "a/b/c"], ["#", "a/b"], ["+/+", "/b"], [
    "a.*",
    "a.*",
  ]];
  const others = [
    ["a/b", "a/bc"],
    ["a/+", "a/b/c"],
    ["a/#", "ab"],
    ["#", "$SYS/a"],
    ["+/a", "$SYS/a"],
    ["a.*", "abc"],
    ["+", "/"],
  ];
  for (const [filter, topic] of matching) assert(matcher(filter!)(topic!), `${filter} matches ${topic}`);
  for (const [filter, topic] of others) assert(!matcher(filter!)(topic!), `${filter} does not match ${topic}`);
  assert(matcher("$SYS/#")("$SYS/a"));
});

test(
  "credentials come by argument, environment, URL or file, and are in no output",
  tools,
  () =>
    withMosquitto({ password: true }, ({ port }) =>
      inFolder(async (dir) => {
        const file = join(dir, "password");
        writeFileSync(file, `${credentials.passwd}\nmore`);
        const { uname: user, passwd: password } = credentials;
        const common = ["pub", "-t", "t", "-m", "m", "-d"], at = ["-p", `${port}`];
        const ways: [args: string[], env?: Record<string, string>][] = [
          [[...at, "-u", user, "-P", password]],
          [at, { MQTT_USER: user, MQTT_PASSWORD: password }],
          [[...at, "-u", user, "--password-file", file]],
          [["-L", `mqtt://${user}:${password}@127.0.0.1:${port}`], { MQTT_USER: "another", MQTT_PASSWORD: "another" }],
          [["-L", `mqtt://${user}@127.0.0.1:${port}`], { MQTT_PASSWORD: password }],
          [[], { MQTT_URL: `mqtt://${user}:${password}@127.0.0.1:${port}` }],
        ];
        for (const [args, env] of ways) {
          const { code, stdout, stderr } = await mqtt3c([...common, ...args], env);
          assertEquals(code, 0, stderr);
          assert(!(stdout + stderr).includes(password), stderr);
        }
        const wrong = await mqtt3c([...common, ...at, "-u", user, "-P", "nonsense"]);
        assertEquals(wrong.code, 5);
        assert(!wrong.stderr.includes("nonsense"), wrong.stderr);
        const doctor = await mqtt3c(["doctor", "-L", `mqtt://${user}:${password}@127.0.0.1:${port}`]);
        assertEquals(doctor.code, 0, doctor.stdout);
        assert(!(doctor.stdout + doctor.stderr).includes(password), doctor.stdout);
        const asked = await mqtt3c([...common, ...at, "-u", user, "--ask-password"]);
        assertEquals([asked.code, asked.stdout], [1, ""]);
        assertStringIncludes(asked.stderr, "no terminal");
      })),
);

test(
  "a password is asked for on a terminal, and not shown",
  onTerminal,
  () =>
    withMosquitto({ password: true }, async ({ port }) => {
      const { uname, passwd } = credentials;
      // script(1) gives it a terminal; the shell writes as somebody who types once the question is there.
      const result = await runShell(
        `f=$(mktemp); (until grep -q Password: "$f"; do sleep 0.05; done; printf '%s\\r' '${passwd}'; sleep 1) |
       timeout 30 script -qefc "$2 pub -p $1 -u ${uname} --ask-password -t t -m m" "$f"; code=$?; rm "$f"; exit $code`,
        [`${port}`, commandLine],
      );
      assertEquals(result.code, 0, result.stdout);
      assertStringIncludes(result.stdout, "Password: ");
      assert(!result.stdout.includes(passwd), result.stdout);
    }),
);

test(
  "TLS: an authority of one's own, a client's certificate, and who is not trusted",
  tools,
  () =>
    withMosquitto({ clientCert: true }, async ({ port }) => {
      const { caFile, client: { certFile, keyFile } } = certificates();
      const to = ["pub", "-h", "localhost", "-p", `${port}`, "-t", "t", "-m", "m"];
      assertDone(await mqtt3c([...to, "--cafile", caFile, "--cert", certFile, "--key", keyFile]));
      assertDone(await mqtt3c([...to, "--insecure", "--cert", certFile, "--key", keyFile]));
      assertEquals((await mqtt3c([...to, "--tls", "--cert", certFile, "--key", keyFile])).code, 8);
      assertEquals((await mqtt3c(["pub", "-L", `mqtts://localhost:${port}`, "-t", "t", "-m", "m"])).code, 8);
      assertEquals((await mqtt3c([...to, "--cafile", caFile, "--cert", certFile])).code, 1);
    }),
);

test("what the library advises, a person is told in options of the command", tools, async () => {
  const advice = async (args: string[]) => (await mqtt3c(["pub", ...args, "-t", "t", "-m", "m"])).stderr;
  await withMosquitto({ password: true }, async ({ port }) => {
    assertMatch(await advice(["-p", `${port}`]), /check user name and password \(-u, MQTT_PASSWORD\); none were given/);
  });
  await withMosquitto({ tls: certificates().wrongName }, async ({ port }) => {
    const { caFile } = certificates();
    assertMatch(await advice(["-L", `mqtts://localhost:${port}`]), /give the issuer's certificate with --cafile/);
    assertMatch(await advice(["-L", `mqtts://localhost:${port}`, "--cafile", caFile]), /connect to that name; nothing/);
    assertMatch(await advice(["-p", `${port}`]), /use mqtts:, or --tls/);
  });
});

test("over a WebSocket, and a Unix socket", tools, () =>
  inFolder(async (dir) => {
    const socket = join(dir, "socket"), web = freePort();
    const config = `listener ${web} 127.0.0.1\nprotocol websockets\nlistener 0 ${socket}`;
    await withMosquitto({ config }, async () => {
      await untilAccepts(web);
      assertDone(await mqtt3c(["pub", "--unix", socket, "-t", "t", "-m", "unix", "-r"]));
      assertDone(await mqtt3c(["sub", "-L", `unix://${socket}`, "-t", "t", "-C", "1"]), "unix\n");
      assertDone(await mqtt3c(["sub", "-L", `ws://127.0.0.1:${web}/mqtt`, "-t", "t", "-C", "1"]), "unix\n");
      const { code, stdout } = await mqtt3c(["doctor", "--unix", socket]);
      assertEquals(code, 0, stdout);
      assertMatch(stdout, /ok +unix /);
    });
  }));

test(
  "a will, an identifier, and a session that is kept: nothing is lost while nobody is there",
  tools,
  () =>
    withMosquitto({}, async ({ port }) => {
      const at = ["-p", `${port}`];
      const witness = await startSub(port, ["-t", "will", "-C", "1"]);
      const doomed = await startSub(port, [
        "-t",
        "x",
        "--will-topic",
        "will",
        "--will-payload",
        "gone",
        "--will-qos",
        "1",
      ]);
      doomed.kill("SIGKILL");
      assertEquals([await witness.exited, witness.stdout()], [0, "gone\n"]);
      const kept = ["sub", ...at, "-i", "kept", "-c", "-q", "1", "-t", "k"];
      assertDone(await mqtt3c([...kept, "-E"]));
      for (const message of ["1", "2", "3"]) await mosquittoPub({ port, topic: "k", message, qos: 1 });
      assertDone(await mqtt3c([...kept, "-C", "2"]), "1\n2\n"); // the third is not acknowledged
      assertDone(await mqtt3c([...kept, "-C", "1"]), "3\n");
      assertDone(await mqtt3c(["sub", ...at, "-i", "kept", "-c", "-U", "k"]));
      assertEquals((await mqtt3c(["sub", ...at, "-c", "-t", "k"])).code, 1);
    }),
);

test("pub --store: what was not delivered is, by the next one", tools, () =>
  inFolder(async (dir) => {
    const file = join(dir, "session");
    const broker = await startMosquitto();
    const { port } = broker;
    await broker.stop();
    const args = ["pub", "-p", `${port}`, "-i", "gateway", "--store", file, "-q", "1"];
    const away = await mqtt3c([...args, "-t", "s", "-m", "kept", "--wait", "-W", "1", "--quiet"]);
    assertEquals([away.code, away.stderr], [27, ""]);
    assert(readFileSync(file).length > 0);
    const again = await startMosquitto({ port });
    try {
      const sub = await mosquittoSub({ port, topic: "s", qos: 1 });
      assertDone(await mqtt3c([...args, "-t", "s", "-m", "next"]));
      const texts = [await sub.next(), await sub.next()].map(({ payload }) => new TextDecoder().decode(payload));
      assertEquals(texts, ["kept", "next"]);
      await sub.stop();
    } finally {
      await again.stop();
    }
  }));

test("sub comes back when the broker does, and says so on standard error alone", tools, async () => {
  const broker = await startMosquitto();
  const sub = await startSub(broker.port, ["-t", "t", "-C", "1"]);
  await broker.stop();
  await sub.output(/ \(the next attempt is in \d/);
  const again = await startMosquitto({ port: broker.port });
  try {
    await sub.output(/connected again/);
    await sub.output(/connected again[^]*SUBACK/);
    await mosquittoPub({ port: broker.port, topic: "t", message: "back" });
    assertEquals([await sub.exited, sub.stdout()], [0, "back\n"]);
  } finally {
    await again.stop();
  }
  const strict = await startMosquitto();
  const brief = await startSub(strict.port, ["-t", "t", "--no-reconnect"]);
  await strict.stop();
  assertEquals(await brief.exited, 7);
});

test(
  "a signal ends it in order, and so does a reader that goes",
  tools,
  () =>
    withMosquitto({}, async ({ port, log }) => {
      for (const signal of ["SIGINT", "SIGTERM"] as const) {
        const sub = await startSub(port, ["-t", "t", "-i", `by${signal}`]);
        sub.kill(signal);
        assertEquals(await sub.exited, 0, sub.stderr());
        assertMatch(log(), new RegExp(`Client by${signal} disconnected\\.`));
      }
      // It would go on for days: a signal stops it, but not all was published.
      const pub = await startCommand(`pub -p ${port} -t t -m m --repeat 1000000 --repeat-delay 1`.split(" "));
      const first = await mosquittoSub({ port, topic: "t" });
      await first.next();
      pub.kill("SIGINT");
      assertEquals(await pub.exited, 130, pub.stderr());
      await first.stop();
      const pipe = `{ ${commandLine} sub -p ${port} -t p; echo "status $?" >&2; } | head -n 1`;
      const reader = await startProcess("sh", ["-c", pipe]);
      let isOver = false;
      reader.exited.then(() => isOver = true);
      // head goes after the first one, and sub when it has another to print.
      while (!isOver) await mosquittoPub({ port, topic: "p", message: "x" });
      assertEquals([await reader.exited, reader.stdout(), reader.stderr()], [0, "x\n", "status 0\n"]);
    }),
);

test(
  "progress and colours are for terminals, and NO_COLOR is heard",
  onTerminal,
  () =>
    withMosquitto({}, async ({ port }) => {
      const terminal = (command: string, env?: Record<string, string>) =>
        runShell(`timeout 30 script -qec "$1" /dev/null`, [command], env);
      // More lines come when the progress of the first ones was shown.
      const slow = `{ seq 10; until grep -q '10 messages' "$f"; do sleep 0.1; done; seq 10; } | ` +
        `${commandLine} pub -p ${port} -t t -l -q 1`;
      const { code, stdout } = await runShell(
        `export f=$(mktemp); timeout 30 script -qefc "$1" "$f"; code=$?; rm "$f"; exit $code`,
        [slow],
      );
      assertEquals(code, 0, stdout);
      assertStringIncludes(stdout, "\r\x1b[K10 messages, ");
      assertEquals((await runShell(`seq 10 | mqtt3c pub -p ${port} -t t -l`)).stderr, "");
      const wrong = `${commandLine} pub`;
      assertStringIncludes((await terminal(wrong)).stdout, "\x1b[31mWhat is to be published");
      assertStringIncludes((await terminal(wrong, { NO_COLOR: "1" })).stdout, "mqtt3c: What is to be published");
    }),
);

test(
  "exit statuses and sentences for what goes wrong",
  tools,
  () =>
    withMosquitto({}, async ({ port }) => {
      const at = ["-p", `${port}`];
      const cases: [status: number, says: RegExp, args: string[]][] = [
        [1, /There is no command nonsense/, ["nonsense"]],
        [1, /There is no command nonsense/, ["help", "nonsense"]],
        [1, /What is to be done\?/, []],
        [1, /-t FILTER/, ["sub", ...at]],
        [1, /Unknown option '--nonsense'.*--help/, ["sub", "--nonsense"]],
        [1, /--qos takes a whole number between 0 and 2, not 3/, ["sub", ...at, "-t", "t", "-q", "3"]],
        [1, /\[MQTT-4\.7\.1-2\]/, ["sub", ...at, "-t", "a/#/b"]],
        [1, /One of -m TEXT/, ["pub", ...at, "-t", "t", "-m", "m", "-n"]],
        [1, /Where to\?/, ["pub", ...at, "-m", "m"]],
        [1, /pairs of hexadecimal digits/, ["pub", ...at, "-t", "t", "--hex", "-m", "xyz"]],
        [1, /%z, which means nothing/, ["sub", ...at, "-t", "t", "-F", "%z"]],
        [1, /percent-encode/, ["sub", "-L", "mqtt://user:1/2@host"]],
        [1, /-V takes 311, 5 or auto, not 4/, ["sub", ...at, "-t", "t", "-V", "4"]],
        [1, /Unexpected argument 'more'/, ["sub", ...at, "-t", "t", "--", "more"]],
        [1, /--file: .*no such file/i, ["pub", ...at, "-t", "t", "-f", "/no/such/file"]],
        [1, /--cafile: .*no such file/i, ["sub", ...at, "-t", "t", "--cafile", "/no/such/file"]],
        [1, /--password-file: .*no such file/i, [
          "sub",
          ...at,
          "-t",
          "t",
          "-u",
          "u",
          "--password-file",
          "/no/such/file",
        ]],
        [1, /begins with mqtt, mqtts, ws, wss or unix, not with http/, ["pub", "-L", "http://127.0.0.1", "-m", "m"]],
        [14, /is a server running there/, ["sub", "-h", "127.0.0.1", "-p", "1", "-t", "t"]],
        [15, /Cannot resolve/, ["sub", "-h", "nobody.invalid", "-t", "t"]],
        [16, /proxy/, ["sub", ...at, "--proxy", `http://127.0.0.1:${port}`, "-t", "t"]],
      ];
      for (const [status, says, args] of cases) {
        const { code, stdout, stderr } = await mqtt3c(args);
        assertEquals([code, stdout], [status, ""], `${args.join(" ")}: ${stderr}`);
        assertMatch(stderr, says);
        assert(!/\n +at /.test(stderr), `no stack: ${stderr}`);
      }
    }),
);

test("help fits a screen, has examples, and no colours where there is no terminal", async () => {
  for (
    const args of [
      ["help"],
      ["help", "connection"],
      ["help", "properties"],
      ...["sub", "pub", "request", "respond", "bench", "doctor"].map((name) => [name, "--help"]),
    ]
  ) {
    const { code, stdout, stderr } = await mqtt3c(args);
    assertEquals([code, stderr], [0, ""]);
    const lines = stdout.trimEnd().split("\n");
    assert(lines.length <= 32, `${args}: ${lines.length} lines`);
    assertEquals(lines.filter((line) => line.length > 100), []);
    assert(!stdout.includes("\x1b"), "no colour");
    if (args[1] !== "connection") assertMatch(stdout, /^ {2}(.* \| )?mqtt3c \w+ -/m);
  }
});
