/** What a client with a durable session may send, by the packets at its end of the line: over its processes and connections. */
import { assert } from "@std/assert";
import type { Publish } from "../support/naive.ts";
import type { Passed } from "./line.ts";

/** The packets of each client, by its identifier. */
export function byClient(packets: readonly Passed[]): Map<string, Passed[]> {
  const clients = new Map<string, Passed[]>(), connections = new Map<number, Passed[]>();
  for (const passed of packets) {
    const { connection, packet } = passed;
    if (packet.type === "CONNECT") {
      const own = clients.get(packet.id) ?? [];
      clients.set(packet.id, own);
      connections.set(connection, own);
    }
    connections.get(connection)!.push(passed);
  }
  return clients;
}

/** How many messages may be under way, in all and of QoS 2. */
const MOST = 100;
export const MOST_QOS2 = 19;

/** What passed, in numbers. */
export interface Traffic {
  connections: number;
  /** Connections at which the broker had kept the session. */
  resumed: number;
  /** PUBLISH with DUP, and PUBREL of a message that was published on an earlier connection. */
  resent: number;
  released: number;
}

/** A message that the client has sent in the session that the broker has. */
interface Sent {
  topic: string;
  packetId: number;
  /** The connection on which PUBLISH was sent last. */
  connection: number;
  /** When PUBREC came for it, on a connection on which PUBLISH was sent; undefined when it has not. */
  received: number | undefined;
  isReleased: boolean;
}

/** One connection: the order of what is sent, and of what is acknowledged. */
class Order {
  /** The last number that was published, by all of the topic that is before it. */
  readonly last = new Map<string, number>();
  readonly released = new Set<string>();
  lastReleased = -1;
  readonly open = new Set<string>();
  openQoS2 = 0;
  /** Packet identifiers of what came, by QoS: acknowledged in this order. */
  readonly came: Record<number, number[]> = { 1: [], 2: [] };
}

/**
 * Follows the packets of one client, and fails at the first that must not be:
 *
 * - Messages go out in the order of publication, for each QoS, on each connection [MQTT-4.6.0-1].
 * - One that was sent before keeps its packet identifier and has DUP [MQTT-4.4.0-1]; after PUBREL it is never sent again.
 * - PUBRELs go out in the order of the PUBRECs [MQTT-4.6.0-4].
 * - No more are under way than the window lets out.
 * - PUBACK and PUBREC are sent in the order in which the messages came [MQTT-4.6.0-2], [MQTT-4.6.0-3].
 */
export class Packets {
  readonly traffic: Traffic = { connections: 0, resumed: 0, resent: 0, released: 0 };
  /** Topics of what the broker has acknowledged to the end. */
  readonly acknowledged: Set<string> = new Set();
  /** Of what came: how many times the broker has begun to send it, by topic; and of what is not released, the topic. */
  readonly deliveries: Map<string, number> = new Map();
  /** Topics of what the client has acknowledged with PUBREC, by how many of those deliveries. */
  readonly recorded: Map<string, number> = new Map();
  readonly #coming = new Map<number, string>();
  readonly #byTopic = new Map<string, Sent>();
  readonly #byId = new Map<number, Sent>();
  readonly #orders = new Map<number, Order>();
  #at = 0;

  /** Fails if something has passed that must not. */
  constructor(packets: readonly Passed[]) {
    for (const passed of packets) {
      this.#at++;
      if (passed.from === "client") this.#sent(passed);
      else this.#came(passed);
    }
  }

