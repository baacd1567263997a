/**
 * A broker of few words in a process of its own, for clients that block, too. It prints a line for each packet that
 * matters, and what it does is asked for by name: filters and topics that begin with `$` are orders.
 *
 * - a SUBSCRIBE with more than eight filters, or with one that has `forbidden` in it: it hangs up
 * - `refused/...`: granted on the first connection, refused later
 * - `retained/large`, `retained/garbled`: a retained message over 1,000 bytes, or with a topic that is not UTF-8
 * - publishing to `$drop`: it hangs up; to `$away`: it hangs up and accepts nobody for the payload's milliseconds;
 *   to `$reply/CODE`: it hangs up, and the next CONNACK has that return code
 *
 * Other messages go to their subscribers, this connection, whatever its filters, once it has subscribed to anything.
 */
import { type AddressInfo, createServer, type Socket } from "node:net";
import process from "node:process";
import { encodeNaive, frame, type NaivePacket, NaiveReader } from "../support/naive.ts";

let connections = 0, code = 0, away = 0;
const say = (text: string) => void process.stdout.write(`${text}\n`);

function serve(socket: Socket): void {
  socket.on("error", () => {});
  if (performance.now() < away) return void socket.destroy();
  const reader = new NaiveReader();
  const index = connections++;
  let subscribed = 0;
  const send = (packet: NaivePacket) => socket.write(encodeNaive(packet));
  const hangUp = () => void socket.end(() => socket.destroy());
  const publish = (topic: string, payload: Uint8Array, retain = false) =>
    send({ type: "PUBLISH", topic, payload, qos: 0, retain, dup: false, packetId: 0 });

  socket.on("data", (chunk: Uint8Array) => {
    for (const packet of reader.push(chunk)) {
      if (packet.type === "CONNECT") {
        say(`${index} CONNECT`);
        send({ type: "CONNACK", sessionPresent: false, code });
        if (code !== 0) return hangUp();
      } else if (packet.type === "SUBSCRIBE") {
        const filters = packet.filters.map(({ topic }) => topic);
        say(`${index} SUBSCRIBE ${filters}`);
        if (filters.length > 8 || filters.some((filter) => filter.includes("forbidden"))) return hangUp();
        const codes = filters.map((filter) => filter.startsWith("refused/") && index > 0 ? 128 : 0);
        subscribed++;
        send({ type: "SUBACK", packetId: packet.packetId, codes });
        if (filters.includes("retained/large")) publish("retained/large", new Uint8Array(100_000), true);
        if (filters.includes("retained/garbled")) socket.write(frame(3, 1, [0, 1, 0xff], new Uint8Array(1)));
      } else if (packet.type === "UNSUBSCRIBE") {
        say(`${index} UNSUBSCRIBE ${packet.filters}`);
        send({ type: "UNSUBACK", packetId: packet.packetId });
      } else if (packet.type === "PINGREQ") {
        send({ type: "PINGRESP" });
      } else if (packet.type === "PUBLISH") {
        const [order, value] = packet.topic.split("/");
        if (order === "$away") away = performance.now() + Number(new TextDecoder().decode(packet.payload));
        if (order === "$reply") code = Number(value);
        if (order === "$drop" || order === "$away" || order === "$reply") return hangUp();
        if (subscribed > 0) publish(packet.topic, packet.payload);
      }
    }
  });
  if (code !== 0) socket.once("close", () => code = 0);
}

const server = createServer(serve);
server.listen(0, "127.0.0.1", () => say(`port ${(server.address() as AddressInfo).port}`));
