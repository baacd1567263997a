/** The jobs, the same for every client; each checks the number and the length of what it got. They run in a page, too. */
import { type Job, type Message, type Params, Skip, TOPIC_LENGTH, topicNames, WINDOW } from "./client.ts";

export const nothing = (): void => {};

/** Resolves in the next turn of the event loop; a page has no setImmediate(). */
function tick(): Promise<void> {
  const { setImmediate } = globalThis as { setImmediate?: (resolve: () => void) => void };
  return new Promise((resolve) => {
    if (setImmediate) return setImmediate(resolve);
    const { port1, port2 } = new MessageChannel();
    port1.onmessage = () => {
      port1.close();
      resolve();
    };
    port2.postMessage(0);
  });
}

/** Everything the peer floods us with, up to its last message, on topic "end". */
const receive: Job = async ({ url, size, read }, meter, open) => {
  let messages = 0;
  let wrong = 0;
  const { ended, end } = signal();
  function check(topic: string, message: Message) {
    if (message.payload.length === size) {
      if (++messages === 1) meter.start();
    } else if (topic === "end") end();
    else wrong++;
  }
  function count(topic: string) {
    if (topic.length !== TOPIC_LENGTH) end();
    else if (++messages === 1) meter.start();
  }
  const connection = await open(url, read ? check : count);
  await connection.subscribe("#");
  await ended;
  const figures = { messages, wrong, ...meter.stop() };
  await connection.close();
  return figures;
};

/** `receive`, with `count` subscriptions that have a handler of their own. */
const routed: Job = async ({ url, size, count }, meter, open) => {
  let messages = 0;
  let wrong = 0;
  const { ended, end } = signal();
  function onmessage(_topic: string, message: Message) {
    if (message.payload.length !== size) wrong++;
    else if (++messages === 1) meter.start();
  }
  const connection = await open(url, (topic, message) => {
    if (topic === "end") end();
    else onmessage(topic, message);
  });
  if (!connection.route) throw new Skip("no handlers of subscriptions");
  for (const name of topicNames(count)) await connection.route(name, onmessage);
  await connection.subscribe("#");
  await ended;
  const figures = { messages, wrong, ...meter.stop() };
  await connection.close();
  return figures;
};

/** What is published: the topics, in turn, and the payload. */
function contentOf({ topics, size }: Params): { topics: string[]; payload: Uint8Array } {
  return { topics: topicNames(topics), payload: new Uint8Array(size).fill(120) };
}

/** Many messages within a tick, as much backpressure as the client has. */
const publish: Job = async (params, meter, open) => {
  const connection = await open(params.url, nothing);
  const { topics, payload } = contentOf(params);
  let messages = 0;
  let at = 0;
  meter.start();
  const deadline = performance.now() + params.seconds * 1000;
  do {
    for (let i = 1; i < params.batch; i++) {
      connection.send(topics[at]!, payload);
      if (++at === topics.length) at = 0;
    }
    await connection.publish(topics[at]!, payload);
    messages += params.batch;
    await tick();
  } while (performance.now() < deadline);
  const { seconds } = meter.stop();
  await connection.close();
  return { ...meter.stop(), messages, seconds };
};

/** Each message awaited before the next. */
const awaited: Job = async (params, meter, open) => {
  const connection = await open(params.url, nothing);
  const { topics, payload } = contentOf(params);
  let messages = 0;
  let at = 0;
  meter.start();
  const deadline = performance.now() + params.seconds * 1000;
  do {
    await connection.publish(topics[at]!, payload);
    if (++at === topics.length) at = 0;
  } while (++messages % 64 || performance.now() < deadline);
  const { seconds } = meter.stop();
  await connection.close();
  return { ...meter.stop(), messages, seconds };
};

/** WINDOW messages on their way at a time: each is followed by another one when it is acknowledged. */
const acknowledged: Job = async (params, meter, open) => {
  const connection = await open(params.url, nothing);
  const { topics, payload } = contentOf(params);
  const { ended, end } = signal();
  let sent = 0, messages = 0, isOver = false;
  const next = () => void connection.publish(topics[sent++ % topics.length]!, payload).then(settled);
  function settled() {
    if (++messages % 64 === 0) isOver = performance.now() > deadline;
    if (!isOver) next();
    else if (messages === sent) end();
  }
  meter.start();
  const deadline = performance.now() + params.seconds * 1000;
  for (let i = 0; i < WINDOW; i++) next();
  await ended;
  const figures = { messages, ...meter.stop() };
  await connection.close();
  return figures;
};

