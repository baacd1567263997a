// title: mqtt3c
// bundle: export { connect } from "../../mod.ts";
/** This client, `connect`. */
import { connect } from "../../mod.ts";
import type { Open } from "../client.ts";

export const open: Open = async (url, onmessage) => {
  const mqtt = await connect(url, onmessage, { keepalive: 600 });
  return {
    subscribe: (filter) => mqtt.subscribe(filter),
    send: (topic, payload) => void mqtt.publish(topic, payload),
    publish: (topic, payload) => mqtt.publish(topic, payload),
    close: () => mqtt.disconnect(),
    route: (filter, onpub) => mqtt.subscribe(filter, { onpub }),
  };
};
