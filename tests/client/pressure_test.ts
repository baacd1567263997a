/** Backpressure both ways: what waits is bounded, and nothing is lost in silence. */
import { test } from "node:test";
import process from "node:process";
import { assert, assertEquals, assertGreater, assertLess } from "@std/assert";
import { type Client, connect, type ConnectOptions, MqttError, type OnPublish } from "../../mod.ts";
import {
  type Action,
  type Peer,
  resume,
  type Scripted,
  send,
  stall,
  startScripted,
  wait,
} from "../support/scripted.ts";
import { assertBytes, codeOf, endsToo, noise, within } from "./support.ts";

const MiB = 1 << 20;
/** More than the kernels keep between two sockets, and a runtime before it says no. */
const kernel = 16 * MiB;
/** More than a process that holds nothing back would stay under; a garbage collector takes its time. */
const flat = 64 * MiB;

/** The bytes of CONNECT and of SUBSCRIBE "t". */
const connected = 16, subscribed = connected + 8;
const accept = [wait(connected), send(Uint8Array.of(0x20, 2, 0, 0)), endsToo];
const grant = [...accept, wait(subscribed), send(Uint8Array.of(0x90, 3, 0, 1, 0))];

/** Plays the script to a client, which has ended afterwards. */
async function withClient(
  script: Action[],
  op: ConnectOptions & { onpub?: OnPublish },
  act: (client: Client, server: Scripted) => Promise<unknown>,
): Promise<void> {
  const server = await startScripted(script);
  try {
    const { onpub, ...options } = op;
    const client = await connect("127.0.0.1", onpub, { port: server.port, id: "ID", keepalive: 0, ...options });
    await act(client, server);
    await client.disconnect().catch(() => {});
    assert((await within(client.run(), "run()")) instanceof MqttError);
  } finally {
    await server.stop();
  }
}

const turn = () => new Promise((resolve) => setTimeout(resolve, 10));

async function until(holds: () => boolean, what: string): Promise<void> {
  let over = false;
  const look = async () => {
    while (!over && !holds()) await turn();
  };
  await within(look(), what).finally(() => over = true);
}

/** Waits until a number has not changed for 200 ms. */
async function settled(read: () => number): Promise<number> {
  for (let last = -1, same = 0;; await turn()) {
    const now = read();
    same = now === last ? same + 1 : 0;
    last = now;
    if (same === 20) return now;
  }
}

/** A message of so many bytes to the topic "t". */
function message(size: number): Uint8Array {
  const length = 3 + size;
  return Uint8Array.of(0x30, length & 127 | 128, length >> 7, 0, 1, 0x74, ...new Uint8Array(size));
}

/** A broker that writes as fast as it is read. */
class Flood {
  written = 0;
  readonly #block: Uint8Array;
  readonly #limit: number;

  constructor(packet: Uint8Array, limit: number) {
    const count = Math.ceil(65_536 / packet.length);
    this.#block = new Uint8Array(count * packet.length);
    for (let i = 0; i < count; i++) this.#block.set(packet, i * packet.length);
    this.#limit = limit;
  }

