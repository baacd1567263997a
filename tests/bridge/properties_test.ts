/** Over MQTT 5: properties as a header and in JSON, both ways; and what the broker refuses, by its reason codes. */
import { Buffer } from "node:buffer";
import { test } from "node:test";
import { assertEquals, assertMatch } from "@std/assert";
import { startHttp } from "../../examples/bridge/http.ts";
import type { Bridge } from "../../examples/bridge/program.ts";
import { startWebSocket } from "../../examples/bridge/websocket.ts";
import { connect, type Message } from "../../mod.ts";
import { needs } from "../support/process.ts";
import { startMosquitto } from "../support/servers.ts";
import { startScript } from "../support/spawn.ts";
import { ask, dial, Inbox, listen, post, until } from "./support.ts";

const GIVEN = {
  payloadFormat: 1,
  contentType: "text/plain; charset=utf-8",
  responseTopic: "answers/\u2603",
  correlationBase64: "/wA=",
  user: [["a", "1"], ["a", "2"]],
};
const HEADER = JSON.stringify({ ...GIVEN, responseTopic: undefined }).replace(
  /}$/,
  String.raw`,"responseTopic":"answers/\u2603"}`,
);

/** Acts with both bridges of a broker, and ends all. */
async function withBridges(
  { port, stop }: { port: number; stop(): Promise<unknown> },
  version: 4 | 5,
  act: (http: Bridge, web: Bridge) => Promise<void>,
): Promise<void> {
  const options = { broker: `mqtt://127.0.0.1:${port}`, op: { version } };
  const http = await startHttp(options), web = await startWebSocket(options);
  try {
    for (const { status } of [http, web]) await until(() => status()["broker"] === "connected", "it is connected");
    await act(http, web);
  } finally {
    await Promise.all([http.close(), web.close()]);
    await stop();
  }
}

/** The broker takes the seconds off that a message waits. */
function fresh<P extends { expiry?: number | undefined }>(properties: P): P {
  const { expiry } = properties;
  return expiry !== undefined && expiry > 950 && expiry < 1000 ? { ...properties, expiry: 1000 } : properties;
}

