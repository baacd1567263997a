// TLS with credentials and a will: they go to a broker whose certificate is valid for its name, or
// nowhere; and when this program dies, the broker tells the others.
//
//     deno run -A examples/tls_credentials_will.ts broker.example 8883 [ca.pem]

import { readFileSync } from "node:fs";
import process from "node:process";
import { connect, MqttError } from "../mod.ts";

const [host = "localhost", port = "8883", caFile] = process.argv.slice(2);
try {
  const mqtt = await connect(host, undefined, {
    port: Number(port),
    id: "mqtt3c-demo", // by default another each time
    keepalive: 30, // seconds
    uname: "user",
    passwd: () => process.env["MQTT_PASSWORD"] ?? "", // asked for once the broker is trusted
    tls: caFile === undefined ? true : { ca: readFileSync(caFile, "utf8") },
    will: { topic: "demo/state", message: "gone without a goodbye", retain: true },
  });
  await mqtt.publish("demo/state", "here", { retain: true });
  console.log(`connected, trusted: ${mqtt.trusted}`);
  const end = await mqtt.run();
  console.log(`the connection has ended: ${end.code}`);
} catch (error) {
  if (!(error instanceof MqttError)) throw error;
  console.log(`${error.code}: ${error.message}`);
}
