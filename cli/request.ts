/** `mqtt3c request`: asks, and prints the answer. */
import { open, place } from "./connection.ts";
import { CommandError, EXIT, unless } from "./errors.ts";
import { printer } from "./format.ts";
import { decode, payload, sourcesOf } from "./input.ts";
import type { Values } from "./options.ts";
import { Output } from "./output.ts";
import { disconnectProperties, publishProperties } from "./properties.ts";

/** Milliseconds for all of it, where `-W` says nothing else. */
const PATIENCE = 10_000;

/** Resolves to the exit status; the answer is on standard output. */
export async function request(values: Values, interrupted: Promise<number>): Promise<number> {
  const topic = values.argument ?? values.text("topic") ?? place(values).topic;
  if (topic === undefined) throw new CommandError("Where to? mqtt3c request TOPIC");
  if (sourcesOf(values).length > 1) throw new CommandError("What is asked? One of -m TEXT, -f FILE, -s and -n");
  const { expiry, properties } = publishProperties(values);
  if (expiry !== undefined || properties?.responseTopic !== undefined || properties?.correlation !== undefined) {
    throw new CommandError("A request chooses its response topic, correlation data and expiry itself");
  }
  const qos = values.qos("qos", 1), timeout = Math.max(Math.ceil(values.milliseconds("timeout") ?? PATIENCE), 1);
  const print = printer(values), out = new Output(1);
  const content = decode(await unless(interrupted, payload(values)), values);
  const began = performance.now();
  const mqtt = await open(values, interrupted, { timeout });
  const ended = mqtt.run().then((error) => Promise.reject(error));
  const ask = async () => {
    const left = Math.max(Math.ceil(timeout - (performance.now() - began)), 1);
    const line = print(await mqtt.request(topic, content, { qos, timeout: left, properties }));
    if (line === undefined) return EXIT.other;
    for (const part of line) out.add(part);
    await out.flush();
    return EXIT.done;
  };
  let timer: ReturnType<typeof setTimeout> | undefined;
  // While there is no connection, a request waits for one.
  const late = new Promise<number>((resolve) => timer = setTimeout(resolve, timeout + 100, EXIT.timeout));
  const closed = out.failed.then((error) => error.code === "EPIPE" ? EXIT.done : Promise.reject(error));
  try {
    return await Promise.race([ask(), interrupted, late, ended, closed]);
  } finally {
    clearTimeout(timer);
    // What could not be sent is told already: by the status, or the error.
    await mqtt.disconnect(disconnectProperties(values)).catch(() => {});
  }
}
