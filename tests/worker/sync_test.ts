/** The client that blocks. Brokers are processes of their own here: this thread sleeps in the calls. */
import { spawn } from "node:child_process";
import process from "node:process";
import { describe, test } from "node:test";
import { assert, assertEquals, assertGreater, assertLess, assertStrictEquals, assertThrows } from "@std/assert";
import { type ConnectOptions, connectSync, MqttError, type OnPublish, type SyncClient } from "../../mod.ts";
import { threadCode } from "../../src/worker/code.ts";
import { Connector } from "../../src/worker/connector.ts";
import { Sharing } from "../../src/worker/shared_thread.ts";
import { assertBytes, noise } from "../client/support.ts";
import { overTcp } from "../client/ways.ts";
import { needs } from "../support/process.ts";
import { startScripted } from "../support/scripted.ts";
import { type ServerProcess, startMosquitto } from "../support/servers.ts";

const tools = needs("mosquitto", "mosquitto_pub");

/** The code of a thread that ends in the way that the host it connects to is called. */
const dyingCode = () =>
  `${threadCode()}
  const ways = {
    exit: () => process.exit(3),
    throw: () => { throw new Error("thrown in the thread"); },
    spin: () => { for (;;); },
  };
  process.getBuiltinModule("node:worker_threads").parentPort.on("message", ({ target }) => ways[target?.host]?.());`;
const local = "127.0.0.1";
/** How long anything takes at most; milliseconds. */
const soon = 10_000;

/** A broker that refuses `denied/#`. */
async function withBroker(act: (port: number) => unknown): Promise<void> {
  const way = await overTcp();
  try {
    await act(way.port);
  } finally {
    await way.stop();
  }
}

function withClient(act: (mqtt: SyncClient, port: number) => unknown, op: ConnectOptions = {}): Promise<void> {
  return withBroker(async (port) => {
    const mqtt = connectSync(local, undefined, { port, ...op });
    try {
      await act(mqtt, port);
    } finally {
      mqtt.disconnect();
    }
  });
}

function receive(mqtt: SyncClient): string {
  const message = mqtt.receive(soon);
  assert(message, "a message in time");
  return `${message.topic}: ${message}`;
}

/** The code of the MqttError it throws, and that within `most` milliseconds. */
function codeOf(act: () => unknown, most: number = soon): MqttError["code"] {
  const start = performance.now();
  const error = assertThrows(act, MqttError);
  assertLess(performance.now() - start, most);
  return error.code;
}

test("blocking: payloads pass unharmed", tools, () =>
  withClient((mqtt) => {
    assertEquals(mqtt.subscribe("größe/温度/+"), 0);
    const payloads = [new Uint8Array(), noise(1), noise(256 << 10), noise(8 << 20), noise(10)];
    for (const [i, payload] of payloads.entries()) mqtt.publish(`größe/温度/${i}`, payload);
    for (const [i, payload] of payloads.entries()) {
      const message = mqtt.receive(soon)!;
      assertEquals([message.topic, message.qos, message.retain, message.dup], [`größe/温度/${i}`, 0, false, false]);
      assertBytes(message.payload, payload);
    }
    mqtt.publish("größe/温度/text", "naïve 温度 🌡️");
    assertEquals(receive(mqtt), "größe/温度/text: naïve 温度 🌡️");
  }));

test("blocking: [MQTT-3.3.1-8] a retained message arrives with retain", tools, () =>
  withClient((mqtt) => {
    mqtt.publish("kept", "it", { retain: true });
    mqtt.subscribe("kept");
    assertEquals([mqtt.receive(soon)?.retain, mqtt.receive(0)], [true, undefined]);
    mqtt.publish("kept", "");
    assertEquals(mqtt.receive(soon)?.retain, false);
    mqtt.publish("kept", "", { retain: true });
  }));

