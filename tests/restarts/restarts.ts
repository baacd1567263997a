/**
 * A broker that is killed, or stopped, and started again while one client publishes and another one subscribes: all that
 * was published is looked at, message by message.
 *
 * A broker that is killed may lose what it has acknowledged, or bring it twice: so what the clients did is checked against
 * the packets that they have sent and received. What a broker that is stopped in order has promised is checked from end to
 * end.
 */
import { assert, assertEquals } from "@std/assert";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { type Client, connect, type ConnectOptions, connectWorker, type QoS, type TraceRecord } from "../../mod.ts";
import { within } from "../client/support.ts";
import type { Random } from "../support/random.ts";
import { type ServerProcess, startMosquitto } from "../support/servers.ts";

const extension = import.meta.url.slice(import.meta.url.lastIndexOf("."));
const module = new URL(`../worker/modules/idle${extension}`, import.meta.url);
const sleep = (milliseconds: number) => new Promise((resolve) => setTimeout(resolve, milliseconds));

/** So many messages are published and not settled, at the most. */
const MOST_PENDING = 200;
/** Milliseconds without a message after which a broker that may have lost some has brought the rest. */
const QUIET = 1500;
/** The same of one that must not have lost any. */
const LONG_QUIET = 10_000;

type Open = (address: string, op: ConnectOptions) => Promise<Client>;
const opens: Open[] = [
  (address, op) => connect(address, undefined, op),
  (address, op) => connectWorker(address, undefined, op),
  (address, op) => connectWorker(address, module, op),
];

/** How it went: numbers of messages. */
export interface Figures {
  qos: QoS;
  restarts: number;
  published: number;
  /** Their promises were resolved; rejected with "sessionlost": those may have arrived or not. */
  acknowledged: number;
  uncertain: number;
  /** Different ones that the handler got; how many more times; and of those, how many times the broker has sent PUBLISH again after PUBREL. */
  received: number;
  repeated: number;
  afterPubrel: number;
  /** Acknowledged, and never received. */
  lost: number;
  /** Received before one that was published, and came, earlier. */
  disordered: number;
}

export interface Options {
  qos: QoS;
  restarts: number;
  signal: "SIGKILL" | "SIGTERM";
  random: Random;
}

/** What a broker keeps to over the disturbances: none is lost, none overtakes another one, QoS 2 comes once. */
export interface Promises {
  all?: boolean;
  order?: boolean;
  once?: boolean;
}

/** A PUBLISH that came; `mayJoin`: it has come before and may still be in hand, which is enough. */
interface Arrival extends TraceRecord {
  readonly mayJoin: boolean;
}

/** One of the two clients: its packets, and the sessions that its broker has forgotten. */
class Side {
  readonly packets: (TraceRecord | "forgotten")[] = [];

  static async open(id: string, address: string, random: Random): Promise<{ side: Side; mqtt: Client }> {
    const side = new Side();
    const open = opens[random.int(0, opens.length - 1)]!;
    const mqtt = await open(address, {
      id,
      session: true,
      keepalive: 5,
      reconnect: { minDelay: 10, maxDelay: 100 },
      trace: (record) => void side.packets.push(record),
      onstatus: (status) => {
        if (status.type === "connected" && !status.sessionPresent) side.packets.push("forgotten");
      },
    });
    return { side, mqtt };
  }

  /** What a handler is to get of the packets that have come: at QoS 2 once until PUBREL [MQTT-4.3.3-2]. */
  get deliveries(): Arrival[] {
    const deliveries: Arrival[] = [], recorded = new Set<number>();
    /** What was not acknowledged on the connection on which it came, by topic and packet identifier: aedes may use two for one. */
    const inHand = new Map<string, number>();
    const keyOf = ({ packetId, topic }: TraceRecord) => `${packetId} ${topic}`;
    for (const packet of this.packets) {
      if (packet === "forgotten") recorded.clear();
      else if (packet.direction === "sent") {
        if (packet.type === "DISCONNECT") break; // what comes later is nobody's
        if (packet.type !== "PUBACK") continue;
        for (const [key, packetId] of inHand) if (packetId === packet.packetId) inHand.delete(key);
      } else if (packet.type === "PUBREL") recorded.delete(packet.packetId!);
      else if (packet.type === "PUBLISH") {
        if (packet.qos === 2 && recorded.has(packet.packetId!)) continue;
        if (packet.qos === 2) recorded.add(packet.packetId!);
        deliveries.push({ ...packet, mayJoin: packet.dup === true && inHand.has(keyOf(packet)) });
        if (packet.qos === 1) inHand.set(keyOf(packet), packet.packetId!);
      }
    }
    return deliveries;
  }

