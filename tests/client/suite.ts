/** The tests that every way to a broker passes, with mosquitto's tools on the other side. */
import { after, before, describe, test } from "node:test";
import { assert, assertEquals, assertInstanceOf, assertRejects, assertStrictEquals } from "@std/assert";
import { type Client, connect, type ConnectOptions, MqttError, type OnPublish } from "../../mod.ts";
import { needs, run } from "../support/process.ts";
import { mosquittoPub, mosquittoSub, type Subscriber } from "../support/servers.ts";
import { type Digest, digest, digestOf, ready } from "./digest.ts";
import { assertBytes, codeOf, failure, Inbox, noise, within } from "./support.ts";
import type { Way } from "./ways.ts";

/** What a test works with. */
interface Scene {
  /** A client, and what its onpub got. */
  client: Client;
  inbox: Inbox;
  connect(onpub?: OnPublish, op?: ConnectOptions): Promise<Client>;
  /** Publishes with `mosquitto_pub`. */
  pub(topic: string, message: string | Uint8Array, retain?: boolean): Promise<void>;
  /** Subscribes with `mosquitto_sub`. */
  sub(topic: string): Promise<Subscriber>;
  /** The digest of what `mosquitto_sub` receives. */
  digest(topic: string, count: number): Promise<Digest>;
  /** Publishes with another client of ours, over plain TCP: a process each time would take its time. */
  tell(topic: string, message: string): Promise<number>;
  port: number;
  /** See {@linkcode Way}. */
  inThread: boolean;
  isSlow: boolean;
  hasNoSpaces: boolean;
  refusesNone: boolean;
  refusal: 128 | 135;
}

const payloads = [
  ["an empty payload", "payload/empty", new Uint8Array()],
  ["a unicode topic and payload", "größe/温度/🌡️ 10 °C/\u{feff}", "naïve 温度 🌡️ \u{feff}"],
  ["a payload of 256 KiB", "payload/large", noise(256 << 10)],
  ["a payload of 8 MiB", "payload/huge", noise(8 << 20)],
] as const;

const commands = ["microsocks", "openssl", "mosquitto_pub", "mosquitto_sub"];
const utf8 = new TextEncoder();
const numbers = (count: number) => Array.from({ length: count }, (_, i) => `${i + 1}`);