test("blocking: 100,000 messages arrive in order, by run()", tools, () =>
  withBroker((port) => {
    const count = 100_000;
    let next = 1;
    const mqtt = connectSync(local, (_, message) => {
      if (message.text() !== `${next}`) throw new Error(`${message} instead of ${next}`);
      if (next++ === count) mqtt.disconnect();
    }, { port });
    mqtt.subscribe("order");
    const pub = spawn("sh", ["-c", `seq ${count} | mosquitto_pub -l -h ${local} -p ${port} -t order`]);
    const done = new Promise((resolve) => pub.on("close", resolve));
    assertEquals(mqtt.run().code, "disconnect");
    assertEquals(next, count + 1);
    return done;
  }));

test(
  "blocking: publish waits for room, and nothing is lost although nobody receives",
  tools,
  () =>
    withClient((mqtt) => {
      mqtt.subscribe("own");
      const count = 20_000;
      for (let i = 1; i <= count; i++) mqtt.publish("own", `${i} ${"x".repeat(200)}`);
      for (let i = 1; i <= count; i++) assertEquals(parseInt(mqtt.receive(soon)!.text()), i);
      assertEquals(mqtt.receive(0), undefined);
    }),
);

test("blocking: subscribe returns the granted QoS, and throws 128", tools, () =>
  withClient((mqtt) => {
    assertEquals(mqtt.subscribe(["codes/1", "codes/+/2"]), 0);
    assertEquals(mqtt.subscribe("codes/3", { qos: 0 }), 0);
    assertEquals(codeOf(() => mqtt.subscribe(["allowed", "denied/1"])), 128);
    mqtt.publish("allowed", "still here");
    assertEquals(receive(mqtt), "allowed: still here");
    mqtt.unsubscribe(["allowed", "codes/3"]);
    mqtt.publish("allowed", "");
    mqtt.publish("codes/1", "");
    assertEquals(receive(mqtt), "codes/1: ");
  }));

test("blocking: run() calls a subscription's own onpub, otherwise the client's", tools, () =>
  withBroker((port) => {
    const got: string[] = [];
    const note = (who: string): OnPublish => (topic, message) => {
      got.push(`${who} ${topic}: ${message}`);
      if (topic === "end") mqtt.disconnect();
    };
    const mqtt = connectSync(local, note("client"), { port });
    mqtt.subscribe(["a/#", "end"]);
    mqtt.subscribe("b/+", { onpub: note("own") });
    mqtt.subscribe("b/c", { onpub: note("other") });
    for (const topic of ["a/b", "b/d", "b/c", "end"]) mqtt.publish(topic, "x");
    mqtt.run();
    // A broker may send it once for each filter (section 3.3.5).
    assertEquals([...new Set(got)].sort(), [
      "client a/b: x",
      "client end: x",
      "other b/c: x",
      "own b/c: x",
      "own b/d: x",
    ]);
  }));

test(
  "blocking: an onpub that throws takes no message from the others, and run() throws it",
  tools,
  () =>
    withClient((mqtt) => {
      const heard: string[] = [];
      mqtt.subscribe("both/#", {
        onpub: (_, message) => {
          heard.push(`first ${message}`);
          throw new RangeError(`thrown at ${message}`);
        },
      });
      mqtt.subscribe("both/x", {
        onpub: (_, message) => {
          heard.push(`second ${message}`);
          if (message.text() === "2") mqtt.disconnect();
        },
      });
      mqtt.publish("both/x", "1");
      mqtt.publish("both/x", "2");
      assertThrows(() => mqtt.run(), RangeError, "thrown at 1");
      assertThrows(() => mqtt.run(), RangeError, "thrown at 2");
      assertEquals(mqtt.run().code, "disconnect");
      assertEquals(heard, ["first 1", "second 1", "first 2", "second 2"]);
    }),
);

test(
  "blocking: what came before unsubscribe() goes to the onpub it was subscribed with",
  tools,
  () =>
    withClient((mqtt) => {
      const heard: string[] = [];
      mqtt.subscribe("own", { onpub: (_, message) => void heard.push(message.text()) });
      mqtt.publish("own", "before");
      mqtt.unsubscribe("own");
      mqtt.subscribe("end", { onpub: () => mqtt.disconnect() });
      mqtt.publish("end", "");
      mqtt.run();
      assertEquals(heard, ["before"]);
    }),
);

