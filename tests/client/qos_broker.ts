/**
 * A broker in a process of its own that acknowledges as it is told, for clients that block, too. It prints a line for each
 * packet of QoS 1 and 2; what it does is asked for by name, with topics and filters that begin so:
 *
 * - messages to `never/...` are not acknowledged until there is one to `$acknowledge`, nor are the PUBRELs of those to `half/...`;
 *   then they are, in the order in which they came
 * - messages to `reverse/N/...`: when N have come, they are acknowledged in reverse order, and so are the PUBRELs
 * - messages to `twice/...` are acknowledged twice, at each step
 * - messages to `wrong/...` are acknowledged first with what is for another QoS, and with identifiers that nobody uses
 * - messages to `late/...` are acknowledged a millisecond later; `$most` prints how many have waited for that at the most
 * - a message to `$drop/keep` or `$drop/forget`: it hangs up, and has, or has not, the session at the next CONNACK
 * - a message to `$give`: its payload is a list of PUBLISH packets that it sends: `topic payload qos packetId [dup]`, in lines
 * - a message to `$flood/COUNT`: so many messages of QoS 2 to `flood`, with all packet identifiers in turn; PUBREL never follows
 * - a message to `$later/MS`: the same, so many milliseconds later; it prints how long each acknowledgement has taken
 */
import { type AddressInfo, createServer, type Socket } from "node:net";
import process from "node:process";
import { encodeNaive, type NaivePacket, NaiveReader, type Publish } from "../support/naive.ts";

let connections = 0, sessionPresent = false, waiting = 0, most = 0;
const say = (text: string) => void process.stdout.write(`${text}\n`);

function serve(socket: Socket): void {
  const index = connections++, reader = new NaiveReader();
  /** The topics of QoS 2, and what waits to be acknowledged. */
  const topics = new Map<number, string>();
  let held: NaivePacket[] = [], given = 0, isFlooding = false;
  const reversed = new Map<string, NaivePacket[]>();
  const send = (...packets: NaivePacket[]) => packets.forEach((packet) => void socket.write(encodeNaive(packet)));
  socket.setNoDelay(true).on("error", () => {});

  /** Sends the answer to a PUBLISH or PUBREL as its topic wants. */
  function acknowledge(topic: string, answer: NaivePacket & { packetId: number }): void {
    const [how, count] = topic.split("/") as [string, string?];
    const { type, packetId } = answer;
    if (how === "never" && type !== "PUBCOMP" || how === "half" && type === "PUBCOMP") {
      held.push(answer);
    } else if (how === "reverse") {
      const key = `${count} ${type}`, all = [...reversed.get(key) ?? [], answer];
      reversed.set(key, all.length < Number(count) ? all : []);
      if (all.length === Number(count)) send(...all.reverse());
    } else if (how === "twice") {
      send(answer, answer);
    } else if (how === "wrong") {
      const wrong = type === "PUBACK" ? "PUBREC" : "PUBACK";
      send(
        { type: wrong, packetId },
        { type: "PUBACK", packetId: 65_000 },
        { type: "PUBCOMP", packetId: 65_001 },
        answer,
      );
    } else if (how === "late") {
      if (type !== "PUBCOMP") most = Math.max(most, ++waiting);
      setTimeout(() => {
        if (type !== "PUBREC") waiting--;
        send(answer);
      }, 1);
    } else {
      send(answer);
    }
  }

  function give(payload: Uint8Array): void {
    given = performance.now();
    for (const line of new TextDecoder().decode(payload).split("\n")) {
      const [topic = "", text = "", qos, packetId, dup] = line.split(" ");
      const message = { topic, payload: new TextEncoder().encode(text), qos: Number(qos), packetId: Number(packetId) };
      send({ type: "PUBLISH", ...message, retain: false, dup: dup === "dup" });
    }
  }

  function flood(count: number): void {
    isFlooding = true;
    const packet: Publish = {
      type: "PUBLISH",
      topic: "flood",
      payload: new Uint8Array(100),
      qos: 2,
      retain: false,
      dup: false,
      packetId: 0,
    };
    const bytes = encodeNaive(packet), at = bytes.length - 102;
    for (let i = 0; i < count; i++) {
      const packetId = i % 65_535 + 1;
      bytes[at] = packetId >> 8;
      bytes[at + 1] = packetId & 255;
      socket.write(bytes.slice());
    }
  }

  function order({ topic, payload }: Publish): void {
    const [name, value] = topic.split("/");
    if (name === "$acknowledge") send(...held.splice(0));
    if (name === "$flood") flood(Number(value));
    if (name === "$most") say(`most ${most}`);
    if (name === "$give") give(payload);
    if (name === "$later") setTimeout(() => give(payload), Number(value));
    if (name !== "$drop") return;
    sessionPresent = value === "keep";
    held = [];
    socket.end(() => socket.destroy());
  }

  socket.on("data", (chunk: Uint8Array) => {
    for (const packet of reader.push(chunk)) {
      if (packet.type === "CONNECT") send({ type: "CONNACK", sessionPresent, code: 0 });
      if (packet.type === "PINGREQ") send({ type: "PINGRESP" });
      if (packet.type === "UNSUBSCRIBE") send({ type: "UNSUBACK", packetId: packet.packetId });
      if (packet.type === "SUBSCRIBE") {
        send({ type: "SUBACK", packetId: packet.packetId, codes: packet.filters.map(({ qos }) => qos) });
      }
      if (packet.type === "PUBLISH") {
        const { topic, payload, qos, packetId, dup } = packet;
        if (topic.startsWith("$")) order(packet);
        if (qos === 0 || isFlooding) continue;
        say(
          `${index} PUBLISH ${packetId} ${topic} ${new TextDecoder().decode(payload.subarray(0, 20))} ${qos}${
            dup ? " dup" : ""
          }`,
        );
        if (qos === 2) topics.set(packetId, topic);
        acknowledge(topic, { type: qos === 1 ? "PUBACK" : "PUBREC", packetId });
      } else if (packet.type === "PUBREL") {
        const { packetId } = packet;
        say(`${index} PUBREL ${packetId}`);
        acknowledge(topics.get(packetId) ?? "", { type: "PUBCOMP", packetId });
      } else if (packet.type === "PUBACK" || packet.type === "PUBREC" || packet.type === "PUBCOMP") {
        const { type, packetId } = packet;
        if (isFlooding) continue;
        say(`${index} ${type} ${packetId}`);
        say(`# ${type} ${packetId} after ${Math.round(performance.now() - given)} ms`);
        if (type === "PUBREC") send({ type: "PUBREL", packetId });
      }
    }
  });
}

const server = createServer(serve);
server.listen(0, "127.0.0.1", () => say(`port ${(server.address() as AddressInfo).port}`));
