// Asks for something, and answers: over MQTT 5 or 3.1.1, whichever the broker has.
//
//     deno run -A examples/request.ts [host or URL]
import process from "node:process";
import { connect, MqttError } from "../mod.ts";

const mqtt = await connect(process.argv[2] ?? "localhost", undefined, { version: "auto" });
await mqtt.respond("sum", (_topic, message) => {
  const [one, other] = message.json<[number, number]>();
  return `${one + other}`;
});
console.log(`2 + 3 = ${await mqtt.request("sum", JSON.stringify([2, 3]))}`);
try {
  await mqtt.request("nobody/answers", "", { timeout: 1000 });
} catch (error) {
  console.log(error instanceof MqttError ? error.message : error);
}
await mqtt.disconnect();