test("blocking: onpub may publish, subscribe, receive and disconnect", tools, () =>
  withBroker((port) => {
    const got: string[] = [];
    const mqtt = connectSync(local, (topic, message) => {
      got.push(`${topic}: ${message}`);
      if (topic === "ask") {
        for (let i = 0; i < 3000; i++) mqtt.publish("own", `${i}`); // they come while SUBACK is awaited
        assertEquals(mqtt.subscribe("later"), 0);
        mqtt.publish("later", "it");
        assertEquals(mqtt.receive(soon)?.topic, "own");
      } else if (topic === "later") mqtt.disconnect();
    }, { port });
    mqtt.subscribe(["ask", "own"]);
    mqtt.publish("ask", "");
    assertEquals(mqtt.run().code, "disconnect");
    assertEquals(got, ["ask: ", ...Array.from({ length: 2999 }, (_, i) => `own: ${i + 1}`), "later: it"]);
  }));

test(
  "blocking: what onpub throws, run() throws, and goes on when it is called again",
  tools,
  () =>
    withBroker((port) => {
      let count = 0;
      const mqtt = connectSync(local, () => {
        if (++count === 1) throw new RangeError("thrown by onpub");
        mqtt.disconnect();
      }, { port });
      mqtt.subscribe("t");
      mqtt.publish("t", "");
      mqtt.publish("t", "");
      assertThrows(() => mqtt.run(), RangeError, "thrown by onpub");
      assertEquals([mqtt.run().code, count], ["disconnect", 2]);
    }),
);

test("blocking: receive() returns in time, with and without a message", tools, () =>
  withClient((mqtt) => {
    const start = performance.now();
    assertEquals(mqtt.receive(300), undefined);
    assertGreater(performance.now() - start, 295);
    assertLess(performance.now() - start, 2000);
    assertEquals(mqtt.receive(0), undefined);
    assertThrows(() => mqtt.receive(-1), RangeError);
    mqtt.subscribe("t");
    mqtt.publish("t", "1");
    assertEquals(receive(mqtt), "t: 1");
  }));

test(
  "blocking: disconnect sends what was accepted, and every call tells why from then on",
  tools,
  () =>
    withBroker((port) => {
      const other = connectSync(local, undefined, { port });
      other.subscribe("flush");
      const mqtt = connectSync(local, undefined, { port });
      for (let i = 0; i < 300; i++) mqtt.publish("flush", `${i}`.padEnd(1000));
      mqtt.disconnect();
      for (let i = 0; i < 300; i++) assertEquals(other.receive(soon)?.text().trimEnd(), `${i}`);
      other[Symbol.dispose]();
      const end = mqtt.run();
      assertEquals([end.code, mqtt.trusted], ["disconnect", false]);
      assertStrictEquals(mqtt.run(), end);
      const calls = [() => mqtt.publish("t", ""), () =>
        mqtt.subscribe("t"), () =>
        mqtt.unsubscribe("t"), () =>
        mqtt.receive()];
      for (const call of calls) {
        assertStrictEquals(assertThrows(call, MqttError), end);
      }
      mqtt.disconnect();
    }),
);

test("blocking: the signal ends it before, or from onpub", tools, () =>
  withBroker((port) => {
    const reason = new Error("enough");
    const before = assertThrows(
      () => connectSync(local, undefined, { port, signal: AbortSignal.abort(reason) }),
      MqttError,
    );
    assertEquals([before.code, before.cause], ["disconnect", reason]);
    const controller = new AbortController();
    const mqtt = connectSync(local, () => controller.abort(reason), { port, signal: controller.signal });
    mqtt.subscribe("t");
    mqtt.publish("t", "");
    const end = mqtt.run();
    assertEquals([end.code, end.cause], ["disconnect", reason]);
  }));