  #order(connection: number): Order {
    const order = this.#orders.get(connection) ?? new Order();
    this.#orders.set(connection, order);
    return order;
  }

  #sent({ connection, packet }: Passed): void {
    const order = this.#order(connection);
    if (packet.type === "PUBLISH") return this.#published(order, connection, packet);
    if (packet.type === "PUBREL") return this.#releases(order, connection, packet.packetId);
    if (packet.type === "PUBACK" || packet.type === "PUBREC") {
      const came = order.came[packet.type === "PUBACK" ? 1 : 2]!, at = came.indexOf(packet.packetId);
      assert(at >= 0, `${packet.type} ${packet.packetId} out of order, or of nothing that came`);
      came.splice(0, at + 1);
      const topic = this.#coming.get(packet.packetId);
      if (packet.type === "PUBREC" && topic !== undefined) this.recorded.set(topic, this.deliveries.get(topic)!);
    }
  }

  #published(order: Order, connection: number, { topic, qos, dup, packetId }: Publish): void {
    const end = topic.lastIndexOf("/") + 1, number = Number(topic.slice(end)), kind = `${qos} ${topic.slice(0, end)}`;
    const before = this.#byTopic.get(topic), last = order.last.get(kind) ?? -1;
    assert(Number.isNaN(number) || number > last, `${topic} was sent after number ${last} on connection ${connection}`);
    order.last.set(kind, number);
    if (before !== undefined) {
      assert(
        dup && packetId === before.packetId,
        `${topic} was sent again as new, with ${before.packetId}, ${packetId}`,
      );
      assert(!before.isReleased, `${topic} was sent again after PUBREL ${packetId}`);
      this.traffic.resent++;
    }
    // Its own end of the line may not have seen the first one: what is in a socket is lost with the process.
    const sent = { topic, packetId, connection, received: undefined, isReleased: false };
    const other = this.#byId.get(packetId);
    assert(
      other === undefined || other.topic === topic || this.acknowledged.has(other.topic),
      `${topic} has packet identifier ${packetId}, which ${other?.topic} has`,
    );
    this.#byTopic.set(topic, sent);
    this.#byId.set(packetId, sent);
    order.open.add(topic);
    if (qos === 2) order.openQoS2++;
    assert(order.open.size <= MOST && order.openQoS2 <= MOST_QOS2, `${order.open.size} messages are under way`);
  }

  #releases(order: Order, connection: number, packetId: number): void {
    const sent = this.#byId.get(packetId);
    // Of an identifier that it makes sure of, which an earlier message may have had: where the first process was killed
    // before its store knew of the session, the broker's is taken over.
    if (sent?.received === undefined || this.acknowledged.has(sent.topic)) return;
    sent.isReleased = true;
    if (order.released.has(sent.topic)) return; // for a PUBREC that was repeated
    order.released.add(sent.topic);
    if (sent.connection !== connection) this.traffic.released++;
    assert(sent.received > order.lastReleased, `PUBREL ${packetId} of ${sent.topic} is not in the order of PUBREC`);
    order.lastReleased = sent.received;
  }

  #came({ connection, packet }: Passed): void {
    const order = this.#order(connection);
    if (packet.type === "CONNACK") {
      this.traffic.connections++;
      if (packet.sessionPresent) return void this.traffic.resumed++;
      this.#byTopic.clear();
      this.#byId.clear();
      this.#coming.clear();
    } else if (packet.type === "PUBLISH") {
      if (packet.qos > 0) order.came[packet.qos]!.push(packet.packetId);
      if (packet.qos < 2 || this.#coming.get(packet.packetId) === packet.topic) return;
      this.#coming.set(packet.packetId, packet.topic);
      this.deliveries.set(packet.topic, (this.deliveries.get(packet.topic) ?? 0) + 1);
    } else if (packet.type === "PUBREL") {
      this.#coming.delete(packet.packetId);
    } else if (packet.type === "PUBREC") {
      const sent = this.#byId.get(packet.packetId);
      if (sent?.connection === connection && sent.received === undefined) sent.received = this.#at;
    } else if (packet.type === "PUBACK" || packet.type === "PUBCOMP") {
      const sent = this.#byId.get(packet.packetId);
      if (sent === undefined) return;
      this.acknowledged.add(sent.topic);
      if (order.open.delete(sent.topic) && packet.type === "PUBCOMP") order.openQoS2--;
    }
  }
}
