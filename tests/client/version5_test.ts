/** MQTT 5 on a real broker, in each mode: what the properties, limits and reason codes are good for. */
import { after, before, describe, test } from "node:test";
import { assert, assertEquals, assertGreater, assertLessOrEqual } from "@std/assert";
import type { ConnectOptions, Message } from "../../mod.ts";
import { needs } from "../support/process.ts";
import { type ServerProcess, startMosquitto } from "../support/servers.ts";
import { modes, type Mqtt, outcome, Scene } from "./qos_scene.ts";
import { within } from "./support.ts";

const tools = needs("mosquitto");

/** A broker that can do everything, and one that can do little. */
let full: ServerProcess, poor: ServerProcess;
before(async () => {
  if (tools.skip !== undefined) return;
  full = await startMosquitto({ config: "max_keepalive 30\nmax_topic_alias 5\nmax_inflight_messages 50" });
  poor = await startMosquitto({
    config: "max_qos 1\nretain_available false\nmax_packet_size 200\nmax_inflight_messages 2",
  });
});
after(async () => {
  await full?.stop();
  await poor?.stop();
});

const utf8 = new TextEncoder();
const properties = {
  payloadFormat: 1,
  contentType: "text/plain",
  responseTopic: "answers/1",
  correlation: utf8.encode("17"),
  user: [["b", "2"], ["a", "1"], ["b", "2"]],
} as const;

