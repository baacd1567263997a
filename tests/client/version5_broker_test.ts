/** MQTT 5 on a broker that does what no real one here does, in each mode: mistakes, limits that shrink, references, a duel. */
import { test } from "node:test";
import { assert, assertEquals } from "@std/assert";
import type { ConnectOptions, MqttError, Status } from "../../mod.ts";
import { patience } from "../support/process.ts";
import { startScript } from "../support/spawn.ts";
import { modes, type Mqtt, type OpenOn, outcome, Scene, turn } from "./qos_scene.ts";
import { within } from "./support.ts";

/** A packet that the broker got. */
interface Got {
  connection: number;
  type: string;
  [field: string]: unknown;
}

/** A client on that broker, and what it has told. */
interface Play {
  scene: Scene;
  mqtt: Mqtt;
  told: Status[];
  /** What the broker got. */
  got(type: string): Got[];
  /** Has the broker send a packet. */
  give(packet: object): Promise<void>;
}

/** What CONNACKs say, by the number of the connection. */
type Answers = Record<`connack${"" | number}`, { code?: number; sessionPresent?: boolean; properties?: unknown[] }>;

async function play(
  open: OpenOn,
  act: (play: Play) => Promise<void>,
  op: ConnectOptions = {},
  answers: Partial<Answers> = {},
): Promise<void> {
  const broker = await startScript("tests/client/broker5.ts");
  try {
    const port = Number((await broker.output(/port (\d+)\n/))[1]), told: Status[] = [];
    const user = Object.entries(answers).map(([name, answer]) => [name, JSON.stringify(answer)] as const);
    const properties = { ...op.properties, user };
    const onstatus = (status: Status) => void told.push(status);
    const mqtt = await open(port, { keepalive: 0, version: 5, onstatus, ...op, properties });
    const lines = () => broker.stdout().split("\n").slice(1, -1).map((line) => /^(\d+) (\w+) (.*)$/.exec(line)!);
    try {
      await act({
        mqtt,
        told,
        scene: new Scene(mqtt, port, broker),
        got: (wanted) =>
          lines().filter(([, , type]) => type === wanted)
            .map(([, connection, type, rest]) => ({
              connection: Number(connection),
              type: type!,
              ...JSON.parse(rest!),
            })),
        give: async (packet) => void await mqtt.publish("$send", JSON.stringify(packet)),
      });
    } finally {
      await outcome(() => mqtt.disconnect());
    }
  } finally {
    await broker.stop();
  }
}

const reconnect = { minDelay: 1, maxDelay: 5 };

