/** `addr` as a list and as a function, in each mode. */
import { test } from "node:test";
import { connect as connectTcp } from "node:net";
import { assert, assertEquals, assertInstanceOf, assertMatch, assertStringIncludes } from "@std/assert";
import { connect, connectSync, connectWorker, type MqttError } from "../../mod.ts";
import { atGates, idle, modes, quick } from "./gates.ts";
import { failure } from "./support.ts";

const login = (addr: string, user: string) => `mqtt://${user}@${addr}`;
const later = <T>(act: () => T | Promise<T>): Promise<T> => Promise.resolve().then(act);

for (const [mode, open] of modes) {
  test(`${mode}: a list: each address once and at once, until one accepts; statuses name them`, () =>
    atGates(async (gates) => {
      const dead = `127.0.0.1:${gates.port}`, alive = await gates.broker();
      const mqtt = gates.keep(await open([dead, dead, alive, dead], { onstatus: gates.onstatus, timeout: 5000 }));
      await gates.until(mqtt, () => gates.told("connected").length === 1, "connected");
      const shown = gates.statuses.map((status) =>
        status.type === "connecting"
          ? `${status.attempt} ${status.address}`
          : status.type === "waiting"
          ? status.delay
          : status.type
      );
      assertEquals(shown, [`1 ${dead}`, 0, `2 ${dead}`, 0, `3 ${alive}`, "connected"]);
    }));

  test(`${mode}: a list of which none accepts: the last error, which names all`, () =>
    atGates(async (gates) => {
      const dead = `127.0.0.1:${gates.port}`, refuses = await gates.broker({ answers: [3] });
      const refuses5 = await gates.broker({ answers: [5] });
      for (const reconnect of [false, true]) {
        const error = await failure(later(() => open([refuses5, dead, refuses], { reconnect, timeout: 5000 })));
        assertEquals(error.code, 3);
        assertMatch(error.message, new RegExp(`^None of 3 addresses: ${refuses5}: .*; ${dead}: .*; ${refuses}: .*`));
      }
    }));

  test(`${mode}: the user and password of a URL are that address's alone; those of the options are for all`, () =>
    atGates(async (gates) => {
      const first = await gates.broker({ answers: [3] }), second = await gates.broker({ answers: [3] });
      const third = await gates.broker();
      const list = [login(first, "a:1"), login(second, "b"), third];
      const mqtt = gates.keep(await open(list, { reconnect: quick, onstatus: gates.onstatus }));
      // What a process prints is heard later than what it sends, and that of one later than that of another.
      const connects = (wanted: number[]) =>
        gates.until(mqtt, () => wanted.every((count, i) => gates.said(i, /CONNECT/).length === count), `${wanted}`);
      await connects([1, 1, 1]);
      assertEquals([0, 1, 2].map((i) => gates.said(i)[0]), ["0 CONNECT a 1", "0 CONNECT b -", "0 CONNECT - -"]);
      // In turn after a lost connection, too.
      await mqtt.publish("$drop", "");
      await gates.until(mqtt, () => gates.told("connected").length === 2, "another connection");
      await connects([2, 2, 2]);
      assertEquals([0, 1].map((i) => gates.said(i)[1]), ["1 CONNECT a 1", "1 CONNECT b -"]);
      assertEquals(gates.said(2, /CONNECT/), ["0 CONNECT - -", "1 CONNECT - -"]);
      gates.keep(await open(list, { uname: () => "u", passwd: "p" }));
      await connects([3, 3, 3]);
      assertEquals([0, 1, 2].map((i) => gates.said(i, /CONNECT/).at(-1)?.slice(2)), Array(3).fill("CONNECT u p"));
    }));

  test(`${mode}: offline, a refusal is final when every address has refused in a row`, () =>
    atGates(async (gates) => {
      const first = await gates.broker({ answers: [5, 5, 5] }), second = await gates.broker({ answers: [3, 4] });
      const mqtt = gates.keep(await open([first, second], { offline: true, reconnect: quick }));
      assertEquals((await mqtt.run()).code, 4);
      await gates.until(mqtt, () => gates.said(0).length === 2 && gates.said(1).length === 2, "what they print");
      assertEquals([gates.said(0).length, gates.said(1).length], [2, 2]);
    }));

  test(`${mode}: a function is asked at every attempt, and its address has its own user`, () =>
    atGates(async (gates) => {
      const broker = await gates.broker(), dead = `127.0.0.1:${gates.port}`;
      const given = [login(broker, "one:1"), dead, login(broker, "two:2")];
      let asked = 0;
      const op = { reconnect: quick, onstatus: gates.onstatus };
      const mqtt = gates.keep(await open(() => given[asked++ % 3]!, op));
      await mqtt.publish("$drop", "");
      await gates.until(mqtt, () => gates.told("connected").length === 2, "another connection");
      await gates.until(mqtt, () => gates.said(0, /CONNECT/).length === 2, "its CONNECT");
      assertEquals([asked, gates.said(0, /CONNECT/)], [3, ["0 CONNECT one 1", "1 CONNECT two 2"]]);
      assertEquals(gates.told("connecting").map(({ address }) => address), [undefined, undefined, undefined]);
      const listed = gates.keep(await open([dead, () => new URL(`mqtt://${broker}`)], {}));
      assertEquals(listed.status.type, "connected");
    }));

  test(`${mode}: a function that throws, or gives what is none, is cannotconnect, and asked again`, () =>
    atGates(async (gates) => {
      const broker = await gates.broker(), secret = new Error("no such record");
      const wrong: [() => unknown, RegExp][] = [
        [() => {
          throw secret;
        }, /^Cannot connect as addr\(\) failed$/],
        [() => undefined, /addr\(\) .* must be .*: received/],
        [() => 42, /received a number/],
        [() => "http://broker", /must be mqtt/],
        [() => "mqtt://u:se@cret/@b", /percent-encode/],
        [() => [broker], /received an array/],
      ];
      for (const [give, message] of wrong) {
        const error = await failure(later(() => open(give as () => string, {})));
        assertEquals(error.code, "cannotconnect");
        assertMatch(error.message, message);
        assertInstanceOf(error.cause, Error);
        assert(!`${error.message} ${(error.cause as Error).message}`.includes("cret"), error.message);
      }
      let asked = 0;
      const give = () => asked++ === 0 ? "nothing at all" : broker;
      const mqtt = gates.keep(await open(give, { offline: true, reconnect: quick, onstatus: gates.onstatus }));
      await gates.until(mqtt, () => mqtt.status.type === "connected", "connected");
      assertEquals([asked, gates.told("waiting").map(({ error }) => error.code)], [2, ["cannotconnect"]]);
    }));

  test(`${mode}: a policy function says when, hears why, and ends it with undefined`, () =>
    atGates(async (gates) => {
      const addr = await gates.broker({ answers: [3, "soon", 3, 0] });
      const heard: string[] = [];
      const reconnect = (attempt: number, error: MqttError) => {
        heard.push(`${attempt} ${error.code}`);
        return heard.length < 4 ? heard.length : undefined;
      };
      const mqtt = gates.keep(await open(addr, { offline: true, reconnect, onstatus: gates.onstatus }));
      await gates.until(mqtt, () => gates.told("connected").length === 2, "connected");
      await mqtt.publish("$drop", "");
      assertEquals((await mqtt.run()).code, "socketclosed");
      assertEquals(heard, ["1 3", "2 socketclosed", "3 3", "4 socketclosed"]);
      assertEquals(gates.told("waiting").map(({ delay }) => delay), [1, 2, 3]);
      assertEquals(gates.told("closed").map(({ error }) => error.code), ["socketclosed"]);
    }));

  test(`${mode}: two clients with one id are told so, after three short connections`, () =>
    atGates(async (gates) => {
      const addr = await gates.broker({ answers: ["soon", "soon", "soon", "soon", 0] });
      const op = { id: "twin", reconnect: quick, onstatus: gates.onstatus };
      const mqtt = gates.keep(await open(addr, op));
      await gates.until(mqtt, () => gates.told("connected").length === 5, "connected");
      const messages = gates.told("waiting").map(({ error }) => error.message.includes('the same id, "twin"'));
      assertEquals(messages, [false, false, true, true]);
    }));
}

