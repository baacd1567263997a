/** What only a process of its own can show; run by process_test.ts: `child.ts <scenario> <port> [<pid> or <file>]`. */
import { readFileSync } from "node:fs";
import process from "node:process";
import { connect as connectTls } from "node:tls";
import { connect, type MqttError } from "../../mod.ts";

const [scenario = "", portText, extra = ""] = process.argv.slice(2);
const port = Number(portText);
const say = (text: string) => void process.stdout.write(`${text}\n`);
const codes = async (promises: Promise<unknown>[]) =>
  (await Promise.allSettled(promises)).map((result) =>
    result.status === "rejected" ? (result.reason as MqttError).code ?? String(result.reason) : "done"
  ).join(" ");

const scenarios: Record<string, () => Promise<void>> = {
  /** Waits to be killed. */
  async will() {
    const will = { topic: "will/größe", message: "gone 温度", retain: true };
    const mqtt = await connect("127.0.0.1", undefined, { port, will });
    say("connected");
    await mqtt.run();
  },

  /** The same, with a will of QoS 2. */
  async will2() {
    const mqtt = await connect("127.0.0.1", undefined, { port, will: { topic: "will", message: "gone", qos: 2 } });
    say("connected");
    await mqtt.run();
  },

  /** Nobody awaits anything when the connection ends. */
  async unawaited() {
    const mqtt = await connect("127.0.0.1", undefined, { port });
    mqtt.subscribe("a");
    mqtt.subscribe("b", () => say("never"));
    mqtt.unsubscribe("c");
    mqtt.messages("d");
    for (let i = 0; i < 40; i++) mqtt.publish("t", new Uint8Array(100_000));
    say(`${(await mqtt.run()).code}`);
    mqtt.publish("late", "");
    mqtt.subscribe("late");
    mqtt.unsubscribe("late");
    mqtt.messages("late");
    await new Promise((resolve) => setTimeout(resolve, 50));
    say("still here");
  },

  /** A refused subscription that nobody awaits does surface. */
  async refused() {
    process.on("unhandledRejection", (error: MqttError) => {
      say(`unhandled: ${error.code}`);
      mqtt.disconnect();
    });
    const mqtt = await connect("127.0.0.1", undefined, { port });
    mqtt.subscribe("denied");
    say(`${(await mqtt.run()).code}`);
  },

  /** What onpub and the callback throw is uncaught, and stops nothing. */
  async throws() {
    const caught: string[] = [];
    process.on("uncaughtException", (error) => caught.push(error.message));
    const mqtt = await connect("127.0.0.1", (topic, message) => {
      say(`${topic}: ${message}`);
      if (topic === "end") mqtt.disconnect();
      else throw new Error(`thrown at ${message}`);
    }, { port });
    await mqtt.subscribe("own", {
      onpub: () => {
        throw new Error("thrown by its own");
      },
    }, () => {
      throw new Error("thrown by the callback");
    });
    await mqtt.subscribe(["t", "end"]);
    await mqtt.publish("t", "1");
    await mqtt.publish("own", "");
    await mqtt.publish("t", "2");
    await mqtt.publish("end", "");
    say(`${(await mqtt.run()).code}`);
    say(caught.join(", "));
  },

  /** The same, with nobody to catch it. */
  async dies() {
    const mqtt = await connect("127.0.0.1", () => {
      throw new Error("thrown by onpub");
    }, { port });
    await mqtt.subscribe("t");
    await mqtt.publish("t", "");
    await mqtt.run();
  },

  /** The broker is stopped, and the process ends by itself when all is told. */
  async stalled() {
    const mqtt = await connect("127.0.0.1", undefined, { port, keepalive: 1, timeout: 60_000 });
    process.kill(Number(extra), "SIGSTOP");
    const start = performance.now();
    const pending = [
      mqtt.subscribe("a"),
      mqtt.subscribe(["b", "c"], () => {}),
      mqtt.unsubscribe("d"),
      mqtt.messages("e").next(),
      ...Array.from({ length: 80 }, () => mqtt.publish("t", new Uint8Array(200_000))),
    ];
    const end = await mqtt.run();
    say(`${end.code} ${performance.now() - start < 5000 ? "in time" : "late"}`);
    const told = (await codes(pending)).split(" ");
    say(`${told.slice(0, 4)} ${told.slice(4).every((code) => code === "done" || code === "pingresp")} ${told.at(-1)}`);
    say(await codes([mqtt.disconnect(), mqtt.publish("t", "")]));
  },

  /** All ways a connection can end, one after the other: nothing keeps the process alive. */
  async ends() {
    const closing = await connect("127.0.0.1", undefined, { port });
    await closing.subscribe("t");
    await closing.disconnect();
    const controller = new AbortController();
    const aborted = await connect("127.0.0.1", undefined, { port, signal: controller.signal });
    controller.abort();
    await aborted.run();
    say(await codes([connect("127.0.0.1", undefined, { port: 1, timeout: 60_000 })]));
    const iterating = await connect("127.0.0.1", undefined, { port });
    const messages = iterating.messages("t");
    await messages.return?.();
    await iterating[Symbol.asyncDispose]();
    say("done");
  },

  /** The same over TLS: a good end, no trust, no CONNACK, no handshake. */
  async secureEnds() {
    const ca = readFileSync(extra);
    const op = { port, timeout: 2000 };
    const good = await connect("localhost", undefined, { ...op, tls: { ca } });
    await good.subscribe("t");
    await good.disconnect();
    const socket = connectTls({ host: "localhost", port, ca });
    const handedIn = await connect(socket);
    await handedIn.disconnect();
    say(
      await codes([
        connect("localhost", undefined, { ...op, uname: "u", tls: true }),
        connect("localhost", undefined, { ...op, tls: { ca }, signal: AbortSignal.timeout(1) }),
        connect("localhost", undefined, { ...op, tls: { ca }, uname: () => new Promise(() => {}) }),
        connect(connectTls({ host: "localhost", port, ca, rejectUnauthorized: false, servername: "x" }), undefined, {
          uname: "u",
        }),
      ]),
    );
  },
};

// No top-level await: while it waits, Bun reports an uncaught error and does not end the process.
void scenarios[scenario]!();