test("blocking: credentials may be functions, but not async ones", tools, async () => {
  const mosquitto = await startMosquitto({ password: true, config: "log_type none" });
  try {
    const { port } = mosquitto;
    const asked: string[] = [];
    const uname = () => (asked.push("uname"), "user");
    const mqtt = connectSync(local, undefined, { port, uname, passwd: () => new TextEncoder().encode("secret") });
    mqtt.disconnect();
    assertEquals(asked, ["uname"]);
    assertEquals(codeOf(() => connectSync(local, undefined, { port, uname, passwd: "wrong" })), 5);
    const passwd = () => Promise.resolve("secret");
    const error = assertThrows(() => connectSync(local, undefined, { port, uname, passwd }), MqttError);
    assertEquals([error.code, error.cause instanceof TypeError], ["cannotconnect", true]);
  } finally {
    await mosquitto.stop();
  }
});

test("blocking: wrong arguments are refused, and the connection goes on", tools, () =>
  withClient((mqtt) => {
    assertThrows(() => mqtt.publish("a/+", ""), TypeError);
    assertThrows(() => mqtt.publish("a/+", "", { qos: 1 }), TypeError);
    assertThrows(() => mqtt.publish("a", "", { qos: 3 as 2 }), RangeError);
    assertThrows(
      () => mqtt.publish([{ topic: "fine", message: "no", qos: 1 }, { topic: "a/+", message: "" }]),
      TypeError,
    );
    assertThrows(() => mqtt.subscribe("a/#/b"), TypeError);
    assertThrows(() => mqtt.subscribe([]), TypeError);
    assertThrows(() => mqtt.subscribe("a", { onpub: 1 as unknown as OnPublish }), TypeError);
    assertThrows(() => connectSync(local, 1 as unknown as OnPublish), TypeError);
    assertThrows(() => connectSync({} as unknown as string), TypeError, "stays in its thread");
    assertThrows(() => connectSync(local, undefined, { keepalive: -1 }), RangeError);
    mqtt.subscribe("fine");
    assertEquals(mqtt.publish("fine", "yes"), 0);
    assertEquals(receive(mqtt), "fine: yes");
  }));

test(
  "blocking: QoS 1 and 2 return when they are acknowledged, a list too, and come back in order",
  tools,
  () =>
    withClient((mqtt) => {
      assertEquals(mqtt.subscribe("q/#", { qos: 2 }), 2);
      assertEquals([mqtt.publish("q/1", "one", { qos: 1 }), mqtt.publish("q/2", "two", { qos: 2 })], [0, 0]);
      const list = Array.from({ length: 300 }, (_, i) => ({ topic: "q/list", message: `${i}`, qos: 1 as const }));
      assertEquals([mqtt.publish(list), mqtt.stats.unacknowledged], [0, 0]);
      assertEquals([receive(mqtt), receive(mqtt)], ["q/1: one", "q/2: two"]);
      for (let i = 0; i < list.length; i++) assertEquals(receive(mqtt), `q/list: ${i}`);
    }),
);

test("blocking: reconnect makes the subscriptions again, and receive() goes on", tools, async () => {
  const first = await startMosquitto({ config: "log_type none" });
  const { port } = first;
  const mqtt = connectSync(local, undefined, { port, timeout: 3000, reconnect: { minDelay: 10, maxDelay: 100 } });
  mqtt.subscribe("t");
  await first.stop();
  assertEquals(mqtt.receive(200), undefined); // there is no broker
  assertEquals(codeOf(() => mqtt.publish("t", "")), "timeout");
  const second = await startMosquitto({ port, config: "log_type none" });
  mqtt.publish("t", "again"); // waits for the connection
  assertEquals(receive(mqtt), "t: again");
  mqtt.disconnect();
  await second.stop();
});

test("blocking: an attempt that failed while nobody was waiting is followed by the next at once", tools, async () => {
  let broker = await startMosquitto({ config: "log_type none" });
  const { port } = broker;
  const mqtt = connectSync(local, undefined, { port, reconnect: { minDelay: 1, maxDelay: 1 } });
  for (let round = 0; round < 10; round++) {
    await broker.stop();
    assertEquals(mqtt.receive(5 + round), undefined); // mostly, an attempt is under way now
    await new Promise((resolve) => setTimeout(resolve, 20));
    broker = await startMosquitto({ port, config: "log_type none" });
    const start = performance.now();
    mqtt.publish("t", "again");
    assertLess(performance.now() - start, 5000); // the attempt's own deadline is 10 s
  }
  mqtt.disconnect();
  await broker.stop();
});

