// title: mqtt3c
// bundle: export { connect } from "../../mod.ts";
/** This client, `connect`. */
import { connect } from "../../mod.ts";
import { BURST, type Open, WINDOW } from "../client.ts";

export const open: Open = async (url, onmessage, { qos, version, store }) => {
  const op = { keepalive: 600, maxInflight: WINDOW, version, ...qos > 0 && { maxBuffered: BURST } };
  const mqtt = await connect(url, onmessage, store ? { ...op, id: "bench", session: true, store } : op);
  return {
    subscribe: (filter) => mqtt.subscribe(filter, { qos }),
    send: (topic, payload) => void mqtt.publish(topic, payload),
    publish: (topic, payload) => qos === 0 ? mqtt.publish(topic, payload) : mqtt.publish(topic, payload, { qos }),
    close: () => mqtt.disconnect(),
    route: (filter, onpub) => mqtt.subscribe(filter, { onpub }),
  };
};
