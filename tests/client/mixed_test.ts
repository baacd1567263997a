/** QoS 1 and 2 beside each other, over a line that keeps many under way. */
import { test } from "node:test";
import { assertEquals } from "@std/assert";
import { connect } from "../../mod.ts";
import { needs } from "../support/process.ts";
import { startMosquitto } from "../support/servers.ts";
import { openLine } from "../survival/line.ts";
import { Inbox } from "./support.ts";

test("QoS 1 and 2 mixed over a long line: mosquitto at its defaults loses none", needs("mosquitto"), async () => {
  const broker = await startMosquitto(), line = await openLine(broker.port, 15), inbox = new Inbox();
  const subscriber = await connect("127.0.0.1", inbox.onpub, { port: broker.port });
  const publisher = await connect("127.0.0.1", undefined, { port: line.port });
  try {
    await subscriber.subscribe("+/+", { qos: 2 });
    // It answers QoS 1 with PUBACK, and drops it, while 20 messages of QoS 2 wait for PUBREL.
    const sent = Array.from({ length: 120 }, (_, i) => ({ topic: `${2 - i % 2}/${i}`, qos: 2 - i % 2 as 1 | 2 }));
    await publisher.publish(sent.map(({ topic, qos }) => ({ topic, message: "", qos })));
    const came = await inbox.take(sent.length);
    assertEquals(came.map(({ topic }) => topic).sort(), sent.map(({ topic }) => topic).sort());
  } finally {
    await publisher.disconnect();
    await subscriber.disconnect();
    await line.stop();
    await broker.stop();
  }
});
