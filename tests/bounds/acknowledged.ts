/** What a broker makes of QoS 1 and 2 against its word, in a process whose memory is measured: `acknowledged.ts mode port`. */
import process from "node:process";
import { modes, outcome, turn } from "../client/qos_scene.ts";

const [mode = "", port = ""] = process.argv.slice(2);
const mebibytes = () => process.memoryUsage().rss / 2 ** 20;
const [, open] = modes.find(([name]) => name === mode)!;
const isBlocking = mode === "connectSync";
const payload = new Uint8Array(1000);

/** Nothing is acknowledged: what is beyond maxBuffered is refused, and all settles when the client leaves. */
async function neverAcknowledged(): Promise<Record<string, number>> {
  const mqtt = await open(Number(port), { maxBuffered: 4 << 20, timeout: isBlocking ? 3000 : 10_000, keepalive: 0 });
  const counts: Record<string, number> = {};
  const count = (code: unknown) => void (counts[`${code}`] = (counts[`${code}`] ?? 0) + 1);
  const all: Promise<void>[] = [];
  for (let i = 0; i < (isBlocking ? 2 : 100); i++) {
    for (let j = 0; j < (isBlocking ? 1 : 500); j++) {
      const qos = j % 2 === 0 ? 1 : 2;
      const message = { topic: "never/t", message: payload, qos } as const;
      const publish = isBlocking
        ? () => mqtt.publish(Array(10_000).fill(message))
        : () => mqtt.publish("never/t", payload, { qos });
      all.push(outcome(publish).then(count));
    }
    await turn();
    sample();
  }
  await mqtt.disconnect();
  await Promise.all(all);
  return counts;
}

/** PUBREL never comes: after 65,535 messages each identifier is one of a message that has come. */
async function neverReleased(): Promise<number> {
  let received = 0;
  const mqtt = await open(Number(port), { keepalive: 0 });
  if ("receive" in mqtt) {
    mqtt.subscribe("flood", { qos: 2 });
    mqtt.publish("$flood/100000", "");
    while (mqtt.receive(2000) !== undefined) received++;
  } else {
    await mqtt.subscribe("flood", { qos: 2, onpub: () => void received++ });
    await mqtt.publish("$flood/100000", "");
  }
  await mqtt.flush();
  sample();
  await mqtt.disconnect();
  return received;
}

let peak = 0;
const sample = () => peak = Math.max(peak, mebibytes());
const warm = await open(Number(port), { keepalive: 0 });
await warm.publish("warm", "up", { qos: 2 });
await warm.disconnect();
const base = peak = mebibytes();
const timer = setInterval(sample, 20);
const received = await neverReleased();
const counts = await neverAcknowledged();
clearInterval(timer);
console.log(JSON.stringify({ grown: Math.round(peak - base), received, counts }));