for (const [mode, open] of modes) {
  const scene = (title: string, ...parts: Parameters<typeof play> extends [OpenOn, ...infer R] ? R : never) =>
    test(`${mode}: ${title}`, () => within(play(open, ...parts), title));

  for (
    const [title, packet, code] of [
      ["a packet that cannot be read", { hex: "40 01 00" }, 129],
      ["a packet that is not to be sent", { type: "SUBACK", packetId: 9, codes: [0], properties: [] }, 130],
      ["a topic alias that there is not", {
        type: "PUBLISH",
        topic: "a",
        payload: "",
        qos: 0,
        retain: false,
        dup: false,
        packetId: 0,
        properties: [[35, 1]],
      }, 148],
      ["a packet that is too large", { type: "SUBACK", packetId: 9, codes: Array(600).fill(0), properties: [] }, 149],
    ] as const
  ) {
    scene(
      `[MQTT5-4.13.1-1] ${title}: the broker gets DISCONNECT ${code} before the end`,
      async ({ mqtt, scene, give, got }) => {
        await give(packet);
        const hasIt = () => got("DISCONNECT").length > 0;
        await outcome(() => scene.until(hasIt, "DISCONNECT")); // a client that blocks may have ended before the broker is heard
        for (const end = performance.now() + patience; !hasIt() && performance.now() < end;) await turn(5);
        assertEquals(got("DISCONNECT").map(({ code }) => code), [code]);
        await outcome(() => scene.until(() => mqtt.status.type === "closed", "the end"));
        const { status } = mqtt;
        assert(status.type === "closed");
        assertEquals(status.error.code, code === 149 ? "overflow" : "protocol");
      },
      { maxPacketSize: 500 },
    );
  }

  scene("PUBREC and PUBREL for nothing are answered with 146: the packet identifier is unknown", async (play) => {
    const { scene, mqtt, give, got } = play;
    await give({ type: "PUBREC", packetId: 300, properties: [] });
    await give({ type: "PUBREL", packetId: 301, properties: [] });
    await scene.until(() => got("PUBREL").length + got("PUBCOMP").length === 2, "the answers");
    const answers = (type: string) => got(type).map(({ packetId, code }) => [packetId, code]);
    assertEquals([answers("PUBREL"), answers("PUBCOMP")], [[[300, 146]], [[301, 146]]]);
    assertEquals(await mqtt.publish("a", "x", { qos: 2 }), 0);
    await scene.until(() => got("PUBREL").length === 2, "PUBREL for the message");
    assertEquals(got("PUBREL")[1]!.code, 0);
  });

  scene(
    "a payload that says that it is text, and is not: PUBACK 153, and it is told",
    async ({ scene, give, got, told }) => {
      await give({ hex: "32 09 00 01 61 00 07 02 01 01 ff" });
      await scene.until(() => got("PUBACK").length > 0, "PUBACK");
      assertEquals(got("PUBACK").map(({ packetId, code }) => [packetId, code]), [[7, 153]]);
      await scene.until(() => told.some(({ type }) => type === "dropped"), "dropped");
      assertEquals(told.flatMap((status) => status.type === "dropped" ? [status.error.code] : []), [153]);
    },
    { checkFormat: true },
  );

  scene(
    "[MQTT5-3.14.4-3] the broker's DISCONNECT is told with its words and its reference, and the client comes back",
    async ({ scene, give, told, mqtt }) => {
      await give({ type: "DISCONNECT", code: 156, properties: [[28, "other:1884"], [31, "too many here"]] });
      await scene.until(() => told.filter(({ type }) => type === "connected").length === 2, "another connection");
      const { error } = told.find(({ type }) => type === "waiting") as { error: MqttError };
      assertEquals([error.code, error.reason, error.serverReference], [156, "too many here", "other:1884"]);
      assertEquals(mqtt.status.type, "connected", "at the same broker");
    },
    { reconnect },
  );

  scene(
    "a session taken over (142) twice within the stable time ends the client",
    async ({ scene, give, mqtt, told }) => {
      const over = { type: "DISCONNECT", code: 142, properties: [] };
      await give(over);
      await scene.until(() => told.filter(({ type }) => type === "connected").length === 2, "another connection");
      await give(over);
      await outcome(() => scene.until(() => mqtt.status.type === "closed", "the end"));
      assert(mqtt.status.type === "closed");
      assertEquals(mqtt.status.error.code, 142);
    },
    { reconnect },
  );

  scene(
    "limits that shrink: what waits is given up or dropped, the rest is sent again, and none of it is for ever",
    async ({ scene, mqtt, got, told }) => {
      if ("receive" in mqtt) return; // its calls do not outlive a connection
      const name = (qos: 1 | 2, size: number) => outcome(() => mqtt.publish("never/x", "x".repeat(size), { qos }));
      const calls = [name(1, 5), name(1, 300), name(2, 5)];
      await scene.until(() => got("PUBLISH").length === 3, "three messages");
      await mqtt.publish("$close", "");
      assertEquals(await calls[1], "unsupported");
      assertEquals(await calls[2], "unsupported");
      await scene.until(() => got("PUBLISH").some(({ dup }) => dup), "the first one again");
      const again = got("PUBLISH").filter(({ connection, topic }) => connection === 1 && topic === "never/x");
      assertEquals(again.map(({ qos, dup }) => [qos, dup]), [[1, true]]);
      assertEquals(mqtt.limits!.maxQoS, 1);
      await mqtt.publish("$close", "");
      await scene.until(() => told.filter(({ type }) => type === "connected").length === 3, "a third connection");
      assertEquals(mqtt.limits!.maxQoS, 2);
    },
    { reconnect, id: "kept", session: true },
    {
      connack1: { sessionPresent: true, properties: [[36, 1], [39, 200]] },
      connack2: { sessionPresent: true, properties: [] },
    },
  );

  scene(
    "[MQTT5-3.2.2-21] the server's keep alive: PINGREQ comes, though the client wanted none",
    async ({ scene, got, mqtt }) => {
      assertEquals(mqtt.limits!.keepalive, 1);
      await scene.until(() => got("PINGREQ").length > 0, "PINGREQ");
    },
    {},
    { connack: { properties: [[19, 1]] } },
  );

  scene(
    "[MQTT5-3.2.2-16] an assigned client identifier is used for the next connection",
    async ({ scene, mqtt, got }) => {
      await scene.until(() => mqtt.id === "assigned", "the identifier");
      await mqtt.publish("$close", "");
      await scene.until(() => got("CONNECT").length === 2, "another CONNECT");
      assertEquals(got("CONNECT").map(({ id }) => id), ["", "assigned"]);
    },
    { id: "", reconnect },
    { connack: { properties: [[18, "assigned"]] } },
  );

  scene("[MQTT5-4.12.0-3] AUTH in as many steps as there are, and again later", async ({ scene, got, mqtt }) => {
    const steps = () => got("AUTH").map(({ code, properties }) => [code, properties]);
    const step = (code: number, data: string) => [code, [[21, "METHOD"], [22, data]]];
    await scene.until(() => got("AUTH").length === 3, "three steps");
    assertEquals(steps(), [step(24, "re: one"), step(24, "re: two"), step(24, "re: three")]);
    const [{ properties }] = got("CONNECT") as [Got & { properties: unknown[] }];
    assertEquals(properties.filter((property) => [21, 22].includes((property as [number])[0])), [[21, "METHOD"], [
      22,
      "hello",
    ]]);
    await mqtt.reauthenticate();
    await scene.until(() => got("AUTH").length === 5, "two more");
    assertEquals(steps().slice(3), [step(25, "hello"), step(24, "re: again?")]);
    assertEquals(mqtt.status.type, "connected");
  }, {
    auth: {
      method: "METHOD",
      data: new TextEncoder().encode("hello"),
      answer: (data) => new TextEncoder().encode(`re: ${new TextDecoder().decode(data)}`),
    },
  }, { auth: [{ code: 24, data: "one" }, { code: 24, data: "two" }, { code: 24, data: "three" }] } as never);

  test(`${mode}: an answer that fails ends the attempt, and AUTH that nobody has asked for the connection`, () =>
    within(
      (async () => {
        const auth = {
          method: "M",
          answer: () => {
            throw new Error("no");
          },
        };
        const challenges = { auth: [{ code: 24 }] } as never;
        assertEquals(await outcome(() => play(open, () => Promise.resolve(), { auth }, challenges)), "cannotconnect");
        assertEquals(await outcome(() => play(open, () => Promise.resolve(), {}, challenges)), "invalidresp");
      })(),
      mode,
    ));

  scene("reason codes: those below 128 are results, the others errors", async ({ mqtt }) => {
    assertEquals(await mqtt.publish("code/16", "", { qos: 1 }), 16);
    assertEquals(await outcome(() => mqtt.publish("code/16", "", { qos: 2 })), 16);
    for (const code of [128, 131, 135, 144, 151, 153]) {
      for (const qos of [1, 2] as const) {
        assertEquals(await outcome(() => mqtt.publish(`code/${code}`, "", { qos })), code);
      }
    }
    assertEquals(mqtt.stats.unacknowledged, 0);
  });

  scene("a will has what the program says, and CONNECT, too", async ({ scene, got }) => {
    await scene.until(() => got("CONNECT").length === 1, "CONNECT");
    const [{ will, properties }] = got("CONNECT") as [Got & { will: { properties: unknown }; properties: unknown[] }];
    assertEquals(will.properties, [[2, 50], [3, "text/plain"], [24, 7]]);
    assertEquals(properties.slice(0, 2), [[17, 0], [23, 0]]);
  }, {
    will: { topic: "w", message: "m", delay: 7, expiry: 50, properties: { contentType: "text/plain" } },
    properties: { requestProblem: false },
  });
}

for (const code of [132, 133, 134, 135, 138, 140, 157]) {
  for (const [mode, open] of modes) {
    test(`${mode}: [MQTT5-3.2.2-8] CONNACK ${code} is final, and told with its words`, () => {
      const answers = { connack: { code, properties: [[31, "no"]] } };
      const op = { version: 5, reconnect, offline: false } as const;
      return within(
        outcome(() => play(open, () => Promise.resolve(), op, answers)).then((found) => assertEquals(found, code)),
        mode,
      );
    });
  }
}