/** Many at once, none awaited before the others are asked for: the client keeps what is not acknowledged. */
const burst: Job = async (params, meter, open) => {
  const connection = await open(params.url, nothing);
  const { topics, payload } = contentOf(params);
  const { ended, end } = signal();
  let messages = 0;
  function settled() {
    if (++messages === params.messages) end();
  }
  meter.start();
  for (let i = 0; i < params.messages; i++) {
    void connection.publish(topics[i % topics.length]!, payload).then(settled);
  }
  await ended;
  const figures = { messages, ...meter.stop() };
  await connection.close();
  return figures;
};

/** One message at a time, there and back: microseconds, after a warm-up. */
const echo: Job = async (params, meter, open) => {
  const topic = topicNames(1)[0]!;
  const payload = new Uint8Array(params.size).fill(120);
  const times: number[] = [];
  const { ended, end } = signal();
  let wrong = 0;
  let sent = 0;
  let deadline = 0;
  const connection = await open(params.url, (_topic, message) => {
    const now = performance.now();
    times.push(now - sent);
    if (message.payload.length !== payload.length) wrong++;
    if (now > deadline) return end();
    sent = performance.now();
    connection.send(topic, payload);
  });
  await connection.subscribe("#");
  meter.start();
  sent = performance.now();
  deadline = sent + params.seconds * 1000;
  connection.send(topic, payload);
  await ended;
  const figures = meter.stop();
  const messages = times.length;
  const steady = times.slice(messages >> 2).sort((a, b) => a - b);
  const quantile = (q: number) => 1000 * steady[Math.floor(steady.length * q)]!;
  await connection.close();
  return { ...figures, messages, wrong, p50: quantile(.5), p99: quantile(.99) };
};

/** Through a broker and back, `batch` messages on their way at a time. */
const relay: Job = async (params, meter, open) => {
  const { topics, payload } = contentOf(params);
  const { ended, end } = signal();
  let sent = 0;
  let messages = 0;
  let wrong = 0;
  let deadline = Infinity;
  function refill() {
    if (performance.now() > deadline) {
      if (messages === sent) end();
      return;
    }
    while (sent - messages < params.batch) {
      connection.send(topics[sent++ % topics.length]!, payload);
    }
  }
  const connection = await open(params.url, (_topic, message) => {
    if (message.payload.length !== params.size) wrong++;
    messages++;
    if (sent - messages <= params.batch / 2) refill();
  });
  await connection.subscribe("#");
  meter.start();
  deadline = performance.now() + params.seconds * 1000;
  refill();
  await ended;
  const figures = { messages, wrong, ...meter.stop() };
  await connection.close();
  return figures;
};

/** From the call to the open connection, in a process that has done it before: milliseconds. */
const opening: Job = async ({ url, count }, _meter, open) => {
  const times: number[] = [];
  for (let i = 0; i < count; i++) {
    const start = performance.now();
    const connection = await open(url, nothing);
    times.push(performance.now() - start);
    await connection.close();
  }
  times.sort((a, b) => a - b);
  return { messages: count, p50: times[count >> 1]!, p99: times[Math.floor(count * .99)]! };
};

/** Says when the first message is there: whoever started us holds the clock. */
const start: Job = async ({ url }, _meter, open) => {
  const { ended, end } = signal();
  const connection = await open(url, end);
  await connection.subscribe("#");
  await ended;
  return {};
};

/** A promise, and the function that settles it. */
export function signal(): { ended: Promise<void>; end: () => void } {
  let end = nothing;
  const ended = new Promise<void>((resolve) => end = resolve);
  return { ended, end };
}

export const jobs: Record<string, Job> = {
  ...{ receive, routed, publish, awaited, acknowledged, burst, echo, relay, opening, start },
};