  /** The last packets, for people to read; of a message, those with its topic or its identifier. */
  show(number?: number): string {
    const topic = `load/${number}`;
    const ids = new Set(
      this.packets.map((packet) => packet !== "forgotten" && packet.topic === topic && packet.packetId),
    );
    const shown = this.packets.filter((packet) =>
      number === undefined || packet === "forgotten" || packet.type === "CONNACK" || ids.has(packet.packetId ?? false)
    );
    return shown.slice(-40).map((packet) => {
      if (packet === "forgotten") return "  no session present";
      const { time, direction, type, packetId = "", topic = "", dup = false } = packet;
      return `  ${time.toFixed(0)} ${direction} ${type} ${packetId} ${topic}${dup ? " dup" : ""}`;
    }).join("\n");
  }

  /** The topics of the messages that the broker has acknowledged. */
  get acknowledged(): string[] {
    const topics: string[] = [], sent = new Map<number, string>();
    for (const packet of this.packets) {
      if (packet === "forgotten") continue;
      if (packet.direction === "sent" && packet.type === "PUBLISH") sent.set(packet.packetId!, packet.topic!);
      const isLast = packet.direction === "received" && (packet.type === "PUBACK" || packet.type === "PUBCOMP");
      if (!isLast || !sent.has(packet.packetId!)) continue;
      topics.push(sent.get(packet.packetId!)!);
      sent.delete(packet.packetId!);
    }
    return topics;
  }
}

/** Publishes numbers as long as it is on. */
class Publishing {
  readonly acknowledged = new Set<number>();
  readonly failures = new Map<number, unknown>();
  readonly #mqtt: Client;
  readonly #qos: QoS;
  readonly #random: Random;
  readonly #done: Promise<void>;
  count = 0;
  #pending = 0;
  #on = true;

  constructor(mqtt: Client, qos: QoS, random: Random) {
    this.#mqtt = mqtt;
    this.#qos = qos;
    this.#random = random;
    this.#done = this.#run();
  }

  async #run(): Promise<void> {
    for (; this.#on; await sleep(1)) {
      for (let i = this.#random.int(1, 10); i > 0 && this.#pending < MOST_PENDING; i--) this.#publish(this.count++);
    }
    while (this.#pending > 0) await sleep(5);
  }

  #publish(number: number): void {
    this.#pending++;
    // A topic for each, and no payload: the trace has all of it.
    this.#mqtt.publish(`load/${number}`, "", { qos: this.#qos }).then(
      () => this.acknowledged.add(number),
      (error) => this.failures.set(number, (error as { code?: unknown }).code),
    ).finally(() => this.#pending--);
  }

