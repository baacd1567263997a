import {
  assert,
  assertEquals,
  assertGreater,
  assertInstanceOf,
  assertLess,
  assertStrictEquals,
  assertThrows,
} from "@std/assert";
import { describe, test } from "node:test";
import type { Client } from "../../src/api.ts";
import type { OnStatus } from "../../src/status.ts";
import { MqttError } from "../../src/errors.ts";
import type { Message } from "../../src/message.ts";
import type { Trust } from "../../src/session/trust.ts";
import { bytes } from "../support/bytes.ts";
import { CONNACK, FakeTransport, World } from "../support/fakes.ts";
import { encodeNaive, frame } from "../support/naive.ts";
import { Random } from "../support/random.ts";

const utf8 = new TextEncoder();

function publish(topic: string, payload: string): Uint8Array {
  return encodeNaive({
    type: "PUBLISH",
    topic,
    payload: utf8.encode(payload),
    qos: 0,
    retain: false,
    dup: false,
    packetId: 0,
  });
}

function suback(packetId: number, ...codes: number[]): Uint8Array {
  return encodeNaive({ type: "SUBACK", packetId, codes });
}

function unsuback(packetId: number): Uint8Array {
  return encodeNaive({ type: "UNSUBACK", packetId });
}

const big = new Uint8Array(100_000);

/** Runs with the errors that surface caught, and returns them. */
async function surfacing(run: () => Promise<void>): Promise<unknown[]> {
  const errors: unknown[] = [];
  const original = globalThis.queueMicrotask;
  globalThis.queueMicrotask = (callback) =>
    original(() => {
      try {
        callback();
      } catch (error) {
        errors.push(error);
      }
    });
  try {
    await run();
  } finally {
    globalThis.queueMicrotask = original;
  }
  return errors;
}

/** What an iterator gives next: a payload, "done", "pending" or an error. */
async function next(world: World, iterator: AsyncIterator<Message>): Promise<unknown> {
  const result = await world.fate(iterator.next());
  if (result === null || typeof result !== "object" || !("done" in result)) return result;
  return result.done ? "done" : (result as IteratorResult<Message>).value.text();
}

describe("loop: connecting", () => {
  test("[MQTT-3.1.0-1] the first packet is CONNECT, and CONNACK opens the client", async () => {
    const world = new World();
    await world.start();
    assertEquals(world.broker.writes.length, 1);
    assertEquals(world.broker.said(), ["CONNECT"]);
    assertEquals(await world.fate(world.opened!), "pending");
    world.broker.send(CONNACK);
    assertEquals(await world.fate(world.opened!), undefined);
    assertStrictEquals(world.client.sock, world.broker.sock);
    assertEquals(world.client.trusted, false);
    world.client.disconnect();
    await world.clock.advance(2000);
    await world.over("disconnect");
  });

  test("[MQTT-3.1.3-5] the default identifier is 23 letters and digits, another each time", async () => {
    const ids = new Set<string>();
    for (let i = 0; i < 20; i++) {
      const world = new World({ id: undefined } as object);
      await world.start();
      const [connect] = world.broker.packets();
      assert(connect?.type === "CONNECT");
      assert(/^[0-9a-zA-Z]{23}$/.test(connect.id), connect.id);
      ids.add(connect.id);
    }
    assertEquals(ids.size, 20);
  });

  test("[MQTT-3.1.3-7] [MQTT-3.1.2-9] [MQTT-3.1.2-18] CONNECT says what the options say", async () => {
    const world = new World({
      id: "",
      keepalive: 7,
      will: { topic: "w", message: "m", qos: 1, retain: true },
      uname: "é",
      passwd: Uint8Array.of(255),
    });
    await world.start();
    assertEquals(world.broker.packets(), [{
      type: "CONNECT",
      id: "",
      keepalive: 7,
      cleanSession: true,
      will: { topic: "w", message: utf8.encode("m"), qos: 1, retain: true },
      uname: utf8.encode("é"),
      passwd: Uint8Array.of(255),
    }]);
  });

  test("an attempt that never answers: one deadline", async () => {
    const world = new World({ timeout: 3000 });
    world.dial = () => new Promise(() => {});
    await world.start();
    await world.clock.advance(2999);
    assertEquals(await world.fate(world.opened!), "pending");
    assertEquals(world.signals[0]!.aborted, false);
    await world.clock.advance(1);
    assertEquals(await world.fate(world.opened!), "error timeout");
    assertEquals(world.signals[0]!.aborted, true);
    await world.over("timeout");
  });

  test("a server that accepts and stays silent: the same deadline", async () => {
    const world = new World({ timeout: 3000 });
    world.dial = async () => {
      await new Promise<void>((resolve) => world.clock.wait(resolve, 2000));
      return world.add(new FakeTransport());
    };
    await world.start();
    await world.clock.advance(2500);
    assertEquals(world.broker.said(), ["CONNECT"]);
    await world.clock.advance(499);
    assertEquals(world.broker.closed, false);
    await world.clock.advance(1);
    assertEquals(await world.fate(world.opened!), "error timeout");
    await world.over("timeout");
  });

  test("CONNACK before CONNECT is known to be written: nothing else is written yet", async () => {
    const world = new World();
    world.dial = () => {
      const transport = world.add(new FakeTransport());
      transport.flows = false;
      return Promise.resolve(transport);
    };
    await world.start();
    world.broker.send(CONNACK);
    assertEquals(await world.fate(world.opened!), undefined);
    world.client.publish("t", "x");
    await world.clock.settle();
    assertEquals(world.broker.writes.length, 0);
    world.broker.flush();
    world.broker.flush();
    await world.clock.settle();
    assertEquals([world.broker.said(), world.broker.mistakes], [["CONNECT", "PUBLISH t"], []]);
  });

  test("half a CONNACK is none", async () => {
    const world = new World({ timeout: 3000 });
    await world.start();
    world.broker.send("20 02 00");
    await world.clock.advance(3000);
    assertEquals(await world.fate(world.opened!), "error timeout");
    assert(/CONNECT.* 3000 ms/.test((await world.over("timeout")).message));
  });

  test("a connection that comes after the deadline is closed, and nothing is sent on it", async () => {
    const world = new World({ timeout: 3000 });
    const late = new FakeTransport();
    world.dial = async () => {
      await new Promise<void>((resolve) => world.clock.wait(resolve, 9000));
      return world.add(late);
    };
    await world.start();
    await world.clock.advance(3000);
    assertEquals(await world.fate(world.opened!), "error timeout");
    await world.clock.advance(10_000);
    assertEquals([late.closed, late.writes.length], [true, 0]);
    await world.over("timeout");
  });

  test("an attempt that fails: its error", async () => {
    const world = new World();
    world.dial = () => Promise.reject(new MqttError("cannotconnect", "no"));
    await world.start();
    assertEquals(await world.fate(world.opened!), "error cannotconnect");
    await world.over("cannotconnect");
  });

  for (const code of [1, 2, 3, 4, 5]) {
    test(`[MQTT-3.2.2-5] a broker that refuses with ${code}`, async () => {
      const world = new World();
      await world.start();
      world.broker.send(`20 02 00 0${code}`);
      assertEquals(await world.fate(world.opened!), `error ${code}`);
      assert((await world.over(code)).message.length > 20);
    });
  }

  for (
    const [what, answer] of [["HTTP", '"HTTP/1.1 400"'], ["TLS", "15"], ["nothing of it", "20 00"], [
      "a code over 5",
      "20 02 00 06",
    ]]
  ) {
    test(`[MQTT-3.2.0-1] a server that answers ${what}`, async () => {
      const world = new World();
      await world.start();
      world.broker.send(answer!);
      assertEquals(await world.fate(world.opened!), "error invalidresp");
      await world.over("invalidresp");
    });
  }

  test("a server that closes before CONNACK", async () => {
    const world = new World();
    await world.start();
    world.broker.break();
    assertEquals(await world.fate(world.opened!), "error socketclosed");
    await world.over("socketclosed");
  });

  test("a connection that is over in start()", async () => {
    const world = new World();
    world.dial = () => {
      const transport = world.add(new FakeTransport());
      transport.started = () => transport.break();
      return Promise.resolve(transport);
    };
    await world.start();
    assertEquals(await world.fate(world.opened!), "error socketclosed");
    assertEquals(world.broker.writes.length, 0);
    await world.over("socketclosed");
  });

  test("a server that talks first", async () => {
    const world = new World();
    world.dial = () => {
      const transport = world.add(new FakeTransport());
      transport.started = () => transport.send('"SSH-2.0-x"');
      return Promise.resolve(transport);
    };
    await world.start();
    assertEquals(await world.fate(world.opened!), "error invalidresp");
    assertEquals(world.broker.writes.length, 0);
    await world.over("invalidresp");
  });
});

describe("loop: trust", () => {
  async function connect(trusted: Trust, op: object): Promise<World> {
    const world = new World(op);
    world.dial = () => Promise.resolve(world.add(new FakeTransport(trusted)));
    await world.start();
    return world;
  }

  for (const trusted of ["untrusted", "wrongname", "expired"] as const) {
    test(`${trusted}: with a user name not one byte is sent, and no credential asked for`, async () => {
      let asked = 0;
      const uname = () => {
        asked++;
        return "U";
      };
      for (const op of [{ uname: "U" }, { uname: "U", passwd: "P" }, { uname }, { tls: { untrusted: "reject" } }]) {
        const world = await connect(trusted, op);
        assertEquals(await world.fate(world.opened!), `error ${trusted}`);
        assertEquals([world.broker.writes.length, asked], [0, 0]);
        await world.over(trusted);
      }
    });

    test(`${trusted}: without credentials it connects, and says so`, async () => {
      const world = await connect(trusted, {});
      world.broker.send(CONNACK);
      assertEquals(await world.fate(world.opened!), undefined);
      assertEquals(world.client.trusted, trusted);
    });
  }

  for (const trusted of [true, false]) {
    test(`trusted ${trusted}: credentials are sent`, async () => {
      const world = await connect(trusted, { uname: "U", passwd: "P" });
      const [packet] = world.broker.packets();
      assert(packet?.type === "CONNECT");
      assertEquals([packet.uname, packet.passwd], [utf8.encode("U"), utf8.encode("P")]);
    });
  }

  test("credentials by function: asked once the server is trusted, and awaited", async () => {
    const world = new World({
      uname: () => new Promise((resolve) => world.clock.wait(() => resolve("U"), 100)),
      passwd: () => Uint8Array.of(1, 2),
    });
    await world.start();
    assertEquals(world.broker.writes.length, 0);
    await world.clock.advance(100);
    const [packet] = world.broker.packets();
    assert(packet?.type === "CONNECT");
    assertEquals([packet.uname, packet.passwd], [utf8.encode("U"), Uint8Array.of(1, 2)]);
  });

  test("credentials that never come: the deadline", async () => {
    const world = new World({ timeout: 500, uname: () => new Promise(() => {}) });
    await world.start();
    await world.clock.advance(500);
    assertEquals(await world.fate(world.opened!), "error timeout");
    assertEquals(world.broker.writes.length, 0);
    await world.over("timeout");
  });

  test("credentials that fail: nothing is sent, and their error is the cause", async () => {
    const problem = new Error("no keychain");
    const world = new World({ uname: () => Promise.reject(problem) });
    await world.start();
    const error = await world.opened!.catch((error) => error);
    assertEquals([error.code, world.broker.writes.length], ["cannotconnect", 0]);
    assertStrictEquals(error.cause, problem);
    await world.over("cannotconnect");
  });

  for (const value of [undefined, 5, "a\0b", "\ud800", new Uint8Array(65_536), "x".repeat(65_536), () => "U"]) {
    const shown = typeof value === "string" ? JSON.stringify(value).slice(0, 10) : typeof value;
    test(`[MQTT-3.1.3-11] a function that gives the user name ${shown}: nothing is sent`, async () => {
      const world = new World({ uname: () => value as string });
      await world.start();
      const { cause } = await world.opened!.catch((error) => error);
      assert(cause instanceof TypeError || cause instanceof RangeError, `${cause}`);
      assertEquals(world.broker.writes.length, 0);
      await world.over("cannotconnect");
    });
  }
});