  readonly start: Action = ({ socket }: Peer): void => {
    while (this.written < this.#limit && !socket.destroyed) {
      this.written += this.#block.length;
      if (!socket.write(this.#block)) return void socket.once("drain", () => this.start({ socket } as Peer));
    }
  };
}

test("awaited publishes wait for a broker that does not read, and memory stays flat", () =>
  withClient([...accept, stall], { timeout: 2000 }, async (client) => {
    const payload = new Uint8Array(1000);
    let accepted = 0, ended = false;
    const before = process.memoryUsage().rss;
    const publish = async () => {
      for (; accepted < 1_000_000; accepted++) await client.publish("topic", payload);
    };
    const told = codeOf(publish()).finally(() => ended = true);
    const waiting = await settled(() => accepted);
    assert(!ended);
    assertLess(waiting * payload.length, kernel, "the rest waits");
    assertLess(process.memoryUsage().rss - before, flat);
    // What it keeps cannot be sent: disconnect gives up in time, and says so.
    const start = performance.now();
    assertEquals(await codeOf(client.disconnect()), "timeout");
    assertLess(performance.now() - start, 5000);
    assertEquals([await told, (await client.run()).code], ["disconnect", "disconnect"]);
  }));

test("publishes that are not awaited stop at maxBuffered: overflow, and exactly what was accepted arrives", () =>
  withClient([...accept, stall], { maxBuffered: 2 * MiB }, async (client, server) => {
    const texts: string[] = [], results: Promise<boolean>[] = [];
    let refused = 0;
    const refuse = (error: MqttError) => {
      assertEquals(error.code, "overflow");
      refused++;
      return false;
    };
    while (refused < 5 && texts.length < 64_000) {
      const text = `${texts.length}`.padStart(1000);
      texts.push(text);
      results.push(client.publish("t", text).then(() => true, refuse));
      if (texts.length % 1000 === 0) await turn();
    }
    assertGreater(refused, 0);
    const peer = await server.peer();
    resume(peer);
    // There is room again: it goes on, and what was refused is missing.
    const told = await within(Promise.all(results), "every promise");
    await within(client.publish("t", "room again"), "room");
    const accepted = texts.filter((_, i) => told[i]).map((text) => `\x30\xeb\x07\x00\x01t${text}`);
    const packets = `${accepted.join("")}\x30\x0d\x00\x01troom again`;
    await peer.wait(connected + packets.length);
    const sent = Uint8Array.from(packets, (char) => char.charCodeAt(0));
    assertBytes(peer.received().subarray(connected), sent);
  }));

test("a message that just fits into maxBuffered is sent, a larger one is refused", () =>
  withClient(accept, { maxBuffered: 100_000 }, async (client, server) => {
    assertEquals(await codeOf(client.publish("t", new Uint8Array(100_000 - 6))), "overflow");
    const payload = noise(100_000 - 7);
    await client.publish("t", payload);
    const peer = await server.peer();
    await peer.wait(connected + 100_000);
    assertBytes(peer.received().subarray(connected + 7), payload);
  }));

test("a full iterator is not read for: the broker's flood is held back, and goes on with it", async () => {
  const packet = message(1000);
  const flood = new Flood(packet, 64 * MiB);
  await withClient([...grant, flood.start], {}, async (client) => {
    const messages = client.messages("t", { limit: 10 });
    await within(messages.next(), "the first message");
    const before = process.memoryUsage().rss;
    const held = await settled(() => flood.written);
    assertLess(held, kernel, "the kernels are full, and we do not read");
    assertLess(process.memoryUsage().rss - before, flat);
    for (let left = Math.ceil(held / packet.length) + 1000; left > 0; left--) {
      const { value } = await within(messages.next(), `${left} more messages`);
      assertEquals(value?.payload.length, 1000);
    }
    assertGreater(flood.written, held, "the flood goes on");
  });
});

test("while an iterator is full pings are sent, and their verdict waits", async () => {
  const packet = message(1);
  const ping = 2;
  const script = [
    ...grant,
    send(Uint8Array.of(...packet, ...packet, ...packet)),
    wait(subscribed + 3 * ping),
    // The answers are behind the messages, where they cannot be seen.
    send(Uint8Array.of(0xd0, 0, 0xd0, 0, 0xd0, 0)),
  ];
  await withClient(script, { keepalive: 1 }, async (client, server) => {
    const messages = client.messages("t", { limit: 1 });
    const peer = await server.peer();
    await until(() => peer.received().length === subscribed + 3 * ping, "three pings");
    for (let i = 0; i < 3; i++) assertEquals((await within(messages.next(), "a message")).value?.topic, "t");
    await until(() => peer.received().length > subscribed + 3 * ping, "another ping: it is still connected");
  });
});

test("a flood while onpub is slow fills the kernels' buffers, not ours", async () => {
  const flood = new Flood(message(10_000), 64 * MiB);
  let received = 0;
  const onpub: OnPublish = (_, { payload }) => {
    received += payload.length;
    for (const end = performance.now() + 1; performance.now() < end;);
  };
  const before = process.memoryUsage().rss;
  await withClient([...accept, flood.start], { onpub }, async (client, { peers: [peer] }) => {
    await until(() => received > 4 * MiB, "4 MiB");
    assertLess(flood.written - received, kernel);
    assertLess(process.memoryUsage().rss - before, flat);
    const done = client.disconnect();
    peer?.socket.destroy();
    await done;
  });
});

test("a subscription that is never answered: timeout, and the connection goes on", () =>
  withClient(accept, { timeout: 1000 }, async (client, server) => {
    const start = performance.now();
    const requests = [
      client.subscribe("a"),
      client.unsubscribe("b"),
      client.subscribe("c", () => {}),
      client.messages("d").next(),
    ];
    assertEquals(await Promise.all(requests.map((request) => codeOf(request))), Array(4).fill("timeout"));
    assertLess(performance.now() - start, 4000);
    const peer = await server.peer();
    const before = peer.received().length;
    // An answer that comes too late is no mistake of the broker.
    peer.socket.write(Uint8Array.of(0x90, 3, 0, 1, 0, 0xb0, 2, 0, 2));
    await client.publish("t", "");
    await within(peer.wait(before + 5), "it goes on");
  }));
