/**
 * A broker of MQTT 3.1.1 in a process of its own, which closes the connection on a CONNECT of another version without a
 * word; `silent`: half a second later, and on one of its own it says nothing. It prints what it gets.
 */
import { type AddressInfo, createServer, type Socket } from "node:net";
import process from "node:process";
import { encodeNaive, type NaivePacket, NaiveReader } from "../support/naive.ts";

const isSilent = process.argv.includes("silent");
let connections = 0;
const say = (text: string) => void process.stdout.write(`${text}\n`);

function serve(socket: Socket): void {
  const index = connections++, reader = new NaiveReader();
  let version = 0;
  const send = (packet: NaivePacket) => void socket.write(encodeNaive(packet));
  socket.setNoDelay(true).on("error", () => {});
  socket.on("data", (chunk: Uint8Array) => {
    if (version === 0) {
      version = chunk[8] ?? 0; // of one that begins with its fixed header of two bytes, and "MQTT"
      say(`${index} CONNECT ${version}`);
    }
    if (version !== 4) return void setTimeout(() => socket.end(() => socket.destroy()), isSilent ? 500 : 0);
    if (isSilent) return;
    for (const packet of reader.push(chunk)) {
      if (packet.type === "CONNECT") send({ type: "CONNACK", sessionPresent: false, code: 0 });
      if (packet.type === "PINGREQ") send({ type: "PINGRESP" });
      if (packet.type === "SUBSCRIBE") {
        send({ type: "SUBACK", packetId: packet.packetId, codes: packet.filters.map(({ qos }) => qos) });
      }
      if (packet.type !== "PUBLISH") continue;
      say(`${index} PUBLISH ${packet.topic} ${new TextDecoder().decode(packet.payload)}`);
      if (packet.qos > 0) send({ type: "PUBACK", packetId: packet.packetId });
    }
  });
}

const server = createServer(serve);
server.listen(0, "127.0.0.1", () => say(`port ${(server.address() as AddressInfo).port}`));