describe("loop: publish", () => {
  test("what is published within a tick goes out in one write", async () => {
    const world = await World.open();
    for (let i = 0; i < 20; i++) world.client.publish(`t/${i}`, "x");
    assertEquals(world.broker.writes.length, 1);
    await world.clock.settle();
    assertEquals(world.broker.writes.length, 2);
    assertEquals(world.broker.said(), Array.from({ length: 20 }, (_, i) => `PUBLISH t/${i}`));
  });

  test("awaited publishes are gathered too", async () => {
    const world = await World.open();
    for (let i = 0; i < 100; i++) await world.client.publish("t", "x");
    await world.clock.settle();
    assertLess(world.broker.writes.length, 5);
    assertEquals(world.broker.packets().length, 100);
  });

  test("[MQTT-2.3.1-5] [MQTT-3.3.1-2] QoS 0 and retain, as bytes", async () => {
    const world = await World.open();
    world.client.publish("a/b", "hi");
    world.client.publish("a/b", utf8.encode("hi"), { retain: true });
    world.client.publish("é", "", { qos: 0, retain: false });
    await world.clock.settle();
    assertEquals(world.broker.writes[1], bytes('30 07 0003 "a/b" "hi" 31 07 0003 "a/b" "hi" 30 04 0002 c3a9'));
  });

  for (
    const [statement, topic] of [["[MQTT-3.3.2-2]", "a/#"], ["[MQTT-4.7.3-1]", ""], ["[MQTT-1.5.3-2]", "\0"], [
      "[MQTT-4.7.1-1]",
      "+",
    ]]
  ) {
    test(`${statement} a wrong topic name rejects with a TypeError, and nothing is sent`, async () => {
      const world = await World.open();
      assertInstanceOf(await world.fate(world.client.publish(topic!, "x")), TypeError);
      assertEquals(world.broker.packets(), []);
    });
  }

  test("wrong arguments", async () => {
    const world = await World.open();
    const { client } = world;
    const wrong: [() => Promise<number>, typeof TypeError | typeof RangeError][] = [
      [() => client.publish(5 as unknown as string, "x"), TypeError],
      [() => client.publish("t", 5 as unknown as string), TypeError],
      [() => client.publish("t", undefined as unknown as string), TypeError],
      [() => client.publish("x".repeat(65_536), "x"), RangeError],
      [() => client.publish("t", "x", { qos: "1" as unknown as 1 }), RangeError],
      [() => client.publish("t", "x", { qos: 3 as 2 }), RangeError],
    ];
    for (const [ask, type] of wrong) assertInstanceOf(await world.fate(ask()), type);
    assertEquals(world.broker.packets(), []);
  });

  test("[MQTT-4.3.2-1] [MQTT-4.3.3-1] QoS 1 and 2 resolve to 0 when they are acknowledged", async () => {
    const world = await World.open();
    const { client, broker } = world;
    const one = client.publish("a", "1", { qos: 1 }), two = client.publish("a", "2", { qos: 2, retain: true });
    await world.clock.settle();
    assertEquals([await world.fate(one), await world.fate(two)], ["pending", "pending"]);
    assertEquals(client.stats.unacknowledged, 2);
    broker.send("40 02 0001 50 02 0002");
    assertEquals([await world.fate(one), await world.fate(two)], [0, "pending"]);
    broker.send("70 02 0002");
    assertEquals([await world.fate(two), client.stats.unacknowledged], [0, 0]);
    const packets = broker.packets();
    assertEquals(packets.map(({ type }) => type), ["PUBLISH", "PUBLISH", "PUBREL"]);
    assert(packets[0]?.type === "PUBLISH" && packets[1]?.type === "PUBLISH");
    assertEquals([packets[0].qos, packets[0].retain, packets[1].qos, packets[1].retain], [1, false, 2, true]);
  });

  test("a list: in order, resolved when all of them are; one that is wrong, and none is published", async () => {
    const world = await World.open();
    const { client, broker } = world;
    const all = client.publish([
      { topic: "a", message: "1", qos: 1 },
      { topic: "b", message: "0" },
      { topic: "c", message: "2", qos: 2 },
    ]);
    assertEquals(await world.fate(all), "pending");
    broker.send("40 02 0001 50 02 0002 70 02 0002");
    assertEquals(await world.fate(all), 0);
    assertEquals(broker.said().filter((said) => said.startsWith("PUBLISH")).sort(), [
      "PUBLISH a",
      "PUBLISH b",
      "PUBLISH c",
    ]);
    const wrong: [unknown[], typeof TypeError | typeof RangeError][] = [
      [[{ topic: "a", message: "x", qos: 1 }, { topic: "a/#", message: "x" }], TypeError],
      [[{ topic: "a", message: "x" }, { topic: "a", message: 5 }], TypeError],
      [[{ topic: "a", message: "x" }, { topic: "a", message: "x", qos: 3 }], RangeError],
      [[{ topic: "a", message: "x" }, undefined], TypeError],
      [[{ topic: "a", message: "x" }, { topic: "a", message: "x", Qos: 1 }], TypeError],
    ];
    for (const [list, type] of wrong) {
      assertInstanceOf(await world.fate(client.publish(list as Parameters<typeof client.publish>[0][] as never)), type);
    }
    assertEquals([await world.fate(client.publish([])), broker.packets()], [0, []]);
  });

  test("its signal takes a message back as long as it is not sent", async () => {
    const world = await World.open({ maxInflight: 1 });
    const { client, broker } = world;
    const controller = new AbortController(), { signal } = controller;
    const sent = client.publish("sent", "x", { qos: 1, signal });
    const waits = client.publish("waits", "x", { qos: 1, signal });
    const other = client.publish("other", "x", { qos: 1 });
    await world.clock.settle();
    controller.abort(new Error("no longer"));
    assertEquals([await world.fate(sent), await world.fate(waits)], ["pending", "error disconnect"]);
    const error: unknown = await waits.catch((error) => error);
    assert(error instanceof MqttError && (error.cause as Error).message === "no longer");
    broker.send("40 02 0001");
    await world.clock.settle();
    broker.send("40 02 0002");
    assertEquals([await world.fate(sent), await world.fate(other), broker.said()], [0, 0, [
      "PUBLISH sent",
      "PUBLISH other",
    ]]);
  });

  test("a signal that was aborted before, or is when the message is refused, harms nothing", async () => {
    const world = await World.open({ maxBuffered: 1000 });
    const { client } = world, signal = AbortSignal.abort();
    for (const qos of [0, 1, 2] as const) {
      assertEquals(await world.fate(client.publish("a", "x", { qos, signal })), "error disconnect");
    }
    const controller = new AbortController(), op = { qos: 1, signal: controller.signal } as const;
    const fates = [client.publish("a", new Uint8Array(2000), op), client.publish("a/#", "x", op)].map((each) =>
      world.fate(each)
    );
    const accepted = client.publish("a", "x", op);
    controller.abort();
    const [overflow, wrong] = await Promise.all(fates);
    assertEquals([overflow, await world.fate(accepted)], ["error overflow", "error disconnect"]);
    assertInstanceOf(wrong, TypeError);
    assertEquals(world.broker.packets(), []);
  });

  test("the end of the client settles them, and is no unhandled rejection", async () => {
    const world = await World.open({ maxInflight: 1 });
    const { client } = world;
    const all = [client.publish("a", "1", { qos: 1 }), client.publish("a", "2", { qos: 2 })];
    world.client.publish("a", "nobody looks", { qos: 1 });
    await world.clock.settle();
    world.broker.break();
    await world.over("socketclosed");
    for (const each of all) assertEquals(await world.fate(each), "error socketclosed");
    assertEquals(await world.fate(client.publish("a", "3", { qos: 1 })), "error socketclosed");
  });

  test("a handler may await a publish, of any QoS, in the middle of many messages", async () => {
    const world = await World.open({ receiveMaximum: 2 });
    const done: string[] = [];
    const asked = world.client.subscribe("a", {
      qos: 1,
      onpub: async (_, message) => {
        await world.client.publish("answer", message.text(), { qos: 1 });
        done.push(message.text());
      },
    });
    await world.clock.settle();
    world.broker.send(suback(1, 1));
    assertEquals(await world.fate(asked), 1);
    const message = (packetId: number) => `32 06 0001 "a" 000${packetId} "${packetId}"`;
    world.broker.send(bytes([1, 2, 3, 4, 5].map(message).join(" ")));
    for (let i = 0; i < 20 && done.length < 5; i++) {
      await world.clock.settle();
      for (const packet of world.broker.packets()) {
        if (packet.type === "PUBLISH") world.broker.send(encodeNaive({ type: "PUBACK", packetId: packet.packetId }));
      }
    }
    assertEquals(done, ["1", "2", "3", "4", "5"]);
  });

  test("backpressure: while more than 64 KiB wait, publish waits", async () => {
    const world = await World.open();
    world.broker.flows = false;
    const first = world.client.publish("t", new Uint8Array(60_000));
    assertEquals(await world.fate(first), 0);
    const second = world.client.publish("t", new Uint8Array(60_000));
    const third = world.client.publish("t", "x");
    assertEquals([await world.fate(second), await world.fate(third)], ["pending", "pending"]);
    world.broker.flush();
    assertEquals([await world.fate(second), await world.fate(third)], [0, 0]);
    assertEquals(await world.fate(world.client.publish("t", "x")), 0);
  });

  test("a loop that awaits publish never has much in memory, against a broker that takes its time", async () => {
    const world = await World.open({ maxBuffered: 300_000 });
    world.broker.flows = false;
    let published = 0, done = false;
    const loop = (async () => {
      for (; published < 2000; published++) await world.client.publish("t", new Uint8Array(1000));
      done = true;
    })();
    while (!done) {
      await world.clock.settle();
      world.broker.flush();
    }
    await loop;
    world.broker.flows = true;
    world.broker.flush();
    await world.clock.settle();
    assertEquals(world.broker.packets().length, 2000);
  });

  test("never awaited, it overflows, and what was accepted arrives", async () => {
    const world = await World.open({ maxBuffered: 100_000 });
    world.broker.flows = false;
    const fates: Promise<unknown>[] = [];
    for (let i = 0; i < 200; i++) fates.push(world.fate(world.client.publish(`t/${i}`, new Uint8Array(1000))));
    await world.clock.settle();
    world.broker.flows = true;
    world.broker.flush();
    const all = await Promise.all(fates);
    const settled = await Promise.all(Array.from(all, (fate) => fate));
    const overflowed = settled.filter((fate) => fate === "error overflow").length;
    assertGreater(overflowed, 90);
    assertLess(overflowed, 110);
    await world.clock.settle();
    assertEquals(world.broker.packets().length, 200 - overflowed);
    assertEquals(await world.fate(world.client.publish("t", "x")), 0, "and it goes on");
  });

  test("a message larger than maxBuffered", async () => {
    const world = await World.open({ maxBuffered: 1000 });
    assertEquals(await world.fate(world.client.publish("t", new Uint8Array(1001))), "error overflow");
    assertEquals(await world.fate(world.client.publish("t", "x")), 0);
  });

  test("one write is in flight at a time, and what is in flight does not change", async () => {
    const world = await World.open();
    world.broker.flows = false;
    world.client.publish("first", "x");
    await world.clock.settle();
    for (let i = 0; i < 1000; i++) world.client.publish("second", "y".repeat(100));
    await world.clock.settle();
    assertEquals(world.broker.writes.length, 1, "not before the first is written");
    world.broker.flush();
    world.broker.flows = true;
    world.broker.flush();
    await world.clock.settle();
    assertEquals(world.broker.packets().length, 1001);
    assertEquals(world.broker.mistakes, []);
  });
});