test("the bridges give and take properties, as a header and in JSON", needs("mosquitto"), async () => {
  const broker = await startMosquitto();
  await withBridges(broker, 5, async (http, web) => {
    const inbox = new Inbox<Message>();
    const mqtt = await connect(`mqtt://127.0.0.1:${broker.port}`, (_, message) => inbox.push(message), { version: 5 });
    await mqtt.subscribe("#");
    const socket = await dial(web.url);
    await socket.ask({ type: "subscribe", filter: "p/#" });
    const stream = await listen(http.url, "/p/%23");
    const came = async () => {
      const { properties: { subscriptionIds: _, correlation, ...rest } = {} } = await inbox.next();
      const other = await socket.next("message"), event = await stream.message() as unknown as typeof other;
      const all = [{ ...rest, correlation: correlation && [...correlation] }, other.properties, event.properties];
      return all.map((properties) => properties && fresh(properties));
    };
    const { correlationBase64: _, ...texts } = GIVEN, both = [{ ...texts, correlation: [255, 0] }, GIVEN, GIVEN];

    assertEquals((await post(http.url, "/p/1", "x", { headers: { "mqtt-properties": HEADER } })).status, 204);
    assertEquals(await came(), both);
    assertEquals((await post(http.url, "/", JSON.stringify({ topic: "p/2", properties: GIVEN }))).status, 204);
    assertEquals(await came(), both);
    const published = await socket.ask({ type: "publish", topic: "p/3", properties: GIVEN });
    assertEquals(published.type, "published");
    assertEquals(await came(), both);
    const text = { correlation: "request 7" };
    await post(http.url, "/p/4?retain", "x", {
      headers: { "mqtt-properties": JSON.stringify({ ...text, expiry: 1000 }) },
    });
    const [direct, ...others] = await came();
    assertEquals([direct?.expiry, direct?.correlation?.length, others], [1000, 9, [
      { ...text, expiry: 1000 },
      { ...text, expiry: 1000 },
    ]]);
    await post(http.url, "/p/5", "none");
    assertEquals((await came()).slice(1), [undefined, undefined]);

    const raw = Buffer.from('{"contentType":"\u2603"}').toString("latin1");
    assertEquals((await post(http.url, "/p/5", "", { headers: { "mqtt-properties": raw } })).status, 204);
    assertEquals((await came())[1], { contentType: "\u2603" }, "a header in UTF-8");
    const wrongBytes = await post(http.url, "/p/5", "", { headers: { "mqtt-properties": '{"contentType":"\xff"}' } });
    assertEquals([wrongBytes.status, wrongBytes.text], [400, "The header mqtt-properties is not UTF-8\n"]);

    // What was kept has them, too.
    const { headers } = await ask(http.url, "/p/4");
    assertEquals(fresh(JSON.parse(`${headers["mqtt-properties"]}`)), { ...text, expiry: 1000 });
    await post(http.url, "/p/1?retain", "x", { headers: { "mqtt-properties": HEADER } });
    const again = await ask(http.url, "/p/1"), header = `${again.headers["mqtt-properties"]}`;
    assertEquals([JSON.parse(header), /^[ -~]*$/.test(header)], [GIVEN, true]);
    const large = JSON.stringify({ user: [["a", "x".repeat(9000)]] });
    await post(http.url, "/", `{"topic":"p/6","retain":true,"properties":${large}}`);
    assertEquals((await ask(http.url, "/p/6")).headers["mqtt-properties"], undefined, "too many for a header");

    for (
      const [properties, says] of [
        ["{", /no JSON/],
        ["1", /must be an object/],
        ['{"correlation":1}', /correlation must be a string/],
        ['{"nonsense":1}', /nonsense/],
        ['{"expiry":-1}', /expiry/],
      ] as const
    ) {
      const wrong = await post(http.url, "/p/7", "", { headers: { "mqtt-properties": properties } });
      assertEquals(wrong.status, 400, properties);
      assertMatch(wrong.text, says);
    }
    assertMatch((await socket.ask({ type: "publish", topic: "p/7", properties: 1 })).message, /must be an object/);
    await Promise.all([stream.stop(), socket.stop(), mqtt.disconnect()]);
  });
});

test("properties where the broker speaks 3.1.1 are refused, and nothing is sent", needs("mosquitto"), async () => {
  const broker = await startMosquitto();
  await withBridges(broker, 4, async (http, web) => {
    const refused = await post(http.url, "/p", "", { headers: { "mqtt-properties": '{"contentType":"a"}' } });
    assertEquals(refused.status, 501);
    assertMatch(refused.text, /version: 5/);
    const line = await post(http.url, "/", '{"topic":"p","properties":{"contentType":"a"}}');
    assertEquals(line.status, 501);
    const socket = await dial(web.url);
    assertMatch(
      (await socket.ask({ type: "publish", topic: "p", properties: { contentType: "a" } })).message,
      /version: 5/,
    );
    assertEquals([http.status()["refused"], http.status()["unconfirmed"]], [2, 0]);
    await socket.stop();
  });
});

test("what the broker refuses is told by its reason code, and not asked again", async () => {
  const broker = await startScript("tests/client/broker5.ts");
  const [, port] = await broker.output(/port (\d+)\n/);
  await withBridges({ port: Number(port), stop: () => broker.stop() }, 5, async (http, web) => {
    for (const [code, status] of [[128, 403], [135, 403], [144, 400], [151, 503], [16, 204]] as const) {
      assertEquals((await post(http.url, `/code/${code}`, "")).status, status, `${code}`);
    }
    const { refused, unconfirmed, published } = http.status();
    assertEquals([refused, unconfirmed, published], [4, 0, 1]);
    assertEquals((await listen(http.url, "/code/135")).status, 403);
    const socket = await dial(web.url);
    for (const code of [128, 135, 143, 151]) {
      assertMatch((await socket.ask({ type: "subscribe", filter: `code/${code}` })).message, new RegExp(`${code}`));
    }
    await socket.stop();
  });
});
