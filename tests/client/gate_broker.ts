/**
 * A broker in a process of its own that may come late, and answers each CONNECT as it is told, for clients that block, too.
 * Its argument is a `Gate` as JSON. It prints a line for each packet that matters, acknowledges everything, and sends
 * nothing of its own but a message to `first`, together with a CONNACK that has the session present.
 */
import { type AddressInfo, createServer, type Socket } from "node:net";
import process from "node:process";
import { encodeNaive, type NaivePacket, NaiveReader } from "../support/naive.ts";

/** How it answers a CONNECT: with a return code; `"present"`: it accepts and has kept the session; `"soon"`: it accepts, and closes at once. */
export type Answer = number | "present" | "soon";

export interface Gate {
  /** Where it listens; 0 takes any port. */
  port: number;
  /** Milliseconds until it does. */
  after: number;
  /** One for each connection, the last one for all that follow. */
  answers: Answer[];
}

const { port, after, answers } = JSON.parse(process.argv[2]!) as Gate;
const utf8 = new TextDecoder();
const say = (text: string) => void process.stdout.write(`${text}\n`);
let connections = 0;

function serve(socket: Socket): void {
  const index = connections++, answer = answers[Math.min(index, answers.length - 1)]!, reader = new NaiveReader();
  const send = (...packets: NaivePacket[]) =>
    socket.write(Uint8Array.from(packets.flatMap((p) => [...encodeNaive(p)])));
  const hangUp = () => void socket.end(() => socket.destroy());

  function accept(): void {
    const sessionPresent = answer === "present";
    const connack: NaivePacket = { type: "CONNACK", sessionPresent, code: typeof answer === "number" ? answer : 0 };
    const payload = new TextEncoder().encode("kept");
    const first: NaivePacket = {
      type: "PUBLISH",
      topic: "first",
      payload,
      qos: 0,
      retain: false,
      dup: false,
      packetId: 0,
    };
    send(connack, ...sessionPresent ? [first] : []);
    if (answer === "soon" || connack.code !== 0) hangUp();
  }

  socket.setNoDelay(true).on("error", () => {});
  socket.on("data", (chunk: Uint8Array) => {
    for (const packet of reader.push(chunk)) {
      if (packet.type === "CONNECT") {
        const shown = [packet.uname, packet.passwd].map((bytes) => bytes === undefined ? "-" : utf8.decode(bytes));
        say(`${index} CONNECT ${shown.join(" ")}`);
        accept();
      } else if (packet.type === "SUBSCRIBE") {
        say(`${index} SUBSCRIBE ${packet.filters.map(({ topic, qos }) => `${topic} ${qos}`)}`);
        const codes = packet.filters.map(({ topic, qos }) => topic.startsWith("refused/") ? 128 : qos);
        send({ type: "SUBACK", packetId: packet.packetId, codes });
      } else if (packet.type === "UNSUBSCRIBE") {
        say(`${index} UNSUBSCRIBE ${packet.filters}`);
        send({ type: "UNSUBACK", packetId: packet.packetId });
      } else if (packet.type === "PINGREQ") {
        send({ type: "PINGRESP" });
      } else if (packet.type === "PUBLISH") {
        const { topic, payload, qos, packetId, dup } = packet;
        say(`${index} PUBLISH ${topic} ${utf8.decode(payload)} ${qos}${dup ? " dup" : ""}`);
        if (topic === "$drop") hangUp();
        else if (qos > 0 && !topic.startsWith("never/")) send({ type: qos === 1 ? "PUBACK" : "PUBREC", packetId });
      } else if (packet.type === "PUBREL") {
        send({ type: "PUBCOMP", packetId: packet.packetId });
      }
    }
  });
}

setTimeout(() => {
  const server = createServer(serve);
  server.listen(port, "127.0.0.1", () => say(`port ${(server.address() as AddressInfo).port}`));
}, after);