describe("loop: subscribe", () => {
  test("[MQTT-3.8.1-1] [MQTT-3.8.4-2] it resolves to the granted QoS, and the callback gets it", async () => {
    const world = await World.open();
    const codes: number[] = [];
    const done = world.client.subscribe("s/1", (code) => codes.push(code));
    await world.clock.settle();
    assertEquals(world.broker.writes[1], bytes('82 08 0001 0003 "s/1" 00'));
    assertEquals(await world.fate(done), "pending");
    world.broker.send(suback(1, 0));
    assertEquals([await world.fate(done), codes], [0, [0]]);
  });

  test("[MQTT-3.8.3-3] several filters in one packet", async () => {
    const world = await World.open();
    const done = world.client.subscribe(["a", "b/#", "+"]);
    await world.clock.settle();
    assertEquals(world.broker.said(), ["SUBSCRIBE 1 a,b/#,+"]);
    world.broker.send(suback(1, 0, 0, 0));
    assertEquals(await world.fate(done), 0);
    assertInstanceOf(await world.fate(world.client.subscribe([])), TypeError);
    assertEquals(world.broker.said(), []);
  });

  test("what happens to the caller's array afterwards does not matter", async () => {
    const world = await World.open();
    const topics = ["a"];
    world.client.subscribe(topics);
    topics[0] = "b";
    await world.clock.settle();
    assertEquals(world.broker.said(), ["SUBSCRIBE 1 a"]);
  });

  test("[MQTT-3.9.3-2] a refusal: the promise rejects with 128, the callback gets it", async () => {
    const world = await World.open();
    const codes: number[] = [];
    const plain = world.client.subscribe("secret");
    const called = world.client.subscribe(["ok", "secret/2"], (code) => codes.push(code));
    await world.clock.settle();
    world.broker.send(suback(1, 128), suback(2, 0, 128));
    const error = await plain.catch((error) => error);
    assertEquals([error.code, await world.fate(called), codes], [128, "error 128", [128]]);
    assert(error.message.includes('"secret"'), error.message);
    assertEquals(await world.fate(world.client.run()), "pending", "the connection goes on");
  });

  test("its own onpub gets its messages, and the others go to the client's", async () => {
    const world = await World.open();
    const own: string[] = [];
    world.client.subscribe("a/+", { onpub: (topic, message) => own.push(`1 ${topic} ${message}`) });
    world.client.subscribe("a/b", { onpub: (topic, message) => own.push(`2 ${topic} ${message}`) });
    world.client.subscribe("#");
    await world.clock.settle();
    world.broker.send(suback(1, 0), suback(2, 0), suback(3, 0));
    world.broker.send(publish("a/b", "x"), publish("a/c", "y"), publish("b", "z"), publish("$SYS/x", "s"));
    assertEquals(own.sort(), ["1 a/b x", "1 a/c y", "2 a/b x"]);
    assertEquals(world.heard, ["b: z", "$SYS/x: s"]);
  });

  test("[MQTT-4.7.2-1] a subscription to # does not get $ topics", async () => {
    const world = await World.open();
    const own: string[] = [];
    world.client.subscribe("#", { onpub: (topic) => own.push(topic) });
    world.client.subscribe("$SYS/#");
    await world.clock.settle();
    world.broker.send(publish("$SYS/uptime", "1"), publish("a", "2"));
    assertEquals([own, world.heard], [["a"], ["$SYS/uptime: 1"]]);
  });

  test("[MQTT-3.8.4-3] subscribed again, the last onpub counts", async () => {
    const world = await World.open();
    const own: string[] = [];
    world.client.subscribe("a", { onpub: () => own.push("first") });
    world.client.subscribe("a", { onpub: () => own.push("second") });
    await world.clock.settle();
    world.broker.send(suback(1, 0), suback(2, 0), publish("a", "x"));
    assertEquals(own, ["second"]);
    world.client.subscribe("a");
    await world.clock.settle();
    world.broker.send(suback(3, 0), publish("a", "y"));
    assertEquals([own, world.heard], [["second"], ["a: y"]]);
  });

  test("[MQTT-3.8.4-5] messages that come before SUBACK go to its onpub", async () => {
    const world = await World.open();
    const own: string[] = [];
    world.client.subscribe("a", { onpub: (topic) => own.push(topic) });
    await world.clock.settle();
    world.broker.send(publish("a", "x"), suback(1, 0));
    assertEquals([own, world.heard], [["a"], []]);
  });

  test("two hundred thousand filters in one SUBSCRIBE", async () => {
    const world = await World.open();
    const filters = Array.from({ length: 200_000 }, (_, i) => `${i}`);
    const done = world.client.subscribe(filters);
    await world.clock.settle();
    const answer = encodeNaive({ type: "SUBACK", packetId: 1, codes: filters.map(() => 0) });
    world.broker.send(answer);
    assertEquals(await world.fate(done), 0);
  });

  test("a broker that does not answer: timeout, and its late answer is nobody's", async () => {
    const world = await World.open({ timeout: 2000, keepalive: 0 });
    await world.clock.advance(50_000);
    const codes: number[] = [];
    const done = world.client.subscribe("a", (code) => codes.push(code));
    const later = (await world.clock.advance(1000), world.client.unsubscribe("b"));
    await world.clock.advance(999);
    assertEquals(await world.fate(done), "pending");
    await world.clock.advance(1);
    assertEquals([await world.fate(done), await world.fate(later)], ["error timeout", "pending"]);
    await world.clock.advance(1000);
    assertEquals(await world.fate(later), "error timeout");
    world.broker.send(suback(1, 0), unsuback(2));
    assertEquals([await world.fate(world.client.run()), codes], ["pending", []]);
    const next = world.client.subscribe("c");
    await world.clock.settle();
    world.broker.send(suback(3, 0));
    assertEquals(await world.fate(next), 0);
  });

  test("a thread that was blocked reads the answer that came meanwhile, whatever else is asked first", async () => {
    const world = await World.open({ timeout: 2000, keepalive: 0 });
    const done = world.client.subscribe("a");
    await world.clock.sleep(5000);
    const other = world.client.subscribe("b");
    await world.clock.advance(50);
    world.broker.send(suback(1, 0));
    assertEquals([await world.fate(done), await world.fate(other)], [0, "pending"]);
    // Another block, right after the look at the socket: what was not due then has its own.
    await world.clock.advance(1900);
    await world.clock.sleep(3000);
    world.broker.send(suback(2, 0));
    assertEquals(await world.fate(other), 0);
  });

  test("[MQTT-2.3.1-2] the identifier of a request that timed out is not used again before its answer", async () => {
    const world = await World.open({ timeout: 100 });
    world.client.subscribe("a").catch(() => {});
    await world.clock.advance(200);
    world.client.subscribe("b").catch(() => {});
    await world.clock.settle();
    assertEquals(world.broker.said(), ["SUBSCRIBE 1 a", "SUBSCRIBE 2 b"]);
  });

  test("a callback that throws surfaces, and the promise resolves", async () => {
    const world = await World.open();
    const problem = new Error("callback");
    const errors = await surfacing(async () => {
      const done = world.client.subscribe("a", () => {
        throw problem;
      });
      const gone = world.client.unsubscribe("b", () => {
        throw problem;
      });
      await world.clock.settle();
      world.broker.send(suback(1, 0), unsuback(2), publish("a", "x"));
      assertEquals([await world.fate(done), await world.fate(gone)], [0, undefined]);
    });
    assertEquals([errors, world.heard], [[problem, problem], ["a: x"]]);
  });

  test("wrong arguments", async () => {
    const world = await World.open();
    const { client } = world;
    const wrong: [() => Promise<unknown>, typeof TypeError | typeof RangeError][] = [
      [() => client.subscribe(5 as unknown as string), TypeError],
      [() => client.subscribe("a#"), TypeError],
      [() => client.subscribe(["a", "b+"]), TypeError],
      [() => client.subscribe(""), TypeError],
      [() => client.subscribe("a", { qos: 3 as 2 }), RangeError],
      [() => client.subscribe("a", { onpub: 5 as unknown as () => void }), TypeError],
      [() => client.subscribe("a", {}, "callback" as unknown as () => void), TypeError],
      [() => client.unsubscribe("a#"), TypeError],
      [() => client.unsubscribe([]), TypeError],
      [() => client.unsubscribe("a", 5 as unknown as () => void), TypeError],
    ];
    for (const [ask, type] of wrong) assertInstanceOf(await world.fate(ask()), type);
    assertEquals(world.broker.packets(), []);
  });
});

describe("loop: unsubscribe", () => {
  test("[MQTT-3.10.1-1] [MQTT-3.10.3-2] the bytes, the callback and the promise", async () => {
    const world = await World.open();
    let called = 0;
    const done = world.client.unsubscribe(["a", "b"], () => called++);
    await world.clock.settle();
    assertEquals(world.broker.writes[1], bytes('a2 08 0001 0001 "a" 0001 "b"'));
    assertEquals(await world.fate(done), "pending");
    world.broker.send(unsuback(1));
    assertEquals([await world.fate(done), called], [undefined, 1]);
  });

  test("until UNSUBACK its onpub gets messages, then the client's", async () => {
    const world = await World.open();
    const own: string[] = [];
    world.client.subscribe("a", { onpub: (_, message) => own.push(message.text()) });
    await world.clock.settle();
    world.broker.send(suback(1, 0));
    world.client.unsubscribe("a");
    await world.clock.settle();
    world.broker.send(publish("a", "1"), unsuback(2), publish("a", "2"));
    assertEquals([own, world.heard], [["1"], ["a: 2"]]);
  });

  test("given up and asked for again at once: the new one stays", async () => {
    const world = await World.open();
    const own: string[] = [];
    world.client.subscribe("a");
    world.client.unsubscribe("a");
    world.client.subscribe("a", { onpub: (_, message) => own.push(message.text()) });
    await world.clock.settle();
    assertEquals(world.broker.said(), ["SUBSCRIBE 1 a", "UNSUBSCRIBE 2 a", "SUBSCRIBE 3 a"]);
    world.broker.send(suback(1, 0), unsuback(2), suback(3, 0), publish("a", "x"));
    assertEquals(own, ["x"]);
  });
});

describe("loop: messages", () => {
  async function iterate(limit?: number, op = {}): Promise<[World, AsyncIterableIterator<Message>]> {
    const world = await World.open(op);
    const messages = world.client.messages("a", limit === undefined ? {} : { limit });
    await world.clock.settle();
    assertEquals(world.broker.said(), ["SUBSCRIBE 1 a"]);
    world.broker.send(suback(1, 0));
    return [world, messages];
  }

  test("messages in order, before and after they are asked for", async () => {
    const [world, messages] = await iterate();
    world.broker.send(publish("a", "1"), publish("b", "other"), publish("a", "2"));
    assertEquals([await next(world, messages), await next(world, messages)], ["1", "2"]);
    const waiting = [messages.next(), messages.next()];
    world.broker.send(publish("a", "3"), publish("a", "4"), publish("a", "5"));
    const values = await Promise.all(waiting);
    assertEquals(values.map(({ value }) => value!.text()), ["3", "4"]);
    assertEquals([await next(world, messages), world.heard], ["5", ["b: other"]]);
  });

  test("leaving the loop unsubscribes", async () => {
    const [world, messages] = await iterate();
    world.broker.send(publish("a", "1"), publish("a", "2"), publish("a", "3"));
    const seen: string[] = [];
    const loop = (async () => {
      for await (const message of messages) {
        seen.push(message.text());
        if (seen.length === 2) break;
      }
      return "left";
    })();
    await world.clock.settle();
    assertEquals([seen, world.broker.said(), await world.fate(loop)], [["1", "2"], ["UNSUBSCRIBE 2 a"], "pending"]);
    world.broker.send(unsuback(2), publish("a", "4"));
    assertEquals([await world.fate(loop), await next(world, messages), world.heard], ["left", "done", ["a: 4"]]);
  });

  test("a loop that throws unsubscribes too", async () => {
    const [world, messages] = await iterate();
    const problem = new Error("in the loop");
    const loop = (async () => {
      for await (const _ of messages) throw problem;
    })();
    world.broker.send(publish("a", "1"));
    await world.clock.settle();
    world.broker.send(unsuback(2));
    assertStrictEquals(await world.fate(loop), problem);
    assertEquals(world.broker.said(), ["UNSUBSCRIBE 2 a"]);
  });

  test("two iterators and a subscription share a filter: the last one that leaves unsubscribes", async () => {
    const [world, first] = await iterate();
    const second = world.client.messages("a");
    world.client.subscribe("a", { onpub: (_, message) => world.heard.push(`own ${message}`) });
    await world.clock.settle();
    world.broker.said();
    world.broker.send(suback(2, 0), suback(3, 0), publish("a", "1"));
    assertEquals([await next(world, first), await next(world, second), world.heard], ["1", "1", ["own 1"]]);
    await first.return!();
    await second.return!();
    assertEquals(world.broker.said(), [], "the subscription stays");
    world.client.unsubscribe("a");
    await world.clock.settle();
    assertEquals(world.broker.said(), ["UNSUBSCRIBE 4 a"]);
  });

  test("of two iterators, the first that leaves leaves the other alone", async () => {
    const [world, first] = await iterate();
    const second = world.client.messages("a");
    await world.clock.settle();
    world.broker.said();
    world.broker.send(suback(2, 0));
    await first.return!();
    world.broker.send(publish("a", "1"));
    assertEquals([world.broker.said(), await next(world, second)], [[], "1"]);
    const gone = second.return!();
    await world.clock.settle();
    assertEquals(world.broker.said(), ["UNSUBSCRIBE 3 a"]);
    world.broker.send(unsuback(3));
    await gone;
  });

  test("an iterator that is full stops the reading, and reading goes on when it drains", async () => {
    const [world, messages] = await iterate(10);
    const many = Array.from({ length: 25 }, (_, i) => publish("a", `${i}`));
    world.broker.send(...many.slice(0, 15));
    assertEquals(world.broker.paused, true);
    world.broker.send(...many.slice(15));
    const found: unknown[] = [];
    for (let i = 0; i < 25; i++) found.push(await next(world, messages));
    assertEquals(found, Array.from({ length: 25 }, (_, i) => `${i}`));
    assertEquals(world.broker.paused, false);
    assertEquals(await next(world, messages), "pending");
  });

  test("limit 1: one message waits, no more", async () => {
    const [world, messages] = await iterate(1);
    for (let i = 0; i < 5; i++) world.broker.send(publish("a", `${i}`), publish("b", "other"));
    assertEquals([world.broker.paused, world.heard.length], [true, 0]);
    for (let i = 0; i < 5; i++) assertEquals(await next(world, messages), `${i}`);
    assertEquals(world.heard.length, 5);
  });

  test("while one iterator is full, everything waits in order", async () => {
    const [world, messages] = await iterate(2);
    world.broker.send(publish("a", "1"), publish("a", "2"), publish("b", "x"), publish("a", "3"), publish("c", "y"));
    assertEquals(world.heard, []);
    assertEquals(await next(world, messages), "1");
    await world.clock.settle();
    assertEquals(world.heard, ["b: x"]);
    assertEquals([await next(world, messages), await next(world, messages)], ["2", "3"]);
    await world.clock.settle();
    assertEquals(world.heard, ["b: x", "c: y"]);
  });

  test("while an iterator is full, pings are sent and their verdict waits", async () => {
    const [world, messages] = await iterate(1, { keepalive: 10 });
    world.broker.send(publish("a", "1"), publish("a", "2"), "d0 00");
    await world.clock.advance(120_000);
    const pings = world.broker.said();
    assert(pings.length >= 10 && pings.every((name) => name === "PINGREQ"), pings.join());
    assertEquals([await next(world, messages), await next(world, messages)], ["1", "2"]);
    await world.clock.advance(9000);
    assertEquals(await world.fate(world.client.run()), "pending");
    await world.clock.advance(120_000);
    await world.over("pingresp");
  });

  test("leaving an iterator that is full lets the reading go on", async () => {
    const [world, messages] = await iterate(1);
    world.broker.send(publish("a", "1"), publish("a", "2"), publish("b", "x"));
    assertEquals(world.broker.paused, true);
    const gone = messages.return!();
    await world.clock.settle();
    assertEquals([world.broker.paused, world.heard.at(-1)], [false, "b: x"]);
    world.broker.send(unsuback(2));
    assertEquals(await world.fate(gone), { done: true, value: undefined });
  });

  test("reading goes on when messages that nobody takes are given up, which had stopped it", async () => {
    const op = { id: "a", session: true, receiveMaximum: 1, timeout: 1000, keepalive: 0 };
    const world = new World(op, null);
    await world.start();
    world.broker.send("20 02 01 00"); // session present
    await world.opened;
    world.broker.send("32 05 00 01 61 00 01"); // at QoS 1
    assertEquals(world.broker.paused, true);
    await world.clock.advance(3000);
    assertEquals([world.broker.paused, world.client.stats.unclaimed], [false, 1]);
  });

  test("leaving while the connection ends is leaving", async () => {
    const [world, messages] = await iterate();
    const gone = messages.return!();
    await world.clock.settle();
    assertEquals(await world.fate(gone), "pending");
    world.broker.break();
    assertEquals(await world.fate(gone), { done: true, value: undefined });
    assertEquals(await next(world, messages), "done");
    await world.over("socketclosed");
  });

  test("leaving, when the broker does not answer: timeout", async () => {
    const [world, messages] = await iterate(undefined, { timeout: 1000, keepalive: 0 });
    const gone = messages.return!();
    await world.clock.advance(999);
    assertEquals(await world.fate(gone), "pending");
    await world.clock.advance(1);
    assertEquals(await world.fate(gone), "error timeout");
    assertEquals(await world.fate(world.client.run()), "pending");
  });

  test("a subscription that is not answered in time: the iterator throws, and gives up the filter", async () => {
    const world = await World.open({ timeout: 1000, keepalive: 0 });
    const messages = world.client.messages("a");
    await world.clock.advance(1000);
    assertEquals([await next(world, messages), await next(world, messages)], ["error timeout", "done"]);
    assertEquals(world.broker.said(), ["SUBSCRIBE 1 a", "UNSUBSCRIBE 2 a"]);
    world.broker.send(suback(1, 0), publish("a", "late"), unsuback(2));
    assertEquals(world.heard, ["a: late"]);
    assertEquals(await world.fate(world.client.run()), "pending");
  });

  test("disconnect with a full iterator: it ends, with what it had", async () => {
    const [world, messages] = await iterate(2);
    world.broker.send(publish("a", "1"), publish("a", "2"), publish("a", "3"));
    const left = world.client.disconnect();
    await world.clock.settle();
    world.broker.break();
    assertEquals(await world.fate(left), undefined);
    assertEquals([await next(world, messages), await next(world, messages), await next(world, messages)], [
      "1",
      "2",
      "done",
    ]);
    await world.over("disconnect");
  });

  test("unsubscribe ends it, after what it had", async () => {
    const [world, messages] = await iterate();
    world.broker.send(publish("a", "1"));
    world.client.unsubscribe("a");
    await world.clock.settle();
    world.broker.send(unsuback(2));
    assertEquals([await next(world, messages), await next(world, messages), await next(world, messages)], [
      "1",
      "done",
      "done",
    ]);
  });

  test("[MQTT-3.9.3-2] a subscription that is refused throws 128", async () => {
    const world = await World.open();
    const messages = world.client.messages("a");
    const first = messages.next();
    first.catch(() => {});
    await world.clock.settle();
    world.broker.send(suback(1, 128));
    assertEquals([await world.fate(first), await next(world, messages)], ["error 128", "done"]);
    assertEquals(await world.fate(messages.return!()), { done: true, value: undefined });
    assertEquals(world.broker.said(), ["SUBSCRIBE 1 a"]);
  });

  test("the end of the connection is thrown once, after what came before it", async () => {
    const [world, messages] = await iterate();
    world.broker.send(publish("a", "1"));
    world.broker.break();
    await world.over("socketclosed");
    assertEquals([await next(world, messages), await next(world, messages), await next(world, messages)], [
      "1",
      "error socketclosed",
      "done",
    ]);
  });

  test("who has left hears of no end", async () => {
    const [world, messages] = await iterate();
    world.broker.send(publish("a", "1"));
    world.broker.break();
    await world.over("socketclosed");
    assertEquals(await world.fate(messages.return!()), { done: true, value: undefined });
    assertEquals(await next(world, messages), "done");
  });

  test("after disconnect it is done, and after another end it throws that", async () => {
    const world = await World.open();
    const left = world.client.disconnect();
    assertEquals(await next(world, world.client.messages("a")), "done");
    world.broker.break();
    await left;
    const other = await World.open();
    other.broker.break();
    await other.over("socketclosed");
    const late = other.client.messages("a");
    assertEquals([await next(other, late), await next(other, late)], ["error socketclosed", "done"]);
  });

  test("when the end has come, a full iterator gives what it had, and nothing is read or called any more", async () => {
    const [world, messages] = await iterate(1);
    world.broker.send(publish("a", "1"), publish("b", "after"), publish("a", "2"));
    world.broker.break();
    await world.over("socketclosed");
    assertEquals([await next(world, messages), await next(world, messages), world.heard], [
      "1",
      "error socketclosed",
      [],
    ]);
    assertEquals(world.clock.timers.size, 0);
  });

  test("no room to ask for the subscription: the iterator throws overflow", async () => {
    const world = await World.open({ maxBuffered: 10 });
    const messages = world.client.messages("a topic filter that is too long");
    assertEquals([await next(world, messages), await next(world, messages)], ["error overflow", "done"]);
    assertEquals(world.broker.said(), []);
  });

  test("wrong arguments throw at once", async () => {
    const world = await World.open();
    for (const limit of [0, -1, 1.5, NaN, Infinity, "5" as unknown as number]) {
      let error: unknown;
      try {
        world.client.messages("a", { limit });
      } catch (caught) {
        error = caught;
      }
      assert(error instanceof RangeError || error instanceof TypeError, `limit ${limit}: ${error}`);
    }
    for (const qos of [3, -1, NaN, "1"] as unknown as 2[]) {
      assertThrows(() => world.client.messages("a", { qos }), RangeError);
    }
    for (const topic of ["", "a#", 5 as unknown as string]) {
      assertThrows(() => world.client.messages(topic), TypeError);
    }
    assertEquals(world.broker.packets(), []);
  });
});

