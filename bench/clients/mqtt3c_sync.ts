// title: mqtt3c, blocking
/** This client, `connectSync`: every call blocks; messages come while `run()` does. */
import { connectSync } from "../../mod.ts";
import { type Job, type Open, Skip, topicNames, WINDOW } from "../client.ts";
import { makeStore } from "../process.ts";

const op = { keepalive: 600, maxInflight: WINDOW };

// deno-lint-ignore require-await -- like the others
export const open: Open = async (url, onmessage, { version }) => {
  const mqtt = connectSync(url, onmessage, { ...op, version });
  return {
    subscribe: (filter) => mqtt.subscribe(filter),
    send: (topic, payload) => mqtt.publish(topic, payload),
    publish: (topic, payload) => Promise.resolve(mqtt.publish(topic, payload)),
    close: () => mqtt.disconnect(),
  };
};

// deno-lint-ignore require-await -- like the others
export const receive: Job = async ({ url, size, qos, version }, meter) => {
  let messages = 0, wrong = 0;
  const mqtt = connectSync(url, (topic, message) => {
    if (message.payload.length === size) {
      if (++messages === 1) meter.start();
    } else if (topic !== "end") wrong++;
    else {
      figures = { messages, wrong, ...meter.stop() };
      mqtt.disconnect();
    }
  }, { ...op, version });
  let figures = {};
  mqtt.subscribe("#", { qos });
  mqtt.run();
  return figures;
};

/** Lists of messages, each of them acknowledged before the next list. */
export const acknowledged: Job = async (params, meter) => {
  const { url, size, topics, seconds, qos, version } = params;
  const names = topicNames(topics), message = new Uint8Array(size).fill(120), store = await makeStore(params);
  const mqtt = connectSync(url, undefined, {
    ...{ ...op, version },
    ...store && { id: "bench", session: true, store },
  });
  let messages = 0;
  meter.start();
  for (const deadline = performance.now() + seconds * 1000; performance.now() < deadline;) {
    mqtt.publish(Array.from({ length: 4 * WINDOW }, () => ({ topic: names[messages++ % topics]!, message, qos })));
  }
  const figures = meter.stop();
  mqtt.disconnect();
  return { ...figures, messages };
};

// deno-lint-ignore require-await -- like the others
export const echo: Job = async ({ url, size, seconds }, meter) => {
  const topic = topicNames(1)[0]!, payload = new Uint8Array(size).fill(120), times: number[] = [];
  const mqtt = connectSync(url, undefined, op);
  mqtt.subscribe("#");
  meter.start();
  let wrong = 0;
  for (const deadline = performance.now() + seconds * 1000; performance.now() < deadline;) {
    const sent = performance.now();
    mqtt.publish(topic, payload);
    if (mqtt.receive()?.payload.length !== size) wrong++;
    times.push(performance.now() - sent);
  }
  const figures = meter.stop(), messages = times.length;
  const steady = times.slice(messages >> 2).sort((a, b) => a - b);
  const quantile = (q: number) => 1000 * steady[Math.floor(steady.length * q)]!;
  mqtt.disconnect();
  return { ...figures, messages, wrong, p50: quantile(.5), p99: quantile(.99) };
};

// deno-lint-ignore require-await -- like the others
export const start: Job = async ({ url }) => {
  const mqtt = connectSync(url, undefined, op);
  mqtt.subscribe("#");
  mqtt.receive();
  return {};
};

export const relay: Job = () => {
  throw new Skip("the job is written with promises");
};
export const idle: Job = () => {
  throw new Skip("each has a thread");
};
