// title: MQTT.js
// bundle: export { connectAsync } from "mqtt";
/** MQTT.js. */
import type { Open } from "../client.ts";

const name: string = "mqtt";
// deno-lint-ignore no-explicit-any
const mqtt: any = (globalThis as any).mqtt ?? await import(name); // a page has loaded it

export const open: Open = async (url, onmessage, { qos, version }) => {
  const connect = mqtt.connectAsync ?? mqtt.default.connectAsync;
  const client = await connect(url, {
    keepalive: 600,
    protocolVersion: version,
    reconnectPeriod: 0,
    rejectUnauthorized: false,
  });
  client.on(
    "message",
    (topic: string, _payload: Uint8Array, packet: { payload: Uint8Array }) => onmessage(topic, packet),
  );
  return {
    subscribe: (filter) => client.subscribeAsync(filter, { qos }),
    send: (topic, payload) => client.publish(topic, payload),
    publish: (topic, payload) => client.publishAsync(topic, payload, { qos }),
    close: () => client.endAsync(),
  };
};