describe("loop: onpub", () => {
  test("each message, in order, however the stream is cut", async () => {
    for (const size of [1, 2, 7, 100]) {
      const world = await World.open();
      const stream = [1, 2, 3, 4, 5].flatMap((i) => [...publish("t", `${i}`)]);
      for (let at = 0; at < stream.length; at += size) world.broker.send(Uint8Array.from(stream.slice(at, at + size)));
      assertEquals(world.heard, ["t: 1", "t: 2", "t: 3", "t: 4", "t: 5"]);
    }
  });

  test("what it throws surfaces, and the loop goes on", async () => {
    const problems: Error[] = [];
    const heard: string[] = [];
    const world = await World.open({}, (_, message) => {
      heard.push(message.text());
      problems.push(new Error(message.text()));
      throw problems.at(-1);
    });
    const errors = await surfacing(async () => {
      world.broker.send(publish("t", "1"), publish("t", "2"));
      await world.clock.settle();
      world.broker.send(publish("t", "3"));
      await world.clock.settle();
    });
    assertEquals([heard, errors], [["1", "2", "3"], problems]);
    assertEquals(await world.fate(world.client.run()), "pending");
  });

  test("of two onpubs for a message, one that throws does not keep it from the other", async () => {
    const world = await World.open();
    const heard: string[] = [];
    const problem = new Error("first");
    world.client.subscribe("a/+", {
      onpub: () => {
        throw problem;
      },
    });
    world.client.subscribe("+/b", { onpub: () => heard.push("second") });
    world.client.subscribe("#", { onpub: () => heard.push("third") });
    await world.clock.settle();
    const errors = await surfacing(async () => {
      world.broker.send(publish("a/b", "x"));
      await world.clock.settle();
    });
    assertEquals([errors, heard.sort()], [[problem], ["second", "third"]]);
  });

  test("publishing and subscribing inside it is normal use: the answers go out together", async () => {
    const world = await World.open({}, (topic, message) => {
      world.client.publish(`echo/${topic}`, message.payload);
      if (topic === "2") world.client.subscribe("more");
    });
    world.broker.send(publish("1", "x"), publish("2", "y"), publish("3", "z"));
    await world.clock.settle();
    assertEquals(world.broker.said(), ["PUBLISH echo/1", "PUBLISH echo/2", "SUBSCRIBE 1 more", "PUBLISH echo/3"]);
    assertEquals(world.broker.writes.length, 2);
  });

  test("[MQTT-4.3.2-2] [MQTT-4.3.3-2] what is not heard any more is not acknowledged: the broker sends it again", async () => {
    const heard: string[] = [];
    const world = await World.open({ session: true }, (topic) => {
      heard.push(topic);
      world.client.disconnect();
    });
    world.broker.send('32 06 0001 "1" 0001 "x"', '32 06 0001 "2" 0002 "x"', '34 06 0001 "3" 0003 "x"');
    await world.clock.settle();
    assertEquals([heard, world.broker.said()], [["1"], ["PUBACK", "DISCONNECT"]]);
    world.broker.break();
    await world.over("disconnect");
  });

  test("disconnecting inside it: nothing is heard any more", async () => {
    const heard: string[] = [];
    const world = await World.open({}, (topic) => {
      heard.push(topic);
      world.client.publish("last", "x");
      if (topic === "2") world.client.disconnect();
    });
    world.broker.send(publish("1", "x"), publish("2", "y"), publish("3", "z"));
    await world.clock.settle();
    world.broker.send(publish("4", ""));
    await world.clock.settle();
    assertEquals([heard, world.broker.said()], [["1", "2"], ["PUBLISH last", "PUBLISH last", "DISCONNECT"]]);
    world.broker.break();
    await world.over("disconnect");
  });

  test("nobody has to listen", async () => {
    const world = await World.open({}, null);
    world.broker.send(publish("a", "x"));
    assertEquals(await world.fate(world.client.run()), "pending");
  });

  test("a message is the receiver's to keep, and to send on", async () => {
    const kept: Message[] = [];
    const world = await World.open({}, (_, message) => void kept.push(message));
    for (let i = 0; i < 300; i++) world.broker.send(publish("t", `message ${i}`.repeat(30)));
    assertEquals(
      kept.map((message) => message.text()),
      Array.from({ length: 300 }, (_, i) => `message ${i}`.repeat(30)),
    );
  });

  test("[MQTT-4.3.2-2] [MQTT-4.3.3-2] [MQTT-4.5.0-2] QoS 1 and 2 are acknowledged, whoever listens", async () => {
    const world = await World.open({}, null);
    world.broker.send('32 06 0001 "a" 0001 "x" 34 06 0001 "a" 0002 "y" 3c 06 0001 "a" 0002 "y" 62 02 0002');
    await world.clock.settle();
    assertEquals(world.broker.writes[1], bytes("40 02 0001 50 02 0002 50 02 0002 70 02 0002"));
  });
});

