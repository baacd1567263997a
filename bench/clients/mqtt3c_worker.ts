// title: mqtt3c, worker
/** This client, `connectWorker`: the loop in a thread of its own. */
import { connectWorker } from "../../mod.ts";
import { BURST, type Job, type Open, WINDOW } from "../client.ts";

export const open: Open = async (url, onmessage, { qos, version, store }) => {
  const op = { keepalive: 600, maxInflight: WINDOW, version, ...qos > 0 && { maxBuffered: BURST } };
  const mqtt = await connectWorker(url, onmessage, store ? { ...op, id: "bench", session: true, store } : op);
  return {
    subscribe: (filter) => mqtt.subscribe(filter, { qos }),
    send: (topic, payload) => void mqtt.publish(topic, payload),
    publish: (topic, payload) => qos === 0 ? mqtt.publish(topic, payload) : mqtt.publish(topic, payload, { qos }),
    close: () => mqtt.disconnect(),
  };
};

/** How late timers of the main thread ring, in milliseconds, while messages flood a module in the thread. */
export const free: Job = async ({ url, size }, meter) => {
  const channel = new BroadcastChannel("mqtt3c bench");
  const counted = new Promise<{ messages: number; bytes: number }>((resolve) => {
    channel.onmessage = ({ data }) => resolve(data);
  });
  const extension = import.meta.url.slice(import.meta.url.lastIndexOf("."));
  const mqtt = await connectWorker(url, new URL(`../onpub${extension}`, import.meta.url), { keepalive: 600 });
  meter.start();
  await mqtt.subscribe("#");
  const delays: number[] = [];
  let due = performance.now() + 1;
  const timer = setInterval(() => {
    const now = performance.now();
    delays.push(Math.max(now - due, 0));
    due = now + 1;
  }, 1);
  const { messages, bytes } = await counted;
  clearInterval(timer);
  channel.close();
  const figures = { messages, wrong: Number(bytes !== messages * size), ...meter.stop() };
  await mqtt.disconnect();
  delays.sort((a, b) => a - b);
  return { ...figures, p50: delays[delays.length >> 1]!, p99: delays[Math.floor(delays.length * .99)]! };
};
