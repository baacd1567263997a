// Over connections that the program opens itself: through a SOCKS5 proxy with the npm package `socks`, upgraded to TLS,
// handed in. When one has ended, the next is opened; a message to demo/stop ends the program. (For the usual case there
// are the options `proxy` and `reconnect`.) User name and password may be in MQTT_USER and MQTT_PASSWORD.
//
//     deno run -A examples/socks_tls.ts proxy-host:1080 broker-host:8883 [ca.pem]

import { readFileSync } from "node:fs";
import { once } from "node:events";
import process from "node:process";
import { connect as secure } from "node:tls";
import { SocksClient } from "socks";
import { connect } from "../mod.ts";

const [proxy = "localhost:1080", broker = "localhost:8883", caFile] = process.argv.slice(2);
const [from, to] = [proxy, broker].map((text) => ({ host: text.split(":")[0]!, port: Number(text.split(":")[1]) }));
const { MQTT_USER: uname, MQTT_PASSWORD: passwd } = process.env;

for (;;) {
  try {
    const route = { proxy: { ...from!, type: 5 }, command: "connect", destination: to! } as const;
    const { socket } = await SocksClient.createConnection(route); // the proxy resolves the broker's name
    const tls = secure({ socket, servername: to!.host, ...(caFile ? { ca: readFileSync(caFile) } : {}) });
    await once(tls, "secureConnect");
    const mqtt = await connect(tls, (topic, message) => {
      console.log(`${topic}: ${message.text()}`);
      if (topic === "demo/stop") mqtt.disconnect();
    }, { uname, passwd });
    console.log(`trusted: ${mqtt.trusted}, by ${mqtt.sock === tls ? "the socket that was handed in" : "another"}`);
    await mqtt.subscribe(["demo/proxied", "demo/stop"]);
    await mqtt.publish("demo/proxied", "there and back");
    const { code } = await mqtt.run();
    console.log(`the connection has ended: ${code}`);
    if (code === "disconnect") break;
  } catch (error) {
    console.log(`no connection: ${(error as Error).message}`);
  }
  await new Promise((done) => setTimeout(done, 1000));
}