describe("loop: disconnect", () => {
  test("[MQTT-3.14.4-1] [MQTT-3.14.4-2] what was accepted, then DISCONNECT, then the end", async () => {
    const world = await World.open();
    world.broker.flows = false;
    for (let i = 0; i < 300; i++) world.client.publish(`t/${i}`, "x".repeat(1000));
    const left = world.client.disconnect();
    assertEquals(await world.fate(left), "pending");
    world.broker.flows = true;
    world.broker.flush();
    await world.clock.settle();
    assertEquals(world.broker.said(), [...Array.from({ length: 300 }, (_, i) => `PUBLISH t/${i}`), "DISCONNECT"]);
    assertEquals(world.broker.writes.at(-1), bytes("e0 00"));
    assertEquals([world.broker.ended, world.broker.closed], [true, false]);
    world.broker.send('32 05 0001 "a" 0001', "d0 00");
    await world.clock.settle();
    assertEquals(world.broker.said(), [], "nothing after DISCONNECT");
    world.broker.break();
    assertEquals(await world.fate(left), undefined);
    await world.over("disconnect");
  });

  test("with nothing to send, it is DISCONNECT alone", async () => {
    const world = await World.open({ keepalive: 0 });
    await world.clock.advance(100_000);
    const left = world.client.disconnect();
    await world.clock.settle();
    assertEquals(world.broker.said(), ["DISCONNECT"]);
    world.broker.break();
    assertEquals(await world.fate(left), undefined);
    await world.over("disconnect");
  });

  test("[MQTT-3.14.4-1] a broker that does not close: we do, in bounded time", async () => {
    for (const keepalive of [0, 60]) {
      const world = await World.open({ keepalive });
      await world.clock.advance(100_000 * Math.min(keepalive, 0) + 50_000);
      const left = world.client.disconnect();
      await world.clock.settle();
      assertEquals(world.broker.ended, true);
      await world.clock.advance(2000);
      assertEquals([world.broker.closed, await world.fate(left)], [true, undefined]);
      await world.over("disconnect");
    }
  });

  for (const keepalive of [0, 60]) {
    test(`a broker that reads nothing: the deadline, and disconnect() tells (keep alive ${keepalive})`, async () => {
      const world = await World.open({ timeout: 3000, keepalive });
      await world.clock.advance(20_000);
      world.broker.flows = false;
      const pending = world.client.publish("t", big);
      const left = world.client.disconnect();
      await world.clock.advance(2999);
      assertEquals([await world.fate(pending), await world.fate(left)], ["pending", "pending"]);
      await world.clock.advance(1);
      assertEquals(await world.fate(left), "error timeout");
      assertEquals(await world.fate(pending), "error disconnect");
      await world.over("disconnect");
    });
  }

  test("everything asked after it is refused, at once", async () => {
    const world = await World.open();
    const left = world.client.disconnect();
    assertEquals(await world.fate(world.client.publish("t", "x")), "error disconnect");
    assertEquals(await world.fate(world.client.subscribe("t")), "error disconnect");
    assertEquals(await world.fate(world.client.unsubscribe("t")), "error disconnect");
    assertEquals(world.broker.said(), ["DISCONNECT"]);
    world.broker.break();
    await left;
  });

  test("a second disconnect is the first", async () => {
    const world = await World.open();
    const left = [world.client.disconnect(), world.client.disconnect(), world.client[Symbol.asyncDispose]()];
    await world.clock.settle();
    assertEquals(world.broker.said(), ["DISCONNECT"]);
    world.broker.break();
    for (const promise of left) assertEquals(await world.fate(promise), undefined);
    await world.over("disconnect");
  });

  test("dispose is disconnect", async () => {
    const world = await World.open();
    const gone = world.client[Symbol.asyncDispose]();
    await world.clock.settle();
    assertEquals(world.broker.said(), ["DISCONNECT"]);
    world.broker.break();
    assertEquals(await world.fate(gone), undefined);
  });

  test("requests that wait get the end of the connection", async () => {
    const world = await World.open();
    const asked = world.client.subscribe("a");
    const given = world.client.unsubscribe("b");
    const left = world.client.disconnect();
    await world.clock.settle();
    assertEquals(world.broker.said(), ["SUBSCRIBE 1 a", "UNSUBSCRIBE 2 b", "DISCONNECT"]);
    world.broker.break();
    await left;
    assertEquals([await world.fate(asked), await world.fate(given)], ["error disconnect", "error disconnect"]);
  });

  test("a publish that waits for room resolves when it was sent", async () => {
    const world = await World.open();
    world.broker.flows = false;
    const pending = world.client.publish("t", big);
    const left = world.client.disconnect();
    assertEquals(await world.fate(pending), "pending");
    world.broker.flush();
    assertEquals(await world.fate(pending), 0);
    world.broker.flush();
    world.broker.break();
    assertEquals(await world.fate(left), undefined);
  });

  test("a connection that breaks before everything was sent: disconnect() tells", async () => {
    const world = await World.open();
    world.broker.flows = false;
    world.client.publish("t", "x");
    const left = world.client.disconnect();
    await world.clock.settle();
    world.broker.break();
    assertEquals(await world.fate(left), "error socketclosed");
    await world.over("disconnect");
  });
});

describe("loop: the signal", () => {
  const reason = new Error("the reason");

  async function aborted(world: World, dials: number): Promise<void> {
    const end = await world.over("disconnect");
    assertStrictEquals(end.cause, reason);
    assertEquals(world.signals.length, dials);
  }

  test("aborted before: nothing is opened", async () => {
    const world = new World({ signal: AbortSignal.abort(reason) });
    await world.start();
    assertEquals(await world.fate(world.opened!), "error disconnect");
    await aborted(world, 0);
  });

  test("aborted while the connection is opened: the attempt is told", async () => {
    const controller = new AbortController();
    const world = new World({ signal: controller.signal });
    world.dial = (signal) => new Promise((_, reject) => signal.addEventListener("abort", () => reject(signal.reason)));
    await world.start();
    controller.abort(reason);
    assertEquals(await world.fate(world.opened!), "error disconnect");
    assertEquals(world.signals[0]!.aborted, true);
    await aborted(world, 1);
  });

  test("aborted while credentials are asked for: nothing is sent", async () => {
    const controller = new AbortController();
    let answer = (_: string) => {};
    const world = new World({ signal: controller.signal, uname: () => new Promise((resolve) => answer = resolve) });
    await world.start();
    controller.abort(reason);
    answer("U");
    assertEquals(await world.fate(world.opened!), "error disconnect");
    assertEquals(world.broker.writes.length, 0);
    await aborted(world, 1);
  });

  test("aborted before CONNACK", async () => {
    const controller = new AbortController();
    const world = new World({ signal: controller.signal });
    await world.start();
    controller.abort(reason);
    assertEquals(await world.fate(world.opened!), "error disconnect");
    assertEquals(world.broker.said(), ["CONNECT"]);
    await aborted(world, 1);
  });

  test("aborted when open: as disconnect()", async () => {
    const controller = new AbortController();
    const world = await World.open({ signal: controller.signal });
    world.client.publish("t", "x");
    controller.abort(reason);
    await world.clock.settle();
    assertEquals(world.broker.said(), ["PUBLISH t", "DISCONNECT"]);
    world.broker.break();
    await aborted(world, 1);
  });

  test("aborted while it waits for the next attempt", async () => {
    const controller = new AbortController();
    const world = await World.open({ signal: controller.signal, reconnect: true });
    world.broker.break();
    await world.clock.advance(500);
    controller.abort(reason);
    await aborted(world, 1);
  });

  test("after the end, the signal knows nothing of the client any more", async () => {
    const { signal } = new AbortController();
    const listeners = new Set<unknown>();
    const { addEventListener, removeEventListener } = signal;
    Object.assign(signal, {
      addEventListener(type: string, listener: () => void) {
        listeners.add(listener);
        addEventListener.call(signal, type, listener);
      },
      removeEventListener(type: string, listener: () => void) {
        listeners.delete(listener);
        removeEventListener.call(signal, type, listener);
      },
    });
    const world = await World.open({ signal });
    assertEquals(listeners.size, 1);
    world.broker.break();
    await world.over("socketclosed");
    assertEquals(listeners.size, 0);
  });

  test("a hundred clients that share a signal have one listener: Node warns of more than ten", async () => {
    const controller = new AbortController();
    const { signal } = controller;
    let listeners = 0;
    const { addEventListener, removeEventListener } = signal;
    Object.assign(signal, {
      addEventListener(type: string, listener: () => void) {
        listeners++;
        addEventListener.call(signal, type, listener);
      },
      removeEventListener(type: string, listener: () => void) {
        listeners--;
        removeEventListener.call(signal, type, listener);
      },
    });
    const worlds = await Promise.all(Array.from({ length: 100 }, () => World.open({ signal })));
    assertEquals(listeners, 1);
    worlds[0]!.broker.break();
    await worlds[0]!.over("socketclosed");
    assertEquals(listeners, 1);
    controller.abort(reason);
    for (const world of worlds.slice(1)) {
      await world.clock.settle();
      world.broker.break();
      await aborted(world, 1);
    }
    assertEquals(listeners, 0);
  });

  test("aborted twice, or after the end, is nothing", async () => {
    const controller = new AbortController();
    const world = await World.open({ signal: controller.signal });
    world.broker.break();
    await world.over("socketclosed");
    controller.abort(reason);
    await world.over("socketclosed");
  });
});

describe("loop: every end settles everything", () => {
  const ends: [what: string, code: MqttError["code"], end: (world: World) => void | Promise<void>][] = [
    ["the broker closes", "socketclosed", (world) => world.broker.break()],
    ["[MQTT-4.8.0-1] a protocol error", "protocol", (world) => world.broker.send("36 00")],
    ["[MQTT-2.2.2-2] wrong flags", "protocol", (world) => world.broker.send("d1")],
    ["[MQTT-1.5.3-1] a name that is not UTF-8", "protocol", (world) => world.broker.send("30 03 0001 ff")],
    ["[MQTT-2.3.1-7] SUBACK of nothing", "protocol", (world) => world.broker.send(suback(99, 0))],
    ["[MQTT-3.8.4-5] SUBACK with too many codes", "protocol", (world) => world.broker.send(suback(1, 0, 0))],
    ["an unknown packet", "unknowncp", (world) => world.broker.send("f0")],
    ["[MQTT-4.8.0-2] a packet too large", "overflow", (world) => world.broker.send("90 ff ff 7f")],
    ["TLS fails", "tls", (world) => world.broker.break(new MqttError("tls", "alert"))],
    ["PINGREQ is not answered", "pingresp", (world) => world.clock.advance(20_000)],
    ["the program disconnects", "disconnect", (world) => {
      world.client.disconnect().catch(() => {});
      world.broker.break();
    }],
  ];
  for (const [what, code, end] of ends) {
    test(`${what}: "${code}"`, async () => {
      const world = await World.open({ keepalive: 5, maxPacketSize: 100_000, timeout: 1_000_000 });
      const { client } = world;
      world.broker.flows = false;
      const messages = client.messages("m");
      const pending = {
        iterated: messages.next(),
        subscribed: client.subscribe(["a", "b"], () => assert(false, "called")),
        unsubscribed: client.unsubscribe("c", () => assert(false, "called")),
        published: client.publish("t", big),
        publishedToo: client.publish("t", "x"),
      };
      for (const promise of Object.values(pending)) (promise as Promise<unknown>).catch(() => {});
      await world.clock.settle();
      world.broker.send(publish("before", "x"));
      await end(world);
      await world.clock.settle();
      const error = await world.over(code);
      for (const [name, promise] of Object.entries(pending)) {
        const settled = await (promise as Promise<unknown>).then((value) => value, (reason) => reason);
        if (name === "iterated" && code === "disconnect") assertEquals(settled, { done: true, value: undefined });
        else assertStrictEquals(settled, error, `${name} gets the error of run()`);
      }
      assertEquals(world.heard, ["before: x"], "what came before is delivered");
    });
  }

  test("promises that nobody looks at do not surface when the connection ends", async () => {
    const world = await World.open();
    world.broker.flows = false;
    world.client.subscribe("a");
    world.client.unsubscribe("b");
    world.client.publish("t", big);
    world.client.messages("n");
    await world.clock.settle();
    world.broker.break();
    await world.over("socketclosed");
    await new Promise((resolve) => setTimeout(resolve, 10));
  });

  test("[MQTT-4.8.0-1] nothing is sent after the broker's mistake", async () => {
    const world = await World.open({}, () => void world.client.publish("answer", "x"));
    world.broker.send(publish("a", "1"), publish("a", "2"), "36 00");
    await world.over("protocol");
    assertEquals([world.broker.said(), world.broker.closed], [[], true]);
  });

  test("run() tells the same to everybody, before and after", async () => {
    const world = await World.open();
    const before = [world.client.run(), world.client.run()];
    world.broker.break();
    const [one, two] = await Promise.all(before);
    assertStrictEquals(one, two);
    assertStrictEquals(await world.client.run(), one);
  });

  test("a connection that breaks in the same tick as a publish", async () => {
    const world = await World.open();
    const accepted = world.client.publish("t", "x");
    world.broker.break();
    const late = world.client.publish("t", "y");
    for (const promise of [accepted, late]) {
      assert([0, "error socketclosed"].includes(await world.fate(promise) as 0));
    }
    await world.over("socketclosed");
  });

  test("disconnect in the same tick as the end: the end came first", async () => {
    const world = await World.open();
    world.broker.break();
    const left = world.client.disconnect();
    assertEquals(await world.fate(left), undefined);
    await world.over("socketclosed");
  });
});

describe("loop: keep alive", () => {
  test("[MQTT-3.1.2-23] PINGREQ when nothing was sent, and on it goes", async () => {
    const world = await World.open({ keepalive: 10 });
    for (let i = 0; i < 5; i++) {
      await world.clock.advance(9500);
      assertEquals(world.broker.said(), ["PINGREQ"]);
      world.broker.send("d0 00");
    }
    assertEquals(await world.fate(world.client.run()), "pending");
  });

  test("what is published puts it off", async () => {
    const world = await World.open({ keepalive: 10 });
    for (let i = 0; i < 10; i++) {
      await world.clock.advance(5000);
      world.client.publish("t", "x");
      world.broker.send('30 03 0001 "a"'); // otherwise the connection may be dead
    }
    await world.clock.advance(5000);
    assert(world.broker.said().every((name) => name === "PUBLISH t"));
  });

  test("one timer, however much is sent", async () => {
    const world = await World.open({ keepalive: 10 });
    for (let i = 0; i < 100; i++) {
      world.client.publish("t", "x");
      await world.clock.settle();
      assertEquals(world.clock.timers.size, 1);
    }
  });

  test("a broker that does not answer: pingresp in bounded time", async () => {
    const world = await World.open({ keepalive: 60 });
    await world.clock.advance(57_000 + 9999);
    assertEquals(await world.fate(world.client.run()), "pending");
    await world.clock.advance(1000);
    await world.over("pingresp");
  });

  test("a broker that stopped while much was to be sent: pingresp in bounded time", async () => {
    const world = await World.open({ keepalive: 60 });
    world.broker.flows = false;
    const pending = world.client.publish("t", big);
    await world.clock.advance(57_000 + 11_000);
    assertEquals(await world.fate(pending), "error pingresp");
    await world.over("pingresp");
  });

  test("keep alive 0: no timer at all", async () => {
    const world = await World.open({ keepalive: 0 });
    await world.clock.advance(1_000_000);
    assertEquals([world.clock.timers.size, world.broker.said()], [0, []]);
  });

  test("a laptop that slept: the answer in the socket counts", async () => {
    const world = await World.open({ keepalive: 60 });
    await world.clock.advance(57_000);
    assertEquals(world.broker.said(), ["PINGREQ"]);
    world.broker.send();
    await world.clock.sleep(3_600_000);
    assertEquals(await world.fate(world.client.run()), "pending");
    world.broker.send("d0 00");
    await world.clock.advance(1000);
    assertEquals(await world.fate(world.client.run()), "pending");
    world.broker.send("d0 00");
    await world.clock.advance(57_000);
    assertEquals(await world.fate(world.client.run()), "pending");
  });

  test("a laptop that slept, and a broker that is gone: pingresp soon", async () => {
    const world = await World.open({ keepalive: 60 });
    await world.clock.advance(57_000);
    await world.clock.sleep(3_600_000);
    await world.clock.advance(12_000);
    await world.over("pingresp");
  });

  test("a thread that was blocked: an answer to subscribe that waits in the socket counts", async () => {
    const world = await World.open({ timeout: 2000 });
    const asked = world.client.subscribe("a");
    await world.clock.sleep(30_000);
    assertEquals(await world.fate(asked), "pending");
    world.broker.send(suback(1, 0));
    await world.clock.advance(1000);
    assertEquals(await world.fate(asked), 0);
  });

  test("a thread that was blocked while connecting: CONNACK in the socket counts", async () => {
    const world = new World({ timeout: 2000 });
    await world.start();
    await world.clock.sleep(30_000);
    world.broker.send(CONNACK);
    await world.clock.advance(1000);
    assertEquals(await world.fate(world.opened!), undefined);
  });
});