  /** Publishes no more, and waits until all is settled. */
  stop(): Promise<void> {
    this.#on = false;
    return within(this.#done, "all publishes are settled", 60_000);
  }
}

/** Restarts mosquitto under load. */
export async function restart({ qos, restarts, signal, random }: Options): Promise<Figures> {
  const data = mkdtempSync(join(tmpdir(), "mqtt3c-restarts-"));
  let broker: ServerProcess | undefined;
  // It writes all it has when it ends in order; each change, as it comes, makes it slow. Killed, mosquitto 2.0.11 has
  // messages again that it had acknowledged: they use up its window, and it closes the connection at each PUBLISH beyond.
  const changes = signal === "SIGTERM"
    ? []
    : ["autosave_interval 1", "autosave_on_changes true", "max_inflight_messages 0"];
  const config = ["log_type none", "max_queued_messages 0", ...changes].join("\n");
  const start = async (port?: number) => broker = await startMosquitto({ data, config, ...port && { port } });
  try {
    const { port } = await start();
    return await load(
      { qos, restarts, keeps: signal === "SIGTERM" ? { all: true, order: true, once: true } : {}, random },
      `mqtt://127.0.0.1:${port}`,
      async () => {
        broker!.kill(signal);
        if (signal === "SIGTERM") {
          await within(broker!.exited, "the end of mosquitto");
        }
        await broker!.stop();
        await sleep(random.int(0, 100));
        await start(port);
      },
    );
  } finally {
    await broker?.stop();
    rmSync(data, { recursive: true, force: true });
  }
}

/** Has so many disturbances done to the broker at an address while there is load; looks at the messages afterwards. */
export async function load(
  { qos, restarts, keeps, random }: { qos: QoS; restarts: number; keeps: Promises; random: Random },
  address: string,
  disturb: () => Promise<unknown>,
): Promise<Figures> {
  const received: number[] = [];
  const subscriber = await Side.open("subscriber", address, random),
    publisher = await Side.open("publisher", address, random);
  let publishing: Publishing | undefined;
  try {
    const onpub = (topic: string) => void received.push(Number(topic.slice("load/".length)));
    await subscriber.mqtt.subscribe("load/+", { qos, onpub });
    await publisher.mqtt.subscribe("publisher", { qos }); // to some brokers there is no session without a subscription
    publishing = new Publishing(publisher.mqtt, qos, random);
    for (let i = 0; i < restarts; i++) {
      const before = received.length;
      await until(() => received.length > before + 100, `messages before restart ${i + 1}`);
      await sleep(random.int(0, 50));
      await disturb();
    }
    const before = received.length;
    await until(() => received.length > before + 100, "messages after the last restart");
    await publishing.stop();
    await arrived(received, publishing.acknowledged, keeps.all && qos > 0 ? LONG_QUIET : QUIET);
    await emptied(subscriber.mqtt);
    await Promise.all([publisher.mqtt.disconnect(), subscriber.mqtt.disconnect()]);
    return judge({ qos, restarts, keeps }, received, publishing, publisher.side, subscriber.side);
  } catch (error) {
    const sides = Object.entries({ publisher, subscriber }).map(([name, { side, mqtt }]) =>
      `${name}: ${JSON.stringify([mqtt.status, mqtt.stats])}\n${side.show()}`
    );
    throw new Error(`${(error as Error).message}\n${sides.join("\n")}`, { cause: error });
  } finally {
    await Promise.allSettled([publisher.mqtt.disconnect(), subscriber.mqtt.disconnect()]);
    await publishing?.stop();
  }
}

async function until(holds: () => boolean, what: string): Promise<void> {
  const waiting = (async () => {
    while (!holds()) await sleep(5);
  })();
  await within(waiting, what, 60_000);
}

/** Waits until all have come, or nothing has for so many milliseconds. */
async function arrived(received: readonly number[], wanted: ReadonlySet<number>, quiet: number): Promise<void> {
  const missing = new Set(wanted);
  for (let at = 0, last = performance.now(); missing.size > 0 && performance.now() - last < quiet; await sleep(50)) {
    if (at < received.length) last = performance.now();
    for (; at < received.length; at++) missing.delete(received[at]!);
  }
  await sleep(200); // what comes twice comes now
}

/** Waits until the broker has no more: what comes twice does so behind the rest. */
async function emptied(mqtt: Client): Promise<void> {
  for (let before = -1; mqtt.stats.received > before;) {
    before = mqtt.stats.received;
    await mqtt.flush();
  }
}

function judge(
  { qos, restarts, keeps }: { qos: QoS; restarts: number; keeps: Promises },
  received: readonly number[],
  { count, acknowledged, failures }: Publishing,
  publisher: Side,
  subscriber: Side,
): Figures {
  const distinct = new Set(received);
  let highest = -1, disordered = 0;
  const seen = new Set<number>();
  for (const number of received) {
    if (!seen.has(number) && number < highest) disordered++;
    seen.add(number);
    highest = Math.max(highest, number);
  }
  const deliveries = subscriber.deliveries;
  const figures: Figures = {
    qos,
    restarts,
    published: count,
    acknowledged: acknowledged.size,
    uncertain: failures.size,
    received: distinct.size,
    repeated: received.length - distinct.size,
    afterPubrel: qos === 2 ? countSentAfterPubrel(deliveries) : 0,
    lost: [...acknowledged].filter((number) => !distinct.has(number)).length,
    disordered,
  };
  const text = JSON.stringify(figures);
  assertEquals(acknowledged.size + failures.size, count, text);
  assert([...failures.values()].every((code) => code === "sessionlost"), `${text} ${new Set(failures.values())}`);
  assert(distinct.size === [...distinct].filter((number) => number < count).length, text);
  // What the handler got is what has come, and what was resolved is what the broker has acknowledged.
  let next = 0;
  const delivered = deliveries.flatMap(({ topic, mayJoin }) => {
    const number = Number(topic!.slice("load/".length));
    if (mayJoin && received[next] !== number) return [];
    next++;
    return number;
  });
  assertEquals(received, delivered, `delivered otherwise than it came: ${text}`);
  if (qos > 0) {
    const known = new Set(publisher.acknowledged.map((topic) => Number(topic.slice("load/".length))));
    assert([...acknowledged].every((number) => known.has(number)), `resolved without an acknowledgement: ${text}`);
  }
  const lost = [...acknowledged].find((number) => !distinct.has(number));
  const history = () => `${lost}:\npublisher:\n${publisher.show(lost)}\nsubscriber:\n${subscriber.show(lost)}`;
  if (keeps.all && qos > 0 && lost !== undefined) throw new Error(`lost: ${text}, such as ${history()}`);
  if (keeps.all && qos > 0) assertEquals(figures.uncertain, 0, text);
  if (keeps.order) assertEquals(figures.disordered, 0, text);
  if (qos === 0) assertEquals(figures.repeated, 0, text);
  // mosquitto 2.0.11 forgets in order, too, that it has sent PUBREL: by then the identifier is free again (section 4.3.3).
  if (keeps.once && qos === 2) assertEquals(figures.repeated, figures.afterPubrel, text);
  return figures;
}

/** How many deliveries are of a message that has come before with the same identifier: only PUBREL was between. */
function countSentAfterPubrel(deliveries: readonly Arrival[]): number {
  const before = new Map<string, number>();
  return deliveries.filter(({ topic, packetId, dup }) => {
    const isAgain = dup && before.get(topic!) === packetId;
    before.set(topic!, packetId!);
    return isAgain;
  }).length;
}

/** The figures, in words. */
export function describe({ qos, restarts, ...figures }: Figures): string {
  const words = Object.entries(figures).map(([what, count]) => `${count} ${what}`);
  return `QoS ${qos}, ${restarts} restarts: ${words.join(", ")}`;
}
