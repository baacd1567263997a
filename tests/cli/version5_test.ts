/** MQTT 5 on the command line: what mosquitto's two commands say is understood, and the other way round. */
import { test } from "node:test";
import { assert, assertEquals, assertMatch } from "@std/assert";
import { needs, run } from "../support/process.ts";
import { startAedes } from "../support/servers.ts";
import { mqtt3c, runShell, startCommand, withMosquitto, withRules } from "./support.ts";

const tools = needs("mosquitto", "mosquitto_pub", "mosquitto_sub");

/** As arguments of -D, one after the other. */
const properties = [
  ["content-type", "text/plain"],
  ["user-property", "name", 'a "value"'],
  ["user-property", "name", "again"],
  ["correlation-data", "c d"],
  ["payload-format-indicator", "1"],
  ["response-topic", "re/ply"],
  ["message-expiry-interval", "100"],
].flatMap((words) => ["-D", "publish", ...words]);

const format = "[%C] [%D] [%E] [%F] [%P] [%R] [%10C] [%.4C] [%6E|%6F]";
const printed = '[text/plain] [c d] [E] [1] [name:a "value" name:again] [re/ply] [text/plain] [text] [    E|     1]\n';
/** Seconds that are left change. */
const withoutSeconds = (text: string) => text.replaceAll(/\b(100|9\d)\b/g, "E").replaceAll(/ {3,4}E/g, "    E");

