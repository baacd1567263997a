// title: u8-mqtt
// bundle: export { mqtt_v4 } from "u8-mqtt/node";
/**
 * u8-mqtt 0.6, on a socket of node:net: its own for Deno needs an API of Deno 1;
 * and by `_send`, as `post` throws for every message of QoS 0.
 */
import { once } from "node:events";
import { connect } from "node:net";
import { connect as connectTls } from "node:tls";
import type { Open } from "../client.ts";

const name: string = "u8-mqtt/node";
const { mqtt_v4 } = await import(name);

interface Packet {
  topic: string;
  payload: Uint8Array;
}

export const open: Open = async (url, onmessage) => {
  const { protocol, hostname: host, port } = new URL(url);
  const to = { host, port: Number(port), noDelay: true };
  const socket = protocol === "mqtts:" ? connectTls({ ...to, rejectUnauthorized: false }) : connect(to);
  const client = mqtt_v4({ log_conn() {}, on_disconnect() {} });
  client.with_stream(socket);
  await client.connect({ keep_alive: 600 });
  return {
    subscribe: (filter) => client.subscribe_topic(filter, (packet: Packet) => onmessage(packet.topic, packet)),
    send: (topic, payload) => client._send("publish", { topic, payload }),
    // Its promise does not wait for the socket.
    async publish(topic, payload) {
      await client._send("publish", { topic, payload });
      if (socket.writableNeedDrain) await once(socket, "drain");
    },
    async close() {
      await client.disconnect();
      socket.end();
      if (!socket.closed) await once(socket, "close");
    },
  };
};