describe("loop: reconnect", () => {
  /** Loses the connection, and waits for the next CONNECT. */
  async function lose(world: World, wait = 60_000): Promise<void> {
    const before = world.transports.length;
    world.broker.break();
    await world.clock.advance(wait);
    assertEquals(world.transports.length, before + 1, "another connection");
  }

  test("off by default", async () => {
    const world = await World.open();
    world.broker.break();
    await world.clock.advance(1_000_000);
    assertEquals(world.transports.length, 1);
    await world.over("socketclosed");
  });

  test("[MQTT-3.1.3-2] it connects again, with the same identifier", async () => {
    const world = await World.open({ reconnect: true, id: "mine" });
    await lose(world, 1000);
    const [connect] = world.broker.packets();
    assert(connect?.type === "CONNECT");
    assertEquals([connect.id, world.transports[0]!.closed], ["mine", true]);
    world.broker.send(CONNACK);
    await world.clock.settle();
    assertEquals(await world.fate(world.client.run()), "pending");
    world.broker.send(publish("a", "again"));
    assertEquals(world.heard, ["a: again"]);
    assertStrictEquals(world.client.sock, world.broker.sock);
  });

  test("full jitter: any part of a delay that doubles up to a limit", async () => {
    const world = await World.open({ reconnect: { minDelay: 100, maxDelay: 1000 } });
    for (
      const [chance, delay] of [[1, 100], [0.5, 100], [0.25, 100], [1, 800], [1, 1000], [0.1, 100], [1, 1000]] as const
    ) {
      world.clock.chance = chance;
      const before = world.transports.length;
      world.broker.break();
      await world.clock.settle();
      await world.clock.advance(delay - 1);
      assertEquals(world.transports.length, before, `chance ${chance}: not before ${delay} ms`);
      await world.clock.advance(1);
      assertEquals(world.transports.length, before + 1, `chance ${chance}: after ${delay} ms`);
    }
  });

  test("chance 0 is at once, and yet not for ever in one tick", async () => {
    const world = await World.open({ reconnect: { attempts: 3 } });
    world.clock.chance = 0;
    world.dial = () => Promise.reject(new MqttError("cannotconnect", "no"));
    world.broker.break();
    await world.clock.advance(0);
    await world.over("cannotconnect");
    assertEquals(world.signals.length, 1 + 3);
  });

  test("the delay starts anew after a stable time only", async () => {
    const world = await World.open({ reconnect: { minDelay: 100, maxDelay: 10_000, stableAfter: 5000 } });
    const delays: number[] = [];
    for (const stable of [0, 0, 4999, 5000, 0, 6000]) {
      await world.clock.advance(stable);
      const before = world.transports.length;
      world.broker.break();
      const start = world.clock.now();
      while (world.transports.length === before) await world.clock.advance(100);
      delays.push(world.clock.now() - start);
      world.broker.send(CONNACK);
      await world.clock.settle();
    }
    assertEquals(delays, [100, 200, 400, 100, 200, 100]);
  });

  test("it gives up after so many failures in a row, with the last error", async () => {
    const world = await World.open({ reconnect: { minDelay: 10, maxDelay: 10, attempts: 3 } });
    let failures = 0;
    world.dial = () => Promise.reject(new MqttError("cannotconnect", `failure ${++failures}`));
    world.broker.break();
    await world.clock.advance(1000);
    assertEquals((await world.over("cannotconnect")).message, "failure 3");
  });

  test("the first connection is not tried again", async () => {
    const world = new World({ reconnect: true });
    world.dial = () => Promise.reject(new MqttError("cannotconnect", "no"));
    await world.start();
    assertEquals(await world.fate(world.opened!), "error cannotconnect");
    await world.clock.advance(100_000);
    assertEquals(world.signals.length, 1);
    await world.over("cannotconnect");
  });

  for (const code of [1, 2, 3, 4, 5]) {
    test(`[MQTT-3.2.2-5] CONNACK code ${code} is not final for a client that was accepted before`, async () => {
      const world = await World.open({ reconnect: { minDelay: 10, maxDelay: 100 } });
      await lose(world, 10);
      for (const delay of [20, 40, 80, 100, 100]) {
        const before = world.transports.length;
        world.broker.send(`20 02 00 0${code}`);
        await world.clock.settle();
        await world.clock.advance(delay - 1);
        assertEquals(world.transports.length, before, `not before ${delay} ms`);
        await world.clock.advance(1);
        assertEquals(world.transports.length, before + 1, `after ${delay} ms`);
      }
      world.broker.send(CONNACK);
      await world.clock.settle();
      assertEquals(await world.fate(world.client.publish("t", "x")), 0);
      assertEquals(world.broker.said(), ["CONNECT", "PUBLISH t"]);
    });
  }

  for (const trusted of ["untrusted", "wrongname", "expired"] as const) {
    test(`a server that is ${trusted} all of a sudden gets nothing, and is tried again`, async () => {
      const world = await World.open({ uname: "U", reconnect: { minDelay: 10, maxDelay: 10 } });
      const original = world.dial;
      world.dial = () => Promise.resolve(world.add(new FakeTransport(trusted)));
      await lose(world, 10);
      assertEquals(world.broker.writes.length, 0);
      await world.clock.advance(10);
      assertEquals([world.transports.length, world.broker.writes.length, world.transports[1]!.closed], [3, 0, true]);
      world.dial = original;
      await world.clock.advance(10);
      world.broker.send(CONNACK);
      await world.clock.settle();
      assertEquals(world.broker.said(), ["CONNECT"]);
    });
  }

  test("credentials are asked for at every attempt", async () => {
    let asked = 0;
    const world = await World.open({ uname: () => `U${++asked}`, reconnect: { minDelay: 10, maxDelay: 10 } });
    await lose(world, 10);
    const [connect] = world.broker.packets();
    assert(connect?.type === "CONNECT");
    assertEquals(connect.uname, utf8.encode("U2"));
  });

  test("[MQTT-3.1.2-6] subscriptions are made again before queued messages are sent", async () => {
    const world = await World.open({ reconnect: { minDelay: 10, maxDelay: 10 } });
    const own: string[] = [];
    world.client.subscribe("a", { onpub: (topic) => own.push(topic) });
    world.client.subscribe(["b", "c"]);
    world.client.messages("d");
    world.client.subscribe("e");
    await world.clock.settle();
    world.broker.send(suback(1, 0), suback(2, 0, 0), suback(3, 0), suback(4, 0));
    world.client.unsubscribe("e");
    await world.clock.settle();
    world.broker.send(unsuback(5));
    world.broker.break();
    await world.clock.settle();
    assertEquals(await world.fate(world.client.publish("queued", "1")), 0);
    const asked = world.client.subscribe("f");
    const given = world.client.unsubscribe("c");
    world.client.publish("queued", "2");
    await world.clock.advance(10);
    assertEquals(world.broker.said(), ["CONNECT"]);
    world.broker.send(CONNACK);
    await world.clock.settle();
    assertEquals(world.broker.said(), [
      "SUBSCRIBE 7 a",
      "SUBSCRIBE 8 b",
      "SUBSCRIBE 9 d",
      "SUBSCRIBE 6 f",
      "PUBLISH queued",
      "PUBLISH queued",
    ]);
    world.broker.send(suback(7, 0), suback(8, 0), suback(9, 0), suback(6, 0), publish("a", "x"));
    assertEquals([await world.fate(asked), await world.fate(given), own], [0, undefined, ["a"]]);
  });

  test("subscriptions are made again in the packets in which they were asked for", async () => {
    const world = await World.open({ reconnect: { minDelay: 10, maxDelay: 10 } });
    for (let i = 1; i <= 12; i++) world.client.subscribe(`${i}`);
    world.client.subscribe(["a", "b", "c"]);
    world.client.subscribe(["b", "d"]);
    await world.clock.settle();
    world.broker.said();
    world.broker.send(...Array.from({ length: 12 }, (_, i) => suback(i + 1, 0)), suback(13, 0, 0, 0), suback(14, 0, 0));
    await lose(world, 10);
    world.broker.send(CONNACK);
    await world.clock.settle();
    const filters = world.broker.said().slice(1).map((said) => said.split(" ")[2]);
    assertEquals(filters, [...Array.from({ length: 12 }, (_, i) => `${i + 1}`), "a,c", "b,d"]);
  });

  test("a filter for which the broker hangs up: asked once more, then rejected and forgotten", async () => {
    const world = await World.open({ reconnect: { minDelay: 10, maxDelay: 10 } });
    const own: string[] = [];
    world.client.subscribe("good", { onpub: (topic) => own.push(topic) });
    await world.clock.settle();
    world.broker.send(suback(1, 0));
    const forbidden = world.client.subscribe("forbidden");
    const iterator = world.client.messages("forbidden/too");
    const waiting = iterator.next();
    await world.clock.settle();
    world.broker.said();
    await lose(world, 10);
    assertEquals([await world.fate(forbidden), await world.fate(waiting)], ["pending", "pending"]);
    world.broker.send(CONNACK);
    await world.clock.settle();
    assertEquals(world.broker.said(), [
      "CONNECT",
      "SUBSCRIBE 4 good",
      "SUBSCRIBE 2 forbidden",
      "SUBSCRIBE 3 forbidden/too",
    ]);
    await lose(world, 10);
    assertEquals([await world.fate(forbidden), await world.fate(waiting)], [
      "error socketclosed",
      "error socketclosed",
    ]);
    world.broker.send(CONNACK);
    await world.clock.settle();
    assertEquals(world.broker.said(), ["CONNECT", "SUBSCRIBE 5 good"]);
    world.broker.send(suback(5, 0), publish("good", "x"));
    assertEquals(own, ["good"]);
  });

  test("a subscription that was not answered in time is forgotten", async () => {
    const world = await World.open({ timeout: 1000, keepalive: 0, reconnect: { minDelay: 10, maxDelay: 10 } });
    const asked = world.client.subscribe("a");
    await world.clock.advance(1000);
    assertEquals(await world.fate(asked), "error timeout");
    await lose(world, 10);
    world.broker.send(CONNACK);
    await world.clock.settle();
    assertEquals(world.broker.said(), ["CONNECT"]);
  });

  test("a filter given up while there is no connection: at once, and it is not asked for again", async () => {
    const world = await World.open({ reconnect: true });
    const iterator = world.client.messages("a");
    world.client.subscribe(["b", "c"]);
    await world.clock.settle();
    world.broker.send(suback(1, 0), suback(2, 0, 0));
    world.broker.break();
    await world.clock.settle();
    const early = world.client.subscribe(["e", "f"]);
    const other = world.client.subscribe("g");
    assertEquals(await world.fate(iterator.return!()), { done: true, value: undefined });
    assertEquals(await world.fate(world.client.unsubscribe(["b", "e", "g", "never"])), undefined);
    assertEquals([await world.fate(early), await world.fate(other)], ["pending", 0]);
    await world.clock.advance(1000);
    world.broker.send(CONNACK);
    await world.clock.settle();
    assertEquals(world.broker.said(), ["CONNECT", "SUBSCRIBE 5 c", "SUBSCRIBE 3 f"]);
    world.broker.send(suback(5, 0), suback(3, 0));
    assertEquals(await world.fate(early), 0);
  });

  test("an UNSUBSCRIBE whose answer is lost with the connection is done, and told to a broker that kept the session", async () => {
    const world = await World.open({ id: "ID", session: true, reconnect: { minDelay: 10, maxDelay: 10 } });
    world.client.subscribe(["a", "b"]);
    await world.clock.settle();
    world.broker.send(suback(1, 0, 0));
    const given = world.client.unsubscribe("a");
    await world.clock.settle();
    assertEquals(await world.fate(given), "pending");
    world.broker.break();
    assertEquals(await world.fate(given), undefined);
    assertEquals(await world.fate(world.client.unsubscribe("b")), undefined);
    await world.clock.advance(10);
    world.broker.send("20 02 01 00");
    await world.clock.settle();
    assertEquals(world.broker.said(), ["CONNECT", "UNSUBSCRIBE 3 a", "UNSUBSCRIBE 4 b"]);
    world.broker.break();
    await world.clock.advance(100);
    world.broker.send("20 02 01 00");
    await world.clock.settle();
    const again = world.broker.said();
    assertEquals(again.length, 3, "not answered: told again");
    const ids = again.slice(1).map((said) => Number(said.split(" ")[1]));
    world.broker.send(...ids.map(unsuback));
    await lose(world, 100);
    world.broker.send("20 02 01 00");
    await world.clock.settle();
    assertEquals(world.broker.said(), ["CONNECT"]);
  });

  test("[MQTT-3.2.2-2] a broker that has kept the session is not asked again", async () => {
    const world = await World.open({ session: true, reconnect: { minDelay: 10, maxDelay: 10 } });
    world.client.subscribe("a");
    await world.clock.settle();
    world.broker.send(suback(1, 0));
    await lose(world, 10);
    world.broker.send("20 02 01 00");
    await world.clock.settle();
    assertEquals(world.broker.said(), ["CONNECT"]);
    await lose(world, 10);
    world.broker.send("20 02 00 00");
    await world.clock.settle();
    assertEquals(world.broker.said(), ["CONNECT", "SUBSCRIBE 2 a"]);
  });

  test("[MQTT-2.3.1-3] a request without an answer is asked again with its identifier, and then answered", async () => {
    const world = await World.open({ reconnect: { minDelay: 10, maxDelay: 10 } });
    const asked = world.client.subscribe("a");
    await world.clock.settle();
    await lose(world, 10);
    assertEquals(await world.fate(asked), "pending");
    world.broker.send(CONNACK);
    await world.clock.settle();
    assertEquals(world.broker.said(), ["CONNECT", "SUBSCRIBE 1 a"]);
    world.broker.send(suback(1, 0));
    assertEquals(await world.fate(asked), 0);
  });

  test("a request has its deadline while there is a connection", async () => {
    const world = await World.open({ timeout: 1000, keepalive: 0, reconnect: { minDelay: 5000, maxDelay: 5000 } });
    const asked = world.client.subscribe("a");
    await world.clock.settle();
    world.broker.break();
    await world.clock.advance(4999);
    assertEquals(await world.fate(asked), "pending");
    await world.clock.advance(1);
    world.broker.send(CONNACK);
    await world.clock.advance(999);
    assertEquals(await world.fate(asked), "pending");
    await world.clock.advance(1);
    assertEquals(await world.fate(asked), "error timeout");
  });

  test("a request that fails with the client need not be awaited: run() tells", async () => {
    const reconnect = { minDelay: 10, maxDelay: 10, attempts: 3 };
    const world = await World.open({ timeout: 1000, keepalive: 0, reconnect });
    world.dial = () => Promise.reject(new MqttError("cannotconnect", "no"));
    world.client.subscribe("a");
    await world.clock.settle();
    world.broker.break();
    await world.clock.advance(2000); // a rejection that nobody handles would fail this test
    await world.over("cannotconnect");
  });

  test("a subscription made again may be refused: its iterator hears of it", async () => {
    const world = await World.open({ reconnect: { minDelay: 10, maxDelay: 10 } });
    const messages = world.client.messages("a");
    await world.clock.settle();
    world.broker.send(suback(1, 0));
    const waiting = messages.next();
    waiting.catch(() => {});
    await lose(world, 10);
    world.broker.send(CONNACK);
    await world.clock.settle();
    assertEquals(world.broker.said(), ["CONNECT", "SUBSCRIBE 2 a"]);
    world.broker.send(suback(2, 128));
    assertEquals(await world.fate(waiting), "error 128");
    assertEquals(await world.fate(world.client.run()), "pending", "nobody else has to hear of it");
    await lose(world, 100);
    world.broker.send(CONNACK);
    await world.clock.settle();
    assertEquals(world.broker.said(), ["CONNECT"], "and it is not asked for again");
  });

  test("[MQTT-3.9.3-2] what subscribe() asked for is refused when it is made again: that subscription ends, and onstatus tells", async () => {
    const refused: string[] = [];
    const world = await World.open({
      reconnect: { minDelay: 10, maxDelay: 10 },
      onstatus: (status) => status.type === "refused" && refused.push(`${status.filter} ${status.error.code}`),
    });
    const own: string[] = [];
    world.client.subscribe(["a", "b"], { onpub: (topic) => own.push(topic) });
    await world.clock.settle();
    world.broker.send(suback(1, 0, 0));
    await lose(world, 10);
    world.broker.send(CONNACK);
    await world.clock.settle();
    world.broker.send(suback(2, 128, 0), publish("a", "x"), publish("b", "x"));
    assertEquals([refused, own, world.heard], [["a 128"], ["b"], ["a: x"]]);
    assertEquals(await world.fate(world.client.run()), "pending", "the others live");
    await lose(world, 100);
    world.broker.send(CONNACK);
    await world.clock.settle();
    assertEquals(world.broker.said(), ["CONNECT", "SUBSCRIBE 3 b"]);
  });

  test("subscriptions that are made again and not answered: another connection", async () => {
    const world = await World.open({ timeout: 1000, keepalive: 0, reconnect: { minDelay: 10, maxDelay: 10 } });
    world.client.subscribe("a");
    await world.clock.settle();
    world.broker.send(suback(1, 0));
    await lose(world, 10);
    world.broker.send(CONNACK);
    await world.clock.advance(1500);
    assertEquals([world.transports.length, world.broker.said()], [3, ["CONNECT"]]);
  });

  test("a publish that waits for room settles with the next connection", async () => {
    const world = await World.open({ keepalive: 0, reconnect: { minDelay: 10, maxDelay: 10 } });
    world.broker.flows = false;
    const pending = world.client.publish("t", big);
    await world.clock.settle();
    assertEquals(world.broker.flying, true);
    await lose(world, 10);
    world.broker.send(CONNACK);
    await world.clock.advance(100);
    assert(await world.fate(pending) !== "pending");
    assertEquals(await world.fate(world.client.publish("t", "x")), 0);
  });

  test("what is published in between is bounded", async () => {
    const world = await World.open({ maxBuffered: 1000, reconnect: true });
    world.broker.break();
    await world.clock.settle();
    let accepted = 0, overflowed = 0;
    for (let i = 0; i < 100; i++) {
      const fate = await world.fate(world.client.publish("t", "x".repeat(95)));
      if (fate === "error overflow") overflowed++;
      else if (fate === 0) accepted++;
    }
    assertEquals([accepted, overflowed], [10, 90]);
    await world.clock.advance(1000);
    world.broker.send(CONNACK);
    await world.clock.settle();
    assertEquals(world.broker.said().length, 1 + 10);
  });

  test("half a packet of the old connection harms nothing, and nothing of it is heard later", async () => {
    const world = await World.open({ reconnect: { minDelay: 10, maxDelay: 10 } });
    const old = world.broker;
    old.send('30 07 0003 "a/b"');
    await lose(world, 10);
    world.broker.send(CONNACK);
    await world.clock.settle();
    world.broker.send(publish("new", "x"));
    old.send('"hi"');
    assertEquals(world.heard, ["new: x"]);
  });

  test("[MQTT-3.1.2-6] a full iterator lives on over a reconnect", async () => {
    const world = await World.open({ reconnect: { minDelay: 10, maxDelay: 10 } });
    const messages = world.client.messages("a", { limit: 2 });
    await world.clock.settle();
    world.broker.send(suback(1, 0), publish("a", "1"), publish("a", "2"));
    assertEquals(world.broker.paused, true);
    await lose(world, 10);
    world.broker.send(CONNACK);
    await world.clock.settle();
    assertEquals(world.broker.said(), ["CONNECT", "SUBSCRIBE 2 a"], "CONNACK is read whatever is full");
    world.broker.send(suback(2, 0), publish("a", "3"));
    const found: unknown[] = [];
    for (let i = 0; i < 3; i++) found.push(await next(world, messages));
    assertEquals(found, ["1", "2", "3"]);
  });

  test("disconnect while it waits for the next attempt", async () => {
    const world = await World.open({ reconnect: true });
    world.broker.break();
    await world.clock.advance(500);
    assertEquals(await world.fate(world.client.disconnect()), undefined);
    await world.over("disconnect");
    assertEquals(world.transports.length, 1);
  });

  test("disconnect while it connects again", async () => {
    const world = await World.open({ reconnect: { minDelay: 10, maxDelay: 10 } });
    await lose(world, 10);
    const left = world.client.disconnect();
    assertEquals(await world.fate(left), undefined);
    assertEquals(world.broker.said(), ["CONNECT"]);
    await world.over("disconnect");
  });

  test("a silent server at a later attempt: the deadline, and another attempt", async () => {
    const world = await World.open({ timeout: 500, reconnect: { minDelay: 10, maxDelay: 10 } });
    await lose(world, 10);
    await world.clock.advance(500);
    assertEquals(world.broker.closed, true);
    await world.clock.advance(20);
    assertEquals([world.transports.length, world.broker.closed], [3, false]);
  });

  test("an old connection that speaks up late is not heard", async () => {
    const world = await World.open({ reconnect: { minDelay: 10, maxDelay: 10 }, timeout: 100 });
    const late: FakeTransport[] = [];
    const original = world.dial;
    world.dial = async () => {
      await new Promise<void>((resolve) => world.clock.wait(resolve, 500));
      late.push(world.add(new FakeTransport()));
      return late.at(-1)!;
    };
    world.broker.break();
    await world.clock.advance(150);
    world.dial = original;
    await world.clock.advance(100);
    world.broker.send(CONNACK);
    await world.clock.settle();
    const current = world.client.sock;
    await world.clock.advance(1000);
    assertGreater(late.length, 0);
    for (const transport of late) assertEquals([transport.closed, transport.writes.length], [true, 0]);
    assertStrictEquals(world.client.sock, current);
    assertEquals(await world.fate(world.client.run()), "pending");
  });

  test("a day of it: a broker that comes and goes, and nothing grows", async () => {
    const world = await World.open({ reconnect: { minDelay: 10, maxDelay: 1000 } });
    world.client.subscribe("a");
    await world.clock.settle();
    world.broker.send(suback(1, 0));
    for (let i = 0; i < 200; i++) {
      world.clock.chance = (i * 37 % 100) / 100;
      world.broker.break();
      await world.clock.advance(2000);
      world.client.publish("t", `${i}`);
      world.broker.send(CONNACK);
      await world.clock.settle();
      const said = world.broker.said();
      assertEquals([said.length, said[0], said[2]], [3, "CONNECT", "PUBLISH t"]);
      const id = Number(said[1]!.split(" ")[1]);
      world.broker.send(suback(id, 0));
      assertEquals(world.clock.timers.size, 1);
    }
  });
});

