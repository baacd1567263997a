/** What a page hears of its network and of itself, and timers that ring once a minute: in virtual time. */
import { test } from "node:test";
import { assert, assertEquals, assertLess } from "@std/assert";
import type { Status } from "../../mod.ts";
import { FakeTransport, World } from "../support/fakes.ts";

const CONNACK = "20 02 00 00", PINGRESP = "d0 00";

test("hint: a client that waits for its next attempt makes it at once, and goes on", async () => {
  const world = await World.open({ reconnect: { minDelay: 1_000_000, maxDelay: 1_000_000 } });
  for (let round = 2; round < 12; round++) {
    world.broker.break();
    await world.clock.advance(1000);
    assertEquals(world.client.status.type, "waiting");
    world.hint!();
    await world.clock.advance(0);
    assertEquals([world.transports.length, world.client.status.type], [round, "connecting"]);
    world.broker.send(CONNACK);
    await world.clock.settle();
    assertEquals(world.client.status.type, "connected");
  }
});

test("hint: a connection that is open has to answer a PINGREQ, and one that does not is given up", async () => {
  const failures: unknown[] = [];
  const onstatus = (status: Status) => void (status.type === "waiting" && failures.push(status.error.code));
  const world = await World.open({ keepalive: 100, reconnect: true, onstatus });
  for (let round = 0; round < 3; round++) {
    world.hint!();
    world.hint!();
    await world.clock.advance(0);
    assertEquals(world.broker.said(), ["PINGREQ"]);
    world.broker.send(PINGRESP);
    await world.clock.advance(20_000);
    assertEquals(world.client.status.type, "connected");
  }
  world.hint!();
  await world.clock.advance(10_500);
  assertEquals([failures, world.client.status.type], [["pingresp"], "connecting"]);
});

test("hint: a connection that is lost soon after it, or an attempt that fails, leads to another one at once, once", async () => {
  const world = await World.open({ keepalive: 100, reconnect: { minDelay: 1_000_000, maxDelay: 1_000_000 } });
  world.hint!();
  await world.clock.advance(100);
  world.broker.break();
  await world.clock.advance(0);
  assertEquals([world.transports.length, world.client.status.type], [2, "connecting"]);
  world.hint!();
  world.broker.break();
  await world.clock.advance(0);
  assertEquals([world.transports.length, world.client.status.type], [3, "connecting"]);
  world.broker.break();
  await world.clock.advance(100_000);
  assertEquals([world.transports.length, world.client.status.type], [3, "waiting"]);

  world.hint!();
  await world.clock.advance(0);
  world.broker.send(CONNACK);
  await world.clock.settle();
  world.hint!();
  await world.clock.advance(0);
  world.broker.send(PINGRESP);
  await world.clock.advance(15_000); // it lives: what comes later is nothing to do with it
  world.broker.break();
  await world.clock.advance(100_000);
  assertEquals([world.transports.length, world.client.status.type], [4, "waiting"]);
});

test("hint: without a keep alive nothing is sent", async () => {
  const world = await World.open({ keepalive: 0 });
  world.hint!();
  await world.clock.advance(1_000_000);
  assertEquals(world.broker.said(), []);
});

test("hint: an attempt that is under way goes on", async () => {
  const world = await World.open({ reconnect: true });
  let opened = () => {};
  world.dial = () => new Promise((resolve) => opened = () => resolve(world.add(new FakeTransport())));
  world.broker.break();
  await world.clock.advance(1000);
  for (let i = 0; i < 3; i++) world.hint!();
  await world.clock.advance(0);
  assertEquals([world.signals.length, world.client.status.type], [2, "connecting"]);
  opened();
  await world.clock.settle();
  world.broker.send(CONNACK);
  await world.clock.settle();
  assertEquals(world.client.status.type, "connected");
});

test("hint: nothing hears them after the end", async () => {
  const world = await World.open();
  assert(world.hint !== undefined);
  const left = world.client.disconnect();
  await world.clock.advance(1000);
  world.broker.break();
  await left;
  assertEquals(world.hint, undefined);
  await world.over("disconnect");
});

test("[MQTT-3.1.2-24] timers once a minute: pings at half of the keep alive of a page keep its connection", async () => {
  const KEEPALIVE = 120, MINUTE = 60_000;
  for (let second = 0; second < 60; second += 7) {
    // A page's settings: the broker knows of 120 s, and a ping is due after 60.
    const world = await World.open({ keepalive: KEEPALIVE / 2 });
    await world.clock.advance(second * 1000);
    const { clock } = world, wait = clock.wait.bind(clock);
    clock.wait = (callback, milliseconds) => {
      const ring = Math.ceil((clock.now() + milliseconds) / MINUTE) * MINUTE;
      return wait(callback, ring - clock.now());
    };
    world.client.publish("t", "x"); // it sets its timer anew when it rings
    await clock.settle();
    let last = clock.now(), longest = 0;
    for (let i = 0; i < 3600; i++) {
      await clock.advance(1000);
      if (!world.broker.said().includes("PINGREQ")) continue;
      longest = Math.max(longest, clock.now() - last);
      last = clock.now();
      world.broker.send(PINGRESP);
      await clock.settle();
    }
    assertEquals(world.client.status.type, "connected");
    assertLess(longest, 1.5 * KEEPALIVE * 1000);
    assertLess(clock.now() - last, 1.5 * KEEPALIVE * 1000);
  }
});

test("timers once a minute: none is set while another one rings, which would make it late in a tab in the background", async () => {
  const world = await World.open({ keepalive: 10, reconnect: true });
  const { clock } = world, wait = clock.wait.bind(clock);
  let isRinging = false, rings = 0, nested = 0;
  clock.wait = (callback, milliseconds) => {
    if (isRinging) nested++;
    return wait(() => {
      rings++;
      isRinging = true;
      callback();
      isRinging = false;
    }, milliseconds);
  };
  for (let i = 0; i < 10; i++) {
    await clock.advance(10_000);
    assertEquals(world.broker.said(), ["PINGREQ"]);
    world.broker.send(PINGRESP);
  }
  world.broker.break(); // and then attempts that hang, and are given up
  await clock.advance(100_000);
  assert(rings > 20 && world.transports.length > 3);
  assertEquals(nested, 0);
});