describe("blocking: no call sleeps for ever", () => {
  test("a server that is silent: timeout", async () => {
    const server = await startScripted();
    assertEquals(codeOf(() => connectSync(local, undefined, { port: server.port, timeout: 500 }), 3000), "timeout");
    await server.stop();
  });

  test("nobody listens, or the name does not exist", () => {
    assertEquals(codeOf(() => connectSync(local, undefined, { port: 1 })), "cannotconnect");
    assertEquals(codeOf(() => connectSync("no.such.name.invalid")), "cannotresolve");
  });

  const stopped = async (act: (mqtt: SyncClient) => unknown, op: ConnectOptions) => {
    const mosquitto: ServerProcess = await startMosquitto({ config: "log_type none" });
    try {
      const mqtt = connectSync(local, undefined, { port: mosquitto.port, ...op });
      process.kill(mosquitto.pid, "SIGSTOP");
      act(mqtt);
    } finally {
      process.kill(mosquitto.pid, "SIGCONT");
      await mosquitto.stop();
    }
  };

  test("a broker that stands still: subscribe, publish and disconnect time out", tools, () =>
    stopped((mqtt) => {
      assertEquals(codeOf(() => mqtt.subscribe("t"), 4000), "timeout");
      assertEquals(codeOf(() => mqtt.unsubscribe("t"), 4000), "timeout");
      const flood = () => {
        for (;;) mqtt.publish("t", new Uint8Array(100_000));
      };
      assertEquals(codeOf(flood, 20_000), "timeout");
      assertEquals(codeOf(() => mqtt.disconnect(), 4000), "timeout");
      assertEquals(mqtt.run().code, "disconnect");
    }, { timeout: 2000, keepalive: 0 }));

  test("a broker that stands still: run() ends with pingresp", tools, () =>
    stopped((mqtt) => {
      const start = performance.now();
      assertEquals(mqtt.run().code, "pingresp");
      assertLess(performance.now() - start, 6000);
      assertEquals(codeOf(() => mqtt.publish("t", "")), "pingresp");
    }, { keepalive: 1 }));

  test("a broker that ends: every call tells", tools, async () => {
    const mosquitto = await startMosquitto({ config: "log_type none" });
    const mqtt = connectSync(local, undefined, { port: mosquitto.port });
    mqtt.subscribe("t");
    mqtt.publish("t", "1");
    await new Promise((resolve) => setTimeout(resolve, 100));
    await mosquitto.stop();
    assertEquals(
      codeOf(() => {
        for (;;) mqtt.publish("t", "2");
      }),
      "socketclosed",
    );
    assertEquals(receive(mqtt), "t: 1"); // it came before the end
    assertEquals(codeOf(() => mqtt.receive()), "socketclosed");
    assertEquals(mqtt.run().code, "socketclosed");
  });

  for (const [way, most] of [["exit", 3000], ["throw", 3000], ["spin", 12_000]] as const) {
    test(`a thread that dies wakes who waits: ${way}`, async () => {
      const server = await startScripted();
      const sharing = new Sharing(dyingCode);
      const [thread, other] = [new Connector({ blocking: true, sharing }), new Connector({ blocking: true, sharing })];
      const open = (by: Connector) => {
        const connection = by.open({ host: local, port: server.port }, { keepalive: 0 });
        while (!connection.isOpen) assert(by.wait(connection, performance.now() + soon), "the connection");
        return connection;
      };
      const connections = [open(thread), open(other)] as const;
      const start = performance.now();
      const killer = new Connector({ blocking: true, sharing });
      killer.open({ host: way, port: 1 }, { keepalive: 0 }).close();
      for (const [i, by] of [thread, other].entries()) {
        const connection = connections[i]!;
        while (connection.over === undefined) assert(by.wait(connection, performance.now() + most), "its end");
        assertEquals((connection.over as MqttError).code, "socketclosed");
        connection.close();
      }
      assertLess(performance.now() - start, most);
      open(thread).close(); // in another thread
      await Promise.all([thread.end(), other.end(), killer.end()]);
      await server.stop();
    });
  }
});