describe("loop: status", () => {
  /** What a client told, as text. */
  function listen(): { told: string[]; onstatus: OnStatus } {
    const told: string[] = [];
    return {
      told,
      onstatus: (status) => {
        switch (status.type) {
          case "connecting":
            return void told.push(`connecting ${status.attempt}`);
          case "connected":
            return void told.push(`connected ${status.sessionPresent} ${status.version}`);
          case "waiting":
            return void told.push(`waiting ${status.error.code} ${status.delay}`);
          case "dropped":
            return void told.push(`dropped ${status.topic} ${status.size} ${status.error.code}`);
          case "stalled":
            return void told.push(`stalled ${status.unsettled}`);
          default:
            return void told.push(`${status.type} ${status.error.code}`);
        }
      },
    };
  }

  test("each change once, in order", async () => {
    const { told, onstatus } = listen();
    const world = await World.open({ onstatus, reconnect: { minDelay: 10, maxDelay: 100 } });
    assertEquals(world.client.status.type, "connected");
    world.broker.break();
    assertEquals(world.client.status.type, "waiting");
    await world.clock.advance(10);
    assertEquals(world.client.status.type, "connecting");
    world.broker.send("20 02 00 05");
    await world.clock.advance(20);
    world.broker.send(CONNACK);
    await world.clock.settle();
    world.broker.break();
    await world.clock.advance(40);
    world.broker.send(CONNACK);
    await world.clock.settle();
    const left = world.client.disconnect();
    await world.clock.settle();
    world.broker.break();
    await left;
    assertEquals(world.client.status.type, "closed");
    await world.over("disconnect");
    assertEquals(told, [
      "connecting 1",
      "connected false 4",
      "waiting socketclosed 10",
      "connecting 1",
      "waiting 5 20",
      "connecting 2",
      "connected false 4",
      "waiting socketclosed 40",
      "connecting 1",
      "connected false 4",
      "closed disconnect",
    ]);
  });

  test("never from inside a call", async () => {
    let calling = "";
    const told: string[] = [];
    const onstatus: OnStatus = ({ type }) => {
      told.push(calling === "" ? type : `${type} inside ${calling}`);
    };
    const during = <T>(name: string, call: () => T): T => {
      calling = name;
      try {
        return call();
      } finally {
        calling = "";
      }
    };
    const world = during("the constructor", () => new World({ onstatus }));
    await world.start();
    world.broker.send(CONNACK);
    await world.clock.settle();
    world.broker.flows = false;
    during("publish", () => void world.client.publish("t", big));
    during("subscribe", () => void world.client.subscribe("t"));
    during("messages", () => void world.client.messages("t"));
    during("unsubscribe", () => void world.client.unsubscribe("t"));
    during("disconnect", () => void world.client.disconnect().catch(() => {}));
    await world.clock.settle();
    world.broker.break();
    await world.over("disconnect");
    assertEquals(told, ["connecting", "connected", "closed"]);

    const breaking = await World.open({ onstatus });
    breaking.broker.write = () => {
      breaking.broker.break();
      return false;
    };
    for (let i = 0; i < 5; i++) during("a publish that breaks it", () => void breaking.client.publish("t", big));
    await breaking.over("socketclosed");

    const waiting = await World.open({ onstatus, reconnect: true });
    waiting.broker.break();
    during("disconnect while it waits", () => void waiting.client.disconnect());
    await waiting.over("disconnect");
    assertEquals(told.filter((type) => type.includes("inside")), []);
  });

  test("what it throws surfaces, and the client goes on", async () => {
    const problem = new Error("onstatus");
    const errors = await surfacing(async () => {
      const world = await World.open({
        onstatus: () => {
          throw problem;
        },
      });
      assertEquals(await world.fate(world.client.run()), "pending");
    });
    assertEquals(errors, [problem, problem]);
  });

  test("a message over maxPacketSize is passed over, counted and told, and acknowledged", async () => {
    const { told, onstatus } = listen();
    const world = await World.open({ onstatus, maxPacketSize: 100 });
    const payload = "x".repeat(200);
    world.broker.send(publish("a", payload), publish("b", "1"));
    world.broker.send(frame(3, 2, [0, 1, 97, 0, 7], new Uint8Array(3000)), publish("b", "2"));
    world.broker.send(
      frame(3, 4, [0, 1, 97, 0, 8], new Uint8Array(300)),
      frame(3, 12, [0, 1, 97, 0, 8], new Uint8Array(300)),
    );
    world.broker.send("62 02 0008", publish("b", "3"));
    await world.clock.settle();
    assertEquals(world.heard, ["b: 1", "b: 2", "b: 3"]);
    assertEquals(world.broker.said(), ["PUBACK", "PUBREC", "PUBREC", "PUBCOMP"]);
    assertEquals(told.slice(2), ["dropped a 206 overflow", "dropped a 3008 overflow", "dropped a 308 overflow"]);
    assertEquals(world.client.stats.dropped, 3);
  });

  test("a message over maxPacketSize, however the stream is cut", async () => {
    for (const size of [1, 2, 3, 7, 50]) {
      const world = await World.open({ maxPacketSize: 20 });
      const stream = [
        ...publish("a", "x".repeat(40)),
        ...publish("b", "y"),
        ...publish("aa", "z".repeat(200)),
        ...publish("b", "w"),
      ];
      for (let at = 0; at < stream.length; at += size) world.broker.send(Uint8Array.from(stream.slice(at, at + size)));
      assertEquals([world.heard, world.client.stats.dropped], [["b: y", "b: w"], 2], `cut by ${size}`);
    }
  });

  test("its head is checked like that of any other", async () => {
    for (
      const head of ["30 81 01 0001 23", "30 81 01 0000", "30 81 01 0001 ff", "32 81 01 0001 61 0000", "30 81 01 ffff"]
    ) {
      const world = await World.open({ maxPacketSize: 100 });
      world.broker.send(head);
      await world.over("protocol");
    }
  });

  test("an end that nobody hears of surfaces", async () => {
    const surfaced = await surfacing(async () => {
      const world = await World.open({}, undefined, false);
      world.broker.break();
      await world.clock.advance(999);
      await world.clock.advance(1);
      await world.clock.settle();
      assertEquals(world.clock.timers.size, 0);
    });
    assertEquals(surfaced.map((error) => (error as MqttError).code), ["socketclosed"]);
  });

  test("an end that somebody hears of does not", async () => {
    const ways: Record<string, (world: World) => unknown> = {
      "run() before": (world) => void world.client.run(),
      "a call that waits": (world) => void world.client.subscribe("a"),
      "disconnect()": (world) => void world.client.disconnect(),
      "an iterator that waits": (world) => void world.client.messages("a").next().catch(() => {}),
    };
    const later: Record<string, (world: World) => unknown> = {
      "run() within a second": (world) => world.client.run(),
      "publish() within a second": (world) => world.fate(world.client.publish("t", "x")),
      "an iterator within a second": (world) => next(world, world.client.messages("t")),
    };
    const surfaced = await surfacing(async () => {
      for (const [name, act] of Object.entries(ways)) {
        const world = await World.open({}, undefined, false);
        act(world);
        await world.clock.settle();
        world.broker.break();
        await world.clock.advance(5000);
        assertEquals(world.clock.timers.size, 0, name);
      }
      for (const [name, act] of Object.entries(later)) {
        const world = await World.open({}, undefined, false);
        world.broker.break();
        await world.clock.advance(900);
        await act(world);
        await world.clock.advance(5000);
        assertEquals(world.clock.timers.size, 0, name);
      }
      const world = await World.open({ onstatus: () => {} }, undefined, false);
      world.broker.break();
      await world.clock.advance(5000);
    });
    assertEquals(surfaced, []);
  });

  test("who iterates hears of the end, however slowly: after the messages that came before it", async () => {
    const surfaced = await surfacing(async () => {
      const world = await World.open({}, undefined, false);
      const messages = world.client.messages("a");
      await world.clock.settle();
      world.broker.send(suback(1, 0), publish("a", "1"), publish("a", "2"));
      assertEquals(await next(world, messages), "1");
      world.broker.break();
      await world.clock.advance(60_000);
      assertEquals([await next(world, messages), await next(world, messages)], ["2", "error socketclosed"]);
    });
    assertEquals(surfaced, []);
  });

  test("an iterator that has failed by itself hears of no end", async () => {
    const surfaced = await surfacing(async () => {
      const world = await World.open({}, undefined, false);
      const messages = world.client.messages("a");
      const first = next(world, messages);
      await world.clock.settle();
      world.broker.send(suback(1, 128));
      assertEquals(await first, "error 128");
      world.broker.break();
      await world.clock.advance(5000);
    });
    assertEquals(surfaced.map((error) => (error as MqttError).code), ["socketclosed"]);
  });

  test("an iterator that nobody iterates hears of nothing", async () => {
    const surfaced = await surfacing(async () => {
      const world = await World.open({}, undefined, false);
      world.client.messages("a");
      await world.clock.settle();
      world.broker.break();
      await world.clock.advance(60_000);
    });
    assertEquals(surfaced.length, 1);
  });

  test("disconnect() tells of an end that nobody has heard of", async () => {
    const surfaced = await surfacing(async () => {
      const world = await World.open({}, undefined, false);
      world.broker.break();
      await world.clock.advance(500);
      assertEquals(await world.fate(world.client.disconnect()), "error socketclosed");
      await world.clock.advance(60_000);
      const heard = await World.open();
      heard.broker.break();
      assertEquals(await heard.fate(heard.client.disconnect()), undefined);
    });
    assertEquals(surfaced, []);
  });

  test("of a first connection that fails, connect() tells", async () => {
    const surfaced = await surfacing(async () => {
      const world = new World({}, undefined, false);
      world.dial = () => Promise.reject(new MqttError("cannotconnect", "no"));
      await world.start();
      await world.clock.advance(5000);
    });
    assertEquals(surfaced, []);
  });
});