/** Defines the tests for one way; `count` messages are sent each way to see their order; `parts` are its commands. */
export function suite(name: string, start: () => Promise<Way>, count = 10_000, parts: string[] = ["mosquitto"]): void {
  const tools = needs(...parts, ...commands);
  describe(name, () => {
    let way: Way, peer: Client;

    before(async () => {
      if (tools.skip !== undefined) return;
      way = await start();
      peer = await connect("127.0.0.1", undefined, { port: way.port });
      await peer.publish(ready.topic, ready.message, { retain: true });
    });
    after(async () => {
      await peer?.disconnect();
      await way?.stop();
    });

    /** A test with a client, and without leftovers: every client it opened is disconnected. */
    function scene(title: string, act: (scene: Scene) => Promise<unknown>): void {
      test(title, tools, async () => {
        const clients: Client[] = [];
        const subscribers: Subscriber[] = [];
        const open: Scene["connect"] = async (onpub, op) => {
          const client = await way.connect(onpub, op);
          clients.push(client);
          return client;
        };
        try {
          const inbox = new Inbox();
          await act({
            client: await open(inbox.onpub),
            inbox,
            connect: open,
            tell: (topic, message) => peer.publish(topic, message),
            digest: (topic, count) => digest(way.port, topic, count),
            pub: (topic, message, retain = false) => mosquittoPub({ port: way.port, topic, message, retain }),
            async sub(topic) {
              const subscriber = await mosquittoSub({ port: way.port, topic });
              subscribers.push(subscriber);
              return subscriber;
            },
            port: way.port,
            inThread: way.inThread ?? false,
            isSlow: way.isSlow ?? false,
            hasNoSpaces: way.hasNoSpaces ?? false,
            refusesNone: way.refusesNone ?? false,
            refusal: way.refusal ?? 128,
          });
        } finally {
          await Promise.all(subscribers.map((subscriber) => subscriber.stop()));
          await Promise.all(clients.map((client) => client.disconnect()));
        }
      });
    }

    for (const [title, name, payload] of payloads) {
      scene(`${title} passes unharmed in both directions`, async (scene) => {
        const { client, inbox, pub, digest, isSlow, hasNoSpaces } = scene;
        const topic = hasNoSpaces ? name.replaceAll(" ", "") : name;
        const all = typeof payload === "string" ? utf8.encode(payload) : payload;
        const expected = isSlow ? all.subarray(0, 64 << 10) : all;
        const sent = await digest(topic, 1);
        await client.publish(topic, typeof payload === "string" ? payload : expected);
        assertEquals(await sent.received(), digestOf(expected));

        await client.subscribe(topic);
        await pub(topic, expected);
        const [message] = await inbox.take(1);
        assertEquals([message!.topic, message!.qos, message!.retain, message!.dup], [topic, 0, false, false]);
        assertBytes(message!.payload, expected);
        if (typeof payload === "string") assertEquals([message!.text(), `${message}`], [payload, payload]);
      });
    }

    scene("[MQTT-3.3.1-8] a retained message arrives with retain, a new one without", async (
      { client, inbox, pub, sub },
    ) => {
      await pub("kept/theirs", `{"on":true}`, true);
      await client.subscribe("kept/theirs");
      const [kept] = await inbox.take(1);
      assertEquals([kept!.retain, kept!.json<{ on: boolean }>().on], [true, true]);
      await pub("kept/theirs", "", true);
      assertEquals((await inbox.take(1))[0]!.retain, false);

      await client.publish("kept/ours", "kept", { retain: true });
      await client.publish("kept/ours/done", "");
      await client.subscribe("kept/ours");
      await inbox.take(1); // the broker has it
      assertEquals((await (await sub("kept/ours")).next()).retain, true);
      await client.publish("kept/ours", "", { retain: true });
    });

    scene(`${count} messages arrive in order`, async ({ client, inbox, port, digest }) => {
      const expected = numbers(count);
      const sent = await digest("order/out", count);
      for (const number of expected) await client.publish("order/out", `${number}\n`);
      assertEquals(await sent.received(), digestOf(utf8.encode(`${expected.join("\n")}\n`)));

      await client.subscribe("order/in");
      const flood = run("sh", ["-c", `seq ${count} | mosquitto_pub -l -h 127.0.0.1 -p ${port} -t order/in`]);
      const received = await inbox.take(count);
      assert(received.every((message, i) => message.text() === expected[i]), "received in order");
      assertEquals((await flood).code, 0);
    });

    scene("subscribe tells the granted QoS to its promise and its callback", async ({ client }) => {
      const codes: number[] = [];
      const callback = (code: number) => codes.push(code);
      assertEquals(await client.subscribe("codes/1"), 0);
      assertEquals(await client.subscribe("codes/2", callback), 0);
      assertEquals(await client.subscribe("codes/3", { qos: 0 }, callback), 0);
      assertEquals(await client.subscribe(["codes/4", "codes/+/5"], {}, callback), 0);
      assertEquals(codes, [0, 0, 0]);
    });

    scene("a subscription's own onpub gets its messages, the client's the others", async ({ client, inbox, tell }) => {
      const own = new Inbox();
      await client.subscribe("own/+/here", { onpub: own.onpub });
      await client.subscribe(["own/x", "own/y/z/#"]);
      for (const topic of ["own/x", "own/1/here", "own/y/z", "own/2/here"]) await tell(topic, topic);
      assertEquals([await own.text(), await own.text()], ["own/1/here: own/1/here", "own/2/here: own/2/here"]);
      assertEquals([await inbox.text(), await inbox.text()], ["own/x: own/x", "own/y/z: own/y/z"]);
    });

    scene("a message goes to each of the overlapping filters", async ({ client, inbox, tell }) => {
      const wide = new Inbox(), narrow = new Inbox();
      await client.subscribe("overlap/#", { onpub: wide.onpub });
      await client.subscribe("overlap/+/narrow", { onpub: narrow.onpub });
      await tell("overlap/1/narrow", "both");
      await tell("overlap/2/wide", "one");
      assertEquals(await narrow.text(), "overlap/1/narrow: both");
      // A broker may send it once for each filter (section 3.3.5).
      const others = new Set(["overlap/1/narrow: both"]);
      for (let text = ""; text !== "overlap/2/wide: one"; others.add(text = await wide.text()));
      assertEquals([...others], ["overlap/1/narrow: both", "overlap/2/wide: one"]);
      assertEquals(inbox.messages, []);
    });

    scene("[MQTT-3.9.3-2] a refused subscription is told with its code", async (parts) => {
      const { client, inbox, tell, refusal, refusesNone } = parts, codes: number[] = [];
      if (refusesNone) return assertEquals(await client.subscribe(["allowed/1", "denied/2"]), 0);
      assertEquals(await codeOf(client.subscribe("denied/1")), refusal);
      assertEquals(await codeOf(client.subscribe(["allowed/1", "denied/2"], (code) => codes.push(code))), refusal);
      assertEquals(codes, [refusal]);
      await tell("allowed/1", "still here");
      assertEquals(await inbox.text(), "allowed/1: still here");
      assertEquals(await codeOf(client.messages("denied/3").next()), refusal);
    });

    scene("unsubscribe: nothing comes any more", async ({ client, inbox, tell }) => {
      let answered = 0;
      await client.subscribe(["un/1", "un/2", "un/end"]);
      await client.unsubscribe(["un/1", "un/2"], () => answered++);
      await client.unsubscribe("un/never");
      for (const topic of ["un/1", "un/2", "un/end"]) await tell(topic, "x");
      assertEquals([await inbox.text(), answered], ["un/end: x", 1]);
    });

    scene("messages() iterates, and leaving it unsubscribes", async ({ client, inbox, tell }) => {
      const messages = client.messages("iterated/+");
      const texts: string[] = [];
      await client.subscribe("iterated");
      for (const text of ["1", "2", "3"]) await tell("iterated/x", text);
      for await (const message of messages) {
        texts.push(message.text());
        if (texts.length === 3) break;
      }
      await tell("iterated/x", "4");
      await tell("iterated", "after");
      assertEquals(texts, ["1", "2", "3"]);
      assertEquals(await inbox.text(), "iterated: after");
      assertEquals(await messages.next(), { done: true, value: undefined });
    });

    scene("messages() with a limit holds the broker back and loses nothing", async ({ client, connect }) => {
      const sender = await connect();
      const messages = client.messages("slow", { limit: 10 });
      await client.subscribe("subscribed");
      const expected = numbers(3000);
      const padding = " ".repeat(1000);
      const sent = Promise.all(expected.map((number) => sender.publish("slow", number + padding)));
      for (const number of expected) {
        const { value } = await within(messages.next(), `message ${number}`);
        assertEquals(value?.text().trimEnd(), number);
      }
      await sent;
      await messages.return?.();
    });

    scene("publish in onpub is normal use", async ({ connect, tell, sub }) => {
      const client: Client = await connect((topic, message) => {
        client.publish(`${topic}/echo`, `${message} ${message}`);
      });
      const subscriber = await sub("in/onpub/echo");
      await client.subscribe("in/onpub");
      await tell("in/onpub", "hear");
      assertEquals(new TextDecoder().decode((await subscriber.next()).payload), "hear hear");
    });

    scene("disconnect sends the 300 messages that were accepted", async ({ client, sub }) => {
      const subscriber = await sub("flush");
      const expected = numbers(300);
      const padding = " ".repeat(1024);
      const accepted = expected.map((number) => client.publish("flush", number + padding));
      await client.disconnect();
      await Promise.all(accepted);
      const sent: string[] = [];
      while (sent.length < 300) sent.push(new TextDecoder().decode((await subscriber.next()).payload).trimEnd());
      assertEquals(sent, expected);
    });

    scene("run() tells why it ended, to everybody who asks", async ({ client, inThread }) => {
      const reasons = [client.run(), client.run()];
      const pending = client.messages("pending").next();
      assert(inThread || client.sock, "the connection under it");
      await client.disconnect();
      const [reason, same] = await within(Promise.all(reasons), "run()");
      assertInstanceOf(reason, MqttError);
      assertEquals(reason.code, "disconnect");
      assertStrictEquals(same, reason);
      assertStrictEquals(await client.run(), reason);
      assertEquals(await pending, { done: true, value: undefined });
      for (const act of [client.publish("t", ""), client.subscribe("t"), client.unsubscribe("t")]) {
        assertEquals(await codeOf(act), "disconnect");
      }
      assertEquals(await client.messages("t").next(), { done: true, value: undefined });
      await client.disconnect();
    });

    scene("dispose disconnects", async ({ client }) => {
      await client[Symbol.asyncDispose]();
      assertEquals((await client.run()).code, "disconnect");
    });

    scene("the signal ends it before, during and after connect", async ({ connect }) => {
      const reason = new Error("enough");
      const before = await failure(connect(undefined, { signal: AbortSignal.abort(reason) }));
      assertEquals([before.code, before.cause], ["disconnect", reason]);

      const controller = new AbortController();
      const connecting = failure(connect(undefined, { signal: controller.signal }));
      queueMicrotask(() => controller.abort(reason));
      const during = await connecting;
      assertEquals([during.code, during.cause], ["disconnect", reason]);

      const later = new AbortController();
      const client = await connect(undefined, { signal: later.signal });
      later.abort(reason);
      const end = await within(client.run(), "run()");
      assertEquals([end.code, end.cause], ["disconnect", reason]);
    });

    scene("wrong arguments are refused, and the connection goes on", async ({ client, inbox, tell }) => {
      await assertRejects(() => client.publish("a/+", ""), TypeError);
      await assertRejects(() => client.subscribe("a/#/b"), TypeError);
      await assertRejects(() => client.subscribe([]), TypeError);
      await assertRejects(() => client.publish("x".repeat(65_536), ""), RangeError);
      await client.subscribe("fine");
      await tell("fine", "yes");
      assertEquals(await inbox.text(), "fine: yes");
    });
  });
}

/** Defines one test for all ways at once, as it takes its time: the broker hangs up after 3 s of silence. */
export function idleSuite(starts: readonly (() => Promise<Way>)[]): void {
  test("[MQTT-3.1.2-23] pings keep idle connections alive", needs("mosquitto", ...commands), async () => {
    const ways = await Promise.all(starts.map((start) => start()));
    try {
      const clients = await Promise.all(ways.map((way) => way.connect(undefined, { keepalive: 2 })));
      const over = new Promise((resolve) => setTimeout(resolve, 5000));
      for (const client of clients) {
        assertEquals(await Promise.race([over, client.run()]), undefined);
        assertEquals(await client.subscribe("idle"), 0);
      }
      await Promise.all(clients.map((client) => client.disconnect()));
    } finally {
      await Promise.all(ways.map((way) => way.stop()));
    }
  });
}