test(
  "pub -D: mosquitto_sub gets each property; sub prints those of mosquitto_pub as mosquitto_sub does",
  tools,
  () =>
    withMosquitto({}, async ({ port }) => {
      const at = ["-h", "127.0.0.1", "-p", `${port}`], message = ["-t", "t/1", "-m", `{"a":1}`, "-r", "-q", "1"];
      const out = ["-t", "t/1", "-C", "1", "-F", format], json = ["-t", "t/1", "-C", "1", "-V", "5", "-F", "%j"];
      const plain = (text: string) =>
        JSON.parse(text.replace(/"tst":"[^"]*"/, `"tst":""`).replace(/:(100|9\d)\b/, ":1"));
      const outs: unknown[] = [];
      for (const theirsFirst of [false, true]) {
        const sent = theirsFirst
          ? await run("mosquitto_pub", [...at, ...message, ...properties])
          : await mqtt3c(["pub", ...at, ...message, ...properties]);
        assertEquals([sent.code, sent.stderr], [0, ""]);
        const theirs = await run("mosquitto_sub", [...at, "-V", "5", ...out]);
        assertEquals(withoutSeconds(theirs.stdout), printed);
        const ours = await mqtt3c(["sub", ...at, "-V", "5", ...out]);
        assertEquals([ours.code, ours.stderr, withoutSeconds(ours.stdout)], [0, "", printed]);
        outs.push(plain((await run("mosquitto_sub", [...at, ...json])).stdout));
        outs.push(plain((await mqtt3c(["sub", ...at, ...json])).stdout));
      }
      for (const each of outs) assertEquals(each, outs[0]);
      // Over 3.1.1 there are none, and they are empty.
      const old = await mqtt3c(["sub", ...at, ...out]);
      assertEquals(old.stdout, "[] [] [] [] [] [] [          ] [] [      |      ]\n");
    }),
);

test(
  "sub --json and pub --json keep the properties, and those that are no text",
  tools,
  () =>
    withMosquitto({}, async ({ port }) => {
      const line = { topic: "a/1", qos: 1, payload: "x" };
      const given = {
        payloadFormat: 1,
        contentType: "c",
        responseTopic: "r",
        user: [["n", "1"], ["n", "2"]],
        expiry: 1000,
      };
      const inputs = [{ ...given, correlation: "text" }, { correlationBase64: "/w==" }, undefined];
      for (const properties of inputs) {
        const played = await runShell(
          `printf '%s' "$2" | mqtt3c pub -p $1 -V 5 -r --json && mqtt3c sub -p $1 -V 5 -t 'a/#' -C 1 --json |
        sed s:a/:b/: | mqtt3c pub -p $1 -V mqttv5 --json && mqtt3c sub -p $1 -V 5 -t 'b/#' -C 1 --json`,
          [`${port}`, JSON.stringify({ ...line, properties })],
        );
        assertEquals([played.code, played.stderr], [0, ""]);
        const { topic, payload, properties: found } = JSON.parse(played.stdout);
        assertEquals([topic, payload], ["b/1", "x"]);
        if (found?.expiry !== undefined) found.expiry = 1000;
        assertEquals(found, properties);
      }
      const cases: [status: number, says: RegExp, line: string][] = [
        [
          1,
          /Line 1 of the input has retained, which means nothing: there are topic, /,
          `{"topic":"t","retained":true}`,
        ],
        [1, /Line 1 of the input has properties that are no object/, `{"topic":"t","properties":1}`],
        [1, /Line 1 of the input has a correlation that is no text/, `{"topic":"t","properties":{"correlation":1}}`],
        [1, /expiry/, `{"topic":"t","properties":{"expiry":"x"}}`],
        [1, /nonsense/, `{"topic":"t","properties":{"nonsense":1}}`],
      ];
      for (const [status, says, input] of cases) {
        const wrong = await runShell(`printf '%s' "$2" | mqtt3c pub -p $1 -V 5 --json`, [`${port}`, input]);
        assertEquals(wrong.code, status, wrong.stderr);
        assertMatch(wrong.stderr, says);
      }
      const old = await runShell(`printf '%s' "$2" | mqtt3c pub -p $1 --json`, [
        `${port}`,
        `{"topic":"t","properties":{"contentType":"c"}}`,
      ]);
      assertEquals(old.code, 10, old.stderr);
      assertMatch(old.stderr, /version: 5/);
    }),
);

test(
  "sub: no-local, retain as published, retain handling, a subscription identifier",
  tools,
  () =>
    withMosquitto({}, async ({ port, log }) => {
      const at = ["-p", `${port}`];
      assertEquals((await mqtt3c(["pub", ...at, "-t", "r", "-m", "old", "-r", "-q", "1"])).code, 0);
      const start = async (...args: string[]) => {
        const sub = await startCommand(["sub", ...at, "-t", "r", "-d", "-C", "1", "-F", "%p %r %S", ...args]);
        await sub.output(/<- SUBACK/);
        return sub;
      };
      const plain = await start("--retain-handling", "2", "-D", "subscribe", "subscription-identifier", "7");
      const kept = await start("--retain-as-published", "--retain-handling", "2");
      const none = await mqtt3c(["sub", ...at, "-t", "r", "--retain-handling", "2", "-W", "0.3"]);
      assertEquals([none.code, none.stdout], [27, ""]);
      assertEquals((await mqtt3c(["pub", ...at, "-t", "r", "-m", "new", "-r", "-q", "1"])).code, 0);
      assertEquals([await plain.exited, plain.stdout()], [0, "new 0 7\n"]);
      assertEquals([await kept.exited, kept.stdout()], [0, "new 1 \n"]);
      const ids = await mqtt3c([
        "sub",
        ...at,
        "-t",
        "r",
        "-C",
        "1",
        "--json",
        "-D",
        "SUBSCRIBE",
        "subscription-identifier",
        "9",
      ]);
      assertEquals(JSON.parse(ids.stdout).properties, { subscriptionIds: [9] });
      // What is its own comes back, or not: the will of an own topic cannot be seen, so the flag on the wire is.
      const wire = await start("--no-local", "--retain-handling", "0");
      assertEquals([await wire.exited, wire.stdout()], [0, "new 1 \n"]);
      assertMatch(log(), /Received SUBSCRIBE/);
    }),
);

test(
  "a session is kept for so many seconds, and for as long as DISCONNECT says",
  tools,
  () =>
    withMosquitto({}, async ({ port }) => {
      const at = ["-p", `${port}`, "-V", "5", "-i", "kept", "-q", "1", "-t", "k"];
      const isPresent = async (...more: string[]) => {
        const sub = await startCommand(["sub", ...at, "-d", "-E", ...more]);
        assertEquals(await sub.exited, 0, sub.stderr());
        return sub.stderr();
      };
      await isPresent("-x", "60");
      assertEquals((await mqtt3c(["pub", "-p", `${port}`, "-t", "k", "-m", "1", "-q", "1"])).code, 0);
      const one = await mqtt3c(["sub", ...at, "-x", "60", "-C", "1"]);
      assertEquals([one.code, one.stdout], [0, "1\n"]);
      // The last word: it is not kept any more.
      await isPresent("-c", "-D", "disconnect", "session-expiry-interval", "0");
      assertEquals((await mqtt3c(["pub", "-p", `${port}`, "-t", "k", "-m", "2", "-q", "1"])).code, 0);
      const none = await mqtt3c(["sub", ...at, "-x", "-1", "-C", "1", "-W", "0.5"]);
      assertEquals([none.code, none.stdout], [27, ""]);
    }),
);

test("-V auto takes what there is, and -v and -d say which", tools, async () => {
  const old = await startAedes();
  try {
    await withMosquitto({}, async ({ port }) => {
      for (const [broker, name] of [[port, "MQTT 5"], [old.port, "MQTT 3.1.1"]] as const) {
        const at = ["-h", "127.0.0.1", "-p", `${broker}`, "-V", "auto", "-t", "t"];
        assertEquals(await mqtt3c(["pub", ...at, "-m", "m", "-r"]), { code: 0, stdout: "", stderr: "" });
        const sub = await mqtt3c(["sub", ...at, "-C", "1", "-v"]);
        assertEquals(sub, { code: 0, stdout: "t m\n", stderr: `mqtt3c: the broker speaks ${name}\n` });
        const debug = await mqtt3c(["sub", ...at, "-C", "1", "-d"]);
        assert(debug.stderr.includes(`the broker speaks ${name}\n`), debug.stderr);
      }
      const needed = await mqtt3c(
        ["pub", "-h", "127.0.0.1", "-p", `${old.port}`, "-V", "auto", "-t", "t", "-m", "m"].concat([
          "-D",
          "publish",
          "content-type",
          "c",
        ]),
      );
      assertEquals(needed.code, 10, needed.stderr);
    });
  } finally {
    await old.stop();
  }
});

test(
  "reason codes are told in words, and are exit statuses",
  tools,
  () =>
    withRules("topic read #", async ({ port }) => {
      const at = ["-p", `${port}`, "-V", "5", "-t", "t"];
      const refused = await mqtt3c(["pub", ...at, "-m", "m", "-q", "1"]);
      assertEquals(refused.code, 135, refused.stderr);
      assertMatch(refused.stderr, /not authorized/);
      const traced = await mqtt3c(["pub", ...at, "-m", "m", "-q", "1", "-d"]);
      assertMatch(traced.stderr, /<- PUBACK #1, code 135, /);
    }),
);

test("a will with its properties, and CONNECT with its own", tools, () =>
  withMosquitto({}, async ({ port }) => {
    const at = ["-p", `${port}`, "-V", "5"];
    const witness = await startCommand(["sub", ...at, "-t", "will", "-C", "1", "-F", "%p %C %P", "-d"]);
    await witness.output(/<- SUBACK/);
    const doomed = await startCommand(
      ["sub", ...at, "-t", "x", "-d", "--will-topic", "will", "--will-payload", "gone"].concat(
        ["-D", "will", "content-type", "c/d", "-D", "will", "user-property", "a", "b"],
        ["-D", "connect", "user-property", "who", "me", "-D", "connect", "receive-maximum", "10"],
        ["-D", "connect", "topic-alias-maximum", "5", "-D", "connect", "request-problem-information", "0"],
      ),
    );
    await doomed.output(/<- SUBACK/);
    doomed.kill("SIGKILL");
    assertEquals(await witness.exited, 0, witness.stderr());
    assertMatch(witness.stdout(), /^gone c\/d a:b\n$/);
  }));

test("what is wrong with -D, -x and -V is said before anything is sent", tools, async () => {
  const cases: [says: RegExp, args: string[]][] = [
    [/-D takes PACKET NAME TEXT: mqtt3c help properties/, ["pub", "-t", "t", "-m", "m", "-D", "publish"]],
    [/-D takes PACKET NAME TEXT/, ["pub", "-t", "t", "-m", "m", "-D", "publish", "user-property", "a"]],
    [/takes the packets connect, publish, will, disconnect, not subscribe/, [
      ..."pub -t t -m m -D subscribe user-property a b".split(" "),
    ]],
    [/nonsense is no property of publish/, "pub -t t -m m -D publish nonsense a".split(" ")],
    [/-D gives publish its content-type twice/, [
      ..."pub -t t -m m -D publish content-type a -D publish content-type b".split(" "),
    ]],
    [/message-expiry-interval takes a whole number between 1 and/, [
      ..."pub -t t -m m -D publish message-expiry-interval 0".split(" "),
    ]],
    [/say how many, -D connect topic-alias-maximum/, "pub -t t -m m -D publish topic-alias 1".split(" ")],
    [/--will-topic/, "pub -t t -m m -D will content-type a".split(" ")],
    [/-D is of MQTT 5: leave -V 311 out/, "pub -V 311 -t t -m m -D publish content-type a".split(" ")],
    [/-x is of MQTT 5: leave -V mqttv311 out/, "sub -V mqttv311 -t t -x 5".split(" ")],
    [/--no-local is of MQTT 5/, "sub -V 311 -t t --no-local".split(" ")],
    [/needs an identifier/, "sub -t t -x 5".split(" ")],
    [/-x 0 keeps none/, "pub -t t -m m -i a --store /tmp/none -x 0".split(" ")],
    [/--retain-handling takes a whole number between 0 and 2/, "sub -t t --retain-handling 3".split(" ")],
    [/authentication-method, too/, "sub -t t -D connect authentication-data a".split(" ")],
    [/%A of the format, the topic alias, is the library's own business/, "sub -t t -F %A".split(" ")],
    [/chooses its response topic/, "request t -D publish response-topic a".split(" ")],
  ];
  // Nobody listens on port 1: what gets that far ends with 14.
  for (const [says, args] of cases) {
    const { code, stdout, stderr } = await mqtt3c([
      ...args.slice(0, 1),
      "-h",
      "127.0.0.1",
      "-p",
      "1",
      ...args.slice(1),
    ]);
    assertEquals([code, stdout], [1, ""], `${args.join(" ")}: ${stderr}`);
    assertMatch(stderr, says);
  }
});
