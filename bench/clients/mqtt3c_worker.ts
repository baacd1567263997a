// title: mqtt3c, worker
/** This client, `connectWorker`: the loop in a thread of its own. */
import * as mod from "../../mod.ts";
import { type Open, Skip } from "../client.ts";

export const open: Open = async (url, onmessage) => {
  const { connectWorker } = mod as unknown as {
    connectWorker?: typeof mod.connect;
  };
  if (!connectWorker) throw new Skip("there is no connectWorker");
  const mqtt = await connectWorker(url, onmessage, { keepalive: 600 });
  return {
    subscribe: (filter) => mqtt.subscribe(filter),
    send: (topic, payload) => void mqtt.publish(topic, payload),
    publish: (topic, payload) => mqtt.publish(topic, payload),
    close: () => mqtt.disconnect(),
  };
};
