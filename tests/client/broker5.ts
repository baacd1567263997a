/**
 * A broker of MQTT 5 in a process of its own that does as it is told, for clients that block, too. It prints a line for each
 * packet it gets: the connection, the type, and as JSON the rest. It is told by the client:
 *
 * - user properties of CONNECT, as JSON: `connack` and `connack1`, `connack2`: those of the first CONNACK, and of later ones:
 *   `{ code?, sessionPresent?, properties }`; `auth`: the AUTH packets that it sends before that, one after each of the client's
 * - a message to `$send`: its payload is JSON: a packet that it sends, or `{ hex }`, bytes
 * - a message to `$close`: it closes the connection
 * - PUBLISH, PUBREL, SUBSCRIBE and UNSUBSCRIBE are acknowledged, and so is PUBREC, unless the topic begins with `never`;
 *   messages to `code/N`, and subscriptions to it, with reason code N
 */
import { type AddressInfo, createServer, type Socket } from "node:net";
import process from "node:process";
import { encodeNaive5, NaiveConnection, type NaivePacket, NaiveReader } from "../support/naive.ts";
import type { NaiveProperty } from "../support/naive_properties.ts";

/** What CONNACK says. */
interface Answer {
  code?: number;
  sessionPresent?: boolean;
  properties?: NaiveProperty[];
}

/** The reason code that a topic stands for. */
const codeOf = (topic: string) => topic.startsWith("code/") ? Number(topic.slice(5)) : undefined;
const granted = ({ topic, qos }: { topic: string; qos: number }) => codeOf(topic) ?? qos;

let connections = 0;
const say = (text: string) => void process.stdout.write(`${text}\n`);
/** Bytes as text, in JSON. */
const plain = (_: string, value: unknown) => value instanceof Uint8Array ? new TextDecoder().decode(value) : value;

function serve(socket: Socket): void {
  const index = connections++, reader = new NaiveReader(new NaiveConnection(5, 65_535));
  let challenges: { code: number; data?: string }[] = [], answer: Answer = {}, method = "";
  const send = (packet: NaivePacket) => void socket.write(encodeNaive5(packet));
  socket.setNoDelay(true).on("error", () => {});

  function goOn(): void {
    const next = challenges.shift();
    if (next === undefined) {
      return send({ type: "CONNACK", sessionPresent: false, code: 0, properties: [], ...answer });
    }
    const properties: NaiveProperty[] = [[21, method]];
    if (next.data !== undefined) properties.push([22, new TextEncoder().encode(next.data)]);
    send({ type: "AUTH", code: next.code, properties });
  }

  function handle(packet: NaivePacket): void {
    const { type } = packet;
    if (type === "CONNECT") {
      const user = new Map(
        (packet.properties ?? []).flatMap(([id, value]) => id === 38 ? [value as [string, string]] : []),
      );
      method = packet.properties?.find(([id]) => id === 21)?.[1] as string ?? "";
      challenges = JSON.parse(user.get("auth") ?? "[]");
      answer = JSON.parse(user.get(`connack${index}`) ?? user.get("connack") ?? "{}");
      goOn();
    } else if (type === "AUTH") {
      // Again: it asks once, and agrees.
      if (packet.code === 25) challenges = [{ code: 24, data: "again?" }, { code: 0 }];
      goOn();
    } else if (type === "PINGREQ") {
      send({ type: "PINGRESP" });
    } else if (type === "SUBSCRIBE") {
      send({ type: "SUBACK", packetId: packet.packetId, codes: packet.filters.map(granted), properties: [] });
    } else if (type === "UNSUBSCRIBE") {
      send({ type: "UNSUBACK", packetId: packet.packetId, codes: packet.filters.map(() => 0), properties: [] });
    } else if (type === "PUBREL") {
      send({ type: "PUBCOMP", packetId: packet.packetId });
    } else if (type === "PUBREC" && (packet.code ?? 0) < 128) {
      send({ type: "PUBREL", packetId: packet.packetId });
    } else if (type === "PUBLISH") {
      const { topic, payload, qos, packetId } = packet, text = new TextDecoder().decode(payload);
      if (topic === "$close") return void socket.end(() => socket.destroy());
      if (topic === "$send") {
        const told = JSON.parse(text);
        if (told.hex !== undefined) {
          return void socket.write(Uint8Array.from(told.hex.split(" "), (byte: string) => parseInt(byte, 16)));
        }
        return send({ ...told, ...("payload" in told && { payload: new TextEncoder().encode(told.payload) }) });
      }
      if (qos === 0 || topic.startsWith("never")) return;
      send({ type: qos === 1 ? "PUBACK" : "PUBREC", packetId, code: codeOf(topic) ?? 0, properties: [] });
    }
  }

  socket.on("data", (chunk: Uint8Array) => {
    for (const packet of reader.push(chunk)) {
      const { type, ...others } = packet;
      say(`${index} ${type} ${JSON.stringify(others, plain)}`);
      handle(packet);
    }
  });
  socket.on("close", () => say(`${index} closed {}`));
}

const server = createServer(serve);
server.listen(0, "127.0.0.1", () => say(`port ${(server.address() as AddressInfo).port}`));
