/** `mqtt3c sub`: prints messages; each is acknowledged when it is written. */
import type { OnPublish } from "../mod.ts";
import { open, place } from "./connection.ts";
import { CommandError, EXIT, statusOf } from "./errors.ts";
import { printer } from "./format.ts";
import type { Values } from "./options.ts";
import { Output } from "./output.ts";
import { disconnectProperties, subscribeProperties } from "./properties.ts";

/** As many messages may wait for the pipe, no more than the library takes of the broker by default. */
const WAITING = 1000;

/** Resolves to the exit status; the messages are on standard output. */
export async function sub(values: Values, interrupted: Promise<number>): Promise<number> {
  const filters = [...values.list("topic"), place(values).topic ?? []].flat();
  const gone = values.list("unsubscribe"), hidden = values.list("filter-out").map(matcher);
  if (filters.length + gone.length === 0) throw new CommandError("What is to be subscribed to? -t FILTER");
  const count = values.number("count", 1) ?? Infinity;
  const time = values.milliseconds("timeout"), qos = values.qos();
  const skipsRetained = values.is("no-retained"), onlyRetained = values.is("retained-only");
  if (skipsRetained && onlyRetained) throw new CommandError("--no-retained and --retained-only contradict each other");
  const print = printer(values), out = new Output(1), how = subscribeProperties(values);

  let finish!: (status: number) => void;
  const finished = new Promise<number>((resolve) => finish = resolve);
  let printed = 0, isOver = false;
  const end = (status: number) => {
    isOver = true;
    finish(status);
  };
  /** Of a message that is not taken any more: it is not acknowledged, and a session that is kept has it for the next one. */
  const never = new Promise<void>(() => {});

  const onpub: OnPublish = (topic, message) => {
    if (isOver) return never;
    if (onlyRetained && !message.retain) {
      end(EXIT.done);
      return never;
    }
    if (skipsRetained && message.retain || hidden.some((matches) => matches(topic))) return;
    const line = print(message);
    if (line === undefined) return;
    for (const part of line) out.add(part);
    if (++printed === count) end(EXIT.done);
    const flushed = out.flush();
    // At QoS 0 nobody waits for an acknowledgement: such a message waits only when the pipe is slow.
    if (message.qos > 0 || out.isFull) return flushed;
  };

  const refused = new Set<string>();
  const mqtt = await open(values, interrupted, {
    onpub,
    onstatus(status) {
      if (status.type === "refused" && refused.add(status.filter).size === filters.length) {
        end(statusOf(status.error)!);
      }
    },
  });
  const ended = mqtt.run();
  const timer = time === undefined ? undefined : setTimeout(end, time, EXIT.timeout);
  const asking = async () => {
    if (filters.length) await mqtt.subscribe(filters, { ...how, qos, onpub, concurrency: WAITING });
    if (gone.length) await mqtt.unsubscribe(gone);
    if (values.is("exit-subscribed") || filters.length === 0) end(EXIT.done);
    return finished;
  };
  const lost = ended.then((error) => Promise.reject(error));
  const closed = out.failed.then((error) => error.code === "EPIPE" ? EXIT.done : Promise.reject(error));
  let status: number;
  try {
    status = await Promise.race([asking(), interrupted.then(() => EXIT.done), lost, closed]);
  } finally {
    clearTimeout(timer);
    isOver = true;
    await Promise.race([out.flush(), closed]);
  }
  // What was written is acknowledged in the turns that follow.
  await new Promise((resolve) => setImmediate(resolve));
  await mqtt.disconnect(disconnectProperties(values));
  return status;
}

/** Whether a topic name matches the filter [MQTT-4.7.1-2], [MQTT-4.7.1-3], [MQTT-4.7.2-1]. */
export function matcher(filter: string): (topic: string) => boolean {
  const levels = filter.split("/").map((level) =>
    level === "+" ? "[^/]*" : level.replaceAll(/[.*+?^${}()|[\]\\]/g, "\\$&")
  );
  const last = levels.length - 1;
  const all = levels[last] === "#";
  if (all) levels.pop();
  const pattern = new RegExp(`^${levels.join("/")}${all ? last === 0 ? ".*" : "(/.*)?" : ""}$`, "s");
  return (topic) => pattern.test(topic) && !(/^[+#]/.test(filter) && topic.startsWith("$"));
}
