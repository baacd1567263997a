/**
 * What each mode does, for other versions of the runtimes; run by versions_test.ts: `versions.js <module> <places as JSON>`.
 * JavaScript, as Node 20 takes no TypeScript, and with nothing of the tests, which want newer runtimes.
 */
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";

const [module, places] = process.argv.slice(-2);
const { connect, connectSync, connectWorker, fileStore } = await import(module);
const { ways, ca, credentials, untrusted, unreachable } = JSON.parse(places);

/** Sent at each QoS. mosquitto sends 4 KiB in 100 ms over a WebSocket. */
const payloads = ["hello", "grüße", "x".repeat(1 << 14)];
const options = { ...credentials, timeout: 20_000 };

function same(what, got, wanted) {
  const text = JSON.stringify(got);
  if (text !== JSON.stringify(wanted)) throw new Error(`${what}: ${text.slice(0, 200)}`);
}

/** What an error is called. */
function codeOf({ code }) {
  return code;
}

for (const [way, url] of Object.entries(ways)) {
  for (const version of [4, 5]) {
    const filter = `versions/${version}`, op = { ...options, ...way === "tls" && { tls: { ca } }, version };
    for (const open of [connect, connectWorker]) {
      const got = [];
      const mqtt = await open(url, (_topic, message) => void got.push(message.text()), op);
      await mqtt.subscribe(filter, { qos: 2 });
      for (const [qos, payload] of payloads.entries()) await mqtt.publish(filter, payload, { qos });
      await mqtt.flush();
      const iterator = mqtt.messages("other");
      const next = iterator.next();
      await mqtt.publish("other", "for the iterator");
      got.push((await next).value.text());
      await mqtt.disconnect();
      same(`${open.name} over ${way}`, got.toSorted(), ["for the iterator", ...payloads].toSorted());
    }
    const mqtt = connectSync(url, undefined, op);
    mqtt.subscribe(filter, { qos: 2 });
    for (const [qos, payload] of payloads.entries()) mqtt.publish(filter, payload, { qos });
    same(`connectSync over ${way}`, payloads.map(() => mqtt.receive(20_000)?.text()).toSorted(), payloads.toSorted());
    mqtt.disconnect();
  }
  process.stdout.write(`${way}\n`);
}

// With credentials nothing is sent to a server that is not trusted, and what cannot be reached is told.
const blocking = (...args) => Promise.resolve().then(() => connectSync(...args));
for (const open of [connect, connectWorker, blocking]) {
  same("trust", await open(untrusted, undefined, credentials).catch(codeOf), "untrusted");
  same("nobody listens", await open(unreachable).catch(codeOf), "cannotconnect");
}
process.stdout.write("trust\n");

// A session in a file: what was published without a broker is sent by the next client.
const folder = mkdtempSync(join(tmpdir(), "mqtt3c-versions-"));
const file = join(folder, "session");
const kept = () => ({ ...options, id: "versions", session: true, reconnect: true, store: fileStore(file) });
const away = await connect(unreachable, undefined, { ...kept(), offline: true });
await away.publish("kept", "in the file", { qos: 1, until: "stored" });
const left = away.run();
await away.disconnect();
same("the end", codeOf(await left), "disconnect");
const heard = connectSync(ways.tcp, undefined, options);
heard.subscribe("kept", { qos: 1 });
const back = await connect(ways.tcp, undefined, kept());
await back.flush();
same("from the file", heard.receive(20_000)?.text(), "in the file");
heard.disconnect();
await back.disconnect();
rmSync(folder, { recursive: true });
process.stdout.write("store\n");