describe("loop: any order of events", () => {
  /** A life of a client, from the seed: what it does, what the broker does, what the network does. */
  async function live(seed: number): Promise<void> {
    const random = new Random(seed);
    const lossy = random.chance(0.7);
    const keepalive = random.pick([0, 1, 5]);
    const world = new World({
      keepalive,
      timeout: 3000,
      maxBuffered: random.pick([2000, 200_000, 1 << 24]),
      maxPacketSize: 100_000,
      session: !random.chance(0.5),
      ...(random.chance(0.7) && { reconnect: { minDelay: 10, maxDelay: 500, attempts: 5 } }),
    });
    world.dial = async () => {
      if (lossy && random.chance(0.2)) throw new MqttError("cannotconnect", "no");
      if (random.chance(0.3)) await new Promise<void>((resolve) => world.clock.wait(resolve, random.int(1, 4000)));
      return world.add(new FakeTransport());
    };
    const settled: string[] = [];
    const asked: string[] = [];
    const ask = (name: string, promise: Promise<unknown>): void => {
      asked.push(name);
      promise.then(() => settled.push(name), (error) => settled.push(error instanceof MqttError ? name : `${error}`));
    };
    const arrived: number[] = [];
    const accepted: number[] = [];
    const iterators: AsyncIterableIterator<Message>[] = [];
    let published = 0, deaf = false;

    /** The broker hears, and mostly answers. */
    function answer(transport: FakeTransport): void {
      for (const packet of transport.packets()) {
        if (packet.type === "PUBLISH") {
          arrived.push(Number(packet.topic));
        } else if (deaf) {
          continue;
        } else if (packet.type === "CONNECT") {
          transport.send(lossy && random.chance(0.05) ? "20 02 00 03" : CONNACK);
        } else if (packet.type === "SUBSCRIBE") {
          const codes = packet.filters.map(() => random.chance(0.1) ? 128 : 0);
          transport.send(suback(packet.packetId, ...codes));
        } else if (packet.type === "UNSUBSCRIBE") {
          transport.send(unsuback(packet.packetId));
        } else if (packet.type === "PINGREQ") {
          transport.send("d0 00");
        } else if (packet.type === "DISCONNECT") {
          transport.break();
        }
      }
    }

    const actions: [number, () => unknown][] = [
      [30, () => {
        const number = published++;
        const size = random.chance(0.05) ? random.int(60_000, 120_000) : random.size(300);
        ask(
          `publish ${number}`,
          world.client.publish(`${number}`, new Uint8Array(size)).then(() => accepted.push(number)),
        );
      }],
      [5, () => ask("subscribe", world.client.subscribe(random.pick(["a", "b/#", "c"])))],
      [3, () => ask("subscribe two", world.client.subscribe(["a", "d"], { onpub: () => {} }))],
      [3, () => ask("unsubscribe", world.client.unsubscribe(random.pick(["a", "c"])))],
      [3, () => {
        const [topic, limit] = [random.pick(["a", "d", "e"]), random.int(1, 4)];
        iterators.push(world.client.messages(topic, { limit }));
      }],
      [8, () => iterators.length > 0 && ask("next", random.pick(iterators).next())],
      [
        3,
        () =>
          iterators.length > 0 && ask("return", iterators.splice(random.int(0, iterators.length - 1), 1)[0]!.return!()),
      ],
      [15, () => world.transports.at(-1)?.send(publish(random.pick(["a", "b/x", "d", "e"]), "x"), publish("z", "y"))],
      [15, () => world.clock.advance(random.int(1, 200))],
      [2, () => world.clock.advance(random.int(1000, 20_000))],
      [1, () => world.clock.sleep(random.int(1000, 100_000))],
      [4, () => world.transports.at(-1) && (world.broker.flows = false)],
      [8, () => {
        if (world.transports.length === 0) return;
        world.broker.flows = true;
        world.broker.flush();
      }],
      [1, () => deaf = lossy && !deaf],
      [lossy ? 3 : 0, () => world.transports.at(-1)?.break()],
      [lossy ? 0.3 : 0, () => world.transports.at(-1)?.send(random.bytes(10))],
    ];
    const bag = actions.flatMap(([weight, action]) => Array<() => unknown>(Math.ceil(weight * 3)).fill(action));

    ask("open", world.opening.promise);
    const end = world.client.run();
    for (let step = 0; step < 300; step++) {
      await random.pick(bag)();
      if (random.chance(0.6)) await world.clock.settle();
      if (world.transports.length > 0) answer(world.broker);
      assert(world.clock.timers.size < 40, "timers");
    }
    ask("disconnect", world.client.disconnect());
    for (const iterator of iterators) ask("last next", iterator.next());
    for (let i = 0; i < 30; i++) {
      await world.clock.advance(1000);
      if (world.transports.length > 0) answer(world.broker);
    }
    const error = await world.fate(end);
    assert(error instanceof MqttError, `${error}`);
    assertEquals(settled.sort(), asked.sort(), "everything has settled");
    assertEquals(world.clock.timers.size, 0, "no timer is left");
    for (const transport of world.transports) assertEquals([transport.closed, transport.mistakes], [true, []]);
    assertEquals(arrived, [...new Set(arrived)].sort((a, b) => a - b), "each message once, and in order");
    if (world.transports.length === 1 && error.code === "disconnect" && world.broker.ended) {
      const missing = accepted.filter((number) => !arrived.includes(number));
      assertEquals(missing, [], "what was accepted was sent");
    }
  }

  test("everything settles, nothing is left, messages arrive once and in order", async () => {
    for (let seed = 1; seed <= 80; seed++) {
      await live(seed).catch((error) => {
        throw new Error(`seed ${seed}: ${error.message}`, { cause: error });
      });
    }
  });
});

test("loop: a Client is what it is called in the API", () => {
  const client: Client = new World().client;
  assertEquals(typeof client.run, "function");
});

test("[MQTT-7.1.2-1] loop: all that is asked of a transport is a stream of bytes, in any pieces", async () => {
  const world = new World();
  await world.start();
  const stream = [
    ...bytes(CONNACK),
    ...publish("a", "1"),
    ...frame(3, 0, [0, 1, 98], new Uint8Array(300)),
    ...publish("c", "3"),
  ];
  for (const byte of stream) world.broker.send(Uint8Array.of(byte));
  assertEquals(await world.fate(world.opened!), undefined);
  assertEquals(world.heard.map((text) => text[0]), ["a", "b", "c"]);
});