for (
  const [mode, open] of [
    ["connectWorker", connectWorker],
    ["connectWorker with a module", (addr, _, op) => connectWorker(addr, idle, op)],
  ] as [string, typeof connectWorker][]
) {
  test(`${mode}: a function may resolve to an address, and gives no connection`, () =>
    atGates(async (gates) => {
      const broker = await gates.broker();
      const mqtt = gates.keep(await open(() => Promise.resolve(login(broker, "later"))));
      assertEquals(mqtt.status.type, "connected");
      const [host, port] = broker.split(":");
      const socket = connectTcp(Number(port), host);
      const error = await failure(open((() => socket) as never));
      assertEquals(error.code, "cannotconnect");
      assertStringIncludes(error.message, "a connection stays in its thread");
      socket.destroy();
    }));
}

test("connectSync: a function that gives a promise is cannotconnect, with advice", async () => {
  const error = await failure(later(() => connectSync((() => Promise.resolve("localhost")) as never)));
  assertEquals(error.code, "cannotconnect");
  assertStringIncludes(error.message, "not a promise");
});

test("connect: a function that opens connections, or resolves to one; reconnect asks for the next", () =>
  atGates(async (gates) => {
    const broker = await gates.broker(), [host, port] = broker.split(":");
    let opened = 0;
    const addr = async () => {
      const socket = connectTcp(Number(port), host);
      await new Promise((resolve) => socket.once("connect", resolve));
      opened++;
      return socket;
    };
    const mqtt = gates.keep(await connect(addr, undefined, { reconnect: quick, onstatus: gates.onstatus }));
    await mqtt.publish("$drop", "");
    await gates.until(mqtt, () => gates.told("connected").length === 2, "another connection");
    assertEquals(opened, 2);
    assertInstanceOf(mqtt.sock, Object);
  }));

test("connect: what an opener gives too late is closed, and so is what cannot be used", () =>
  atGates(async (gates) => {
    const broker = await gates.broker(), [host, port] = broker.split(":");
    const socket = connectTcp(Number(port), host);
    await new Promise((resolve) => socket.once("connect", resolve));
    let give = (_: typeof socket) => {};
    const late = new Promise<typeof socket>((resolve) => give = resolve);
    assertEquals((await failure(connect(() => late, undefined, { timeout: 50 }))).code, "timeout");
    const closed = new Promise((resolve) => socket.once("close", resolve));
    give(socket);
    await closed;
    const other = connectTcp(Number(port), host);
    const gone = new Promise((resolve) => other.once("close", resolve));
    const error = await failure(connect(() => other, undefined, { tls: true }));
    assertEquals(error.code, "cannotconnect");
    await gone;
  }));
