/** A client that publishes numbers at QoS 1, and tells what becomes of it, line by line; SIGTERM ends it in order. */
import process from "node:process";
import { connect, connectWorker, type MqttError, type Status } from "../../mod.ts";
import type { Line, Orders } from "./client.ts";

// deno-lint-ignore no-explicit-any -- each kind of line has fields of its own beside the time
type WithoutTime<T> = T extends any ? Omit<T, "at"> : never;

const { mode, address, op, interval, burst = 0 }: Orders = JSON.parse(process.argv[2]!);
const say = (line: WithoutTime<Line>) =>
  void process.stdout.write(`${JSON.stringify({ at: performance.now(), ...line })}\n`);
const codeOf = (error: unknown) => (error as Partial<MqttError>).code ?? String(error);

function onstatus(status: Status): void {
  const { type } = status;
  if (type === "connecting") say({ status: { type, attempt: status.attempt } });
  else if (type === "waiting") say({ status: { type, code: status.error.code, delay: status.delay } });
  else if (type === "closed") say({ status: { type, code: status.error.code } });
  else say({ status: { type } });
}

const start = performance.now();
try {
  const mqtt = await (mode === "connect" ? connect : connectWorker)(address, undefined, { ...op, onstatus });
  let published = 0, pending = 0, isOn = true;
  const publish = () => {
    const number = published++;
    pending++;
    mqtt.publish(`load/${number}`, "", { qos: 1 }).then(
      () => say({ acknowledged: number }),
      (error) => say({ failed: number, code: codeOf(error) }),
    ).finally(() => pending--);
  };
  process.once("SIGTERM", () => isOn = false);
  for (let i = 0; i < burst; i++) publish();
  while (isOn || pending > 0) {
    if (isOn) publish();
    await new Promise((resolve) => setTimeout(resolve, interval));
  }
  await mqtt.disconnect();
  say({ published });
} catch (error) {
  say({ rejected: codeOf(error), after: performance.now() - start });
}