for (const [mode, open] of modes) {
  describe(`${mode}: version 5`, () => {
    /** Plays with a client of the mode, and another one of `connect`. */
    function scene(
      title: string,
      act: (scene: Scene, also: (op?: ConnectOptions) => Promise<Mqtt>) => void | Promise<void>,
      op: ConnectOptions = {},
      broker: () => ServerProcess = () => full,
    ): void {
      test(title, tools, () =>
        within(
          (async () => {
            const clients: Mqtt[] = [];
            const also = async (more: ConnectOptions = {}) => {
              const client = await open(broker().port, { version: 5, ...more });
              clients.push(client);
              return client;
            };
            const scene = new Scene(await also(op), broker().port);
            try {
              await act(scene, also);
            } finally {
              for (const client of clients) await client.disconnect();
            }
          })(),
          title,
        ));
    }

    scene("[MQTT5-3.3.2-15] [MQTT5-3.3.2-17] [MQTT5-3.3.2-20] properties arrive as they were given", async (scene) => {
      for (const qos of [0, 1, 2] as const) {
        const topic = `p/${mode}/${qos}`.replaceAll(" ", "");
        await scene.subscribe(topic, qos);
        await scene.mqtt.publish(topic, "text", { qos, properties });
        await scene.mqtt.publish([{ topic, message: "plain", qos }]);
        await scene.until(() => scene.got.length === 2, "both");
        const [first, second] = scene.got.splice(0) as [Message, Message];
        const { subscriptionIds, ...others } = first.properties!;
        assertEquals(others, properties);
        assertEquals(subscriptionIds?.length, 1);
        assertEquals([first.text(), Object.keys(second.properties!)], ["text", ["subscriptionIds"]]);
        assert(Object.isFrozen(first.properties));
      }
    });

    scene("messages of iterators and of subscriptions have their properties, too", async ({ mqtt }, also) => {
      if ("receive" in mqtt) return;
      const other = await also() as typeof mqtt;
      const messages = mqtt.messages("iterated/5", { qos: 1, id: 77 });
      const first = messages.next();
      await mqtt.flush();
      await other.publish("iterated/5", "x", { qos: 1, properties });
      const { value } = await first;
      const { subscriptionIds, ...others } = (value as Message).properties!;
      assertEquals([others, subscriptionIds], [properties, [77]]);
      await messages.return?.();
    });

    scene("the broker's limits are told", ({ mqtt }) => {
      const { limits, status } = mqtt;
      assert(status.type === "connected" && status.version === 5);
      assertEquals(status.limits, limits);
      assertEquals([limits!.keepalive, limits!.topicAliases, limits!.receiveMaximum], [30, 5, 50]);
      assertEquals([limits!.maxQoS, limits!.retain, limits!.shared, limits!.wildcards], [2, true, true, true]);
    });

    scene(
      "what the broker cannot do is refused before it is asked",
      async ({ mqtt }) => {
        const { maxQoS, retain, maxPacketSize, receiveMaximum } = mqtt.limits!;
        assertEquals([maxQoS, retain, maxPacketSize, receiveMaximum], [1, false, 200, 2]);
        assertEquals(await outcome(() => mqtt.publish("a", "x", { qos: 2 })), "unsupported");
        assertEquals(await outcome(() => mqtt.publish("a", "x", { retain: true })), "unsupported");
        assertEquals(await outcome(() => mqtt.publish("a", "x".repeat(200), { qos: 1 })), "unsupported");
        assertEquals(await outcome(() => mqtt.subscribe("a".repeat(200), {})), "unsupported");
        await mqtt.publish(Array.from({ length: 20 }, () => ({ topic: "a", message: "x", qos: 1 as const })));
        assertEquals(mqtt.status.type, "connected");
      },
      {},
      () => poor,
    );

    scene("[MQTT5-3.2.2-16] the broker assigns a client identifier", ({ mqtt }) => {
      assertGreater(mqtt.id.length, 0);
    }, { id: "" });

    scene("nobody listens: the reason code is 16", async ({ mqtt }) => {
      assertEquals(await mqtt.publish("nobody/listens", "x", { qos: 1 }), 16);
    });

    scene("[MQTT5-3.8.3-3] noLocal, retainAsPublished, retainHandling", async (scene, also) => {
      const { mqtt } = scene, name = mode.replaceAll(" ", "");
      const onpub = "receive" in mqtt ? {} : { onpub: scene.onpub };
      await mqtt.publish(`kept/${name}`, "kept", { qos: 1, retain: true });
      await mqtt.subscribe(`kept/${name}`, { ...onpub, retainHandling: 2, retainAsPublished: true });
      await mqtt.subscribe(`own/${name}`, { ...onpub, noLocal: true });
      await mqtt.publish(`own/${name}`, "own");
      const other = await also();
      await other.publish(`own/${name}`, "other's");
      await other.publish(`kept/${name}`, "new", { retain: true });
      await scene.until(() => scene.got.length === 2, "two messages");
      assertEquals(scene.got.map((message) => `${message} ${message.retain}`).sort(), ["new true", "other's false"]);
      await mqtt.publish(`kept/${name}`, "", { retain: true });
    });

    scene("[MQTT5-3.3.4-2] filters that overlap: each handler gets a message once", async ({ mqtt }) => {
      if ("receive" in mqtt) return;
      const got: string[] = [], name = mode.replaceAll(" ", "");
      await mqtt.subscribe(`over/${name}/#`, { onpub: (_, message) => void got.push(`all ${message}`) });
      await mqtt.subscribe(`over/${name}/+`, { onpub: (_, message) => void got.push(`some ${message}`) });
      for (const message of ["1", "2"]) await mqtt.publish(`over/${name}/a`, message, { qos: 1 });
      await mqtt.flush();
      await new Scene(mqtt, 0).until(() => got.length >= 4, "four calls");
      assertEquals(got.toSorted(), ["all 1", "all 2", "some 1", "some 2"]);
    });

    scene("[MQTT5-3.3.2-6] what the broker has kept for a while has less of its expiry left", async (scene, also) => {
      const topic = `expiry/${mode.replaceAll(" ", "")}`, other = await also();
      await other.publish(topic, "x", { qos: 1, retain: true, expiry: 100, properties: { contentType: "a" } });
      await scene.subscribe(topic, 1);
      await scene.until(() => scene.got.length === 1, "the message");
      const { expiry, contentType } = scene.got[0]!.properties!;
      assertLessOrEqual(expiry!, 100);
      assertGreater(expiry!, 90);
      assertEquals(contentType, "a");
      await other.publish(topic, "", { retain: true });
    });

    scene("topic aliases, both ways: the names arrive", async (scene, also) => {
      const name = mode.replaceAll(" ", ""), other = await also({ topicAliases: 3 });
      await scene.subscribe(`alias/${name}/#`, 1);
      const topics = Array.from({ length: 60 }, (_, i) => `alias/${name}/${(i * i) % 11}`);
      await other.publish(topics.map((topic, i) => ({ topic, message: `${i}`, qos: i % 3 === 0 ? 0 : 1 })));
      await other.flush();
      await scene.until(() => scene.got.length === 60, "all of them");
      const got = scene.got.map((message) => [Number(message.text()), message.topic] as const);
      assertEquals(got.toSorted(([one], [two]) => one - two), topics.map((topic, i) => [i, topic] as const));
    }, { topicAliases: 4 });

    scene(
      "[MQTT5-3.1.3-9] [MQTT5-3.14.2-1] the will has a delay and properties, and is asked for with DISCONNECT",
      async (scene, also) => {
        const topic = `will/${mode.replaceAll(" ", "")}`;
        await scene.subscribe(topic, 1);
        const will = {
          topic,
          message: "gone",
          qos: 1,
          delay: 0,
          expiry: 50,
          properties: { contentType: "a" },
        } as const;
        const other = await also({ will, properties: { user: [["who", "I"]] } });
        await other.disconnect({ will: true });
        await scene.until(() => scene.got.length === 1, "the will");
        assertEquals(scene.got[0]!.properties!.contentType, "a");
        await (await also({ will })).disconnect();
        await scene.mqtt.flush();
        assertEquals(scene.got.length, 1);
      },
    );

    scene("a shared subscription, with a reason code for each call", async (scene) => {
      assertEquals(await scene.subscribe("$share/g/shared/#", 1), 1);
      await scene.mqtt.publish("shared/x", "y", { qos: 1 });
      await scene.until(() => scene.got.length === 1, "the message");
      await scene.mqtt.unsubscribe("$share/g/shared/#");
      assertEquals(await outcome(() => scene.mqtt.unsubscribe("never/subscribed")), undefined);
    });

    test(
      "[MQTT5-3.1.2-4] [MQTT5-3.2.2-3] a session is kept as long as it says, and less with DISCONNECT",
      tools,
      () =>
        within(
          (async () => {
            const id = `session-${mode.replaceAll(" ", "")}`, op = { version: 5, id, session: 100 } as const;
            const present = ({ status }: Mqtt) => status.type === "connected" && status.sessionPresent;
            const first = await open(full.port, op);
            assertEquals([present(first), first.limits!.session], [false, 100]);
            await first.disconnect();
            const second = await open(full.port, op);
            assertEquals(present(second), true);
            await second.disconnect({ session: 0 });
            const third = await open(full.port, op);
            assertEquals(present(third), false);
            await third.disconnect({ session: 0 });
          })(),
          "sessions",
        ),
    );

    test("options of version 5 are refused by version 4", tools, () =>
      within(
        (async () => {
          const will = { topic: "a", message: "b" };
          const refused: ConnectOptions[] = [
            { topicAliases: 5 },
            { properties: { user: [["a", "b"]] } },
            { will: { ...will, delay: 5 } },
            { will: { ...will, properties: { contentType: "a" } } },
            { subscriptions: { a: { noLocal: true } } },
          ];
          for (const op of refused) {
            assertEquals(await outcome(() => open(full.port, op)), "unsupported", JSON.stringify(op));
          }
          const mqtt = await open(full.port);
          for (const qos of [0, 1, 2] as const) {
            assertEquals(
              await outcome(() => mqtt.publish("a", "b", { qos, properties })),
              "unsupported",
            );
          }
          assertEquals(await outcome(() => mqtt.subscribe("a", { noLocal: true })), "unsupported");
          assertEquals(await outcome(() => mqtt.subscribe("a", { id: 5 })), "unsupported");
          assertEquals(await outcome(() => mqtt.disconnect({ will: true })), "unsupported");
          assertEquals(await mqtt.publish("a", "b", { qos: 1 }), 0, "and it goes on");
          await mqtt.disconnect();
        })(),
        "version 4",
      ));
  });
}
