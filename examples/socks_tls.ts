// Over a connection that the program opened itself: through a SOCKS5 proxy with the npm package
// `socks`, upgraded to TLS, handed in. (For the usual case there is the option `proxy`.)
//
//     deno run -A examples/socks_tls.ts proxy-host:1080 broker-host:8883 [ca.pem]

import { readFileSync } from "node:fs";
import { once } from "node:events";
import process from "node:process";
import { connect as secure } from "node:tls";
import { SocksClient } from "socks";
import { connect } from "../mod.ts";

const [proxy = "localhost:1080", broker = "localhost:8883", caFile] = process.argv.slice(2);
const [proxyHost = "", proxyPort] = proxy.split(":");
const [host = "", port] = broker.split(":");

const { socket } = await SocksClient.createConnection({
  proxy: { host: proxyHost, port: Number(proxyPort), type: 5 },
  command: "connect",
  destination: { host, port: Number(port) }, // the proxy resolves the name
});
const tls = secure({ socket, servername: host, ...(caFile ? { ca: readFileSync(caFile) } : {}) });
await once(tls, "secureConnect");

const mqtt = await connect(tls, (topic, message) => {
  console.log(`${topic}: ${message.text()}`);
  mqtt.disconnect();
});
console.log(`trusted: ${mqtt.trusted}, by ${mqtt.sock === tls ? "the socket that was handed in" : "another"}`);
await mqtt.subscribe("demo/proxied");
await mqtt.publish("demo/proxied", "there and back");
console.log(`the connection has ended: ${(await mqtt.run()).code}`);
