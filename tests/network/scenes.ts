/**
 * What happens to lines and machines, one scene each. A client publishes at QoS 1 all the while: it comes back by itself,
 * tells what it tells in order, and each message arrives, in order as far as QoS 1 has one.
 */
import { assert, assertEquals, assertGreater, assertGreaterOrEqual, assertLess } from "@std/assert";
import type { NetworkClient, Orders } from "./client.ts";
import { brokerAddress, brokerName, Lab, type Names } from "./lab.ts";

export type Mode = Orders["mode"];

interface Scene {
  /** Besides those that all have. */
  op?: { keepalive: number; timeout: number };
  interval?: number;
  burst?: number;
  /** Prepares the lab; to where the client is to connect. */
  prepare?(lab: Lab): Promise<string>;
  /** From a client that is connected and publishes to one that is again; to what is said of it. */
  act(lab: Lab, client: NetworkClient): Promise<unknown>;
}

const sleep = (milliseconds: number) => new Promise((resolve) => setTimeout(resolve, milliseconds));
/**
 * Nobody has these addresses: what is sent to them is lost. The one is nearer to the client's than the broker's is, the
 * other one farther: systems try those first, or these, whatever the resolver's order is.
 */
const DEAD = ["10.77.0.3", "10.77.0.66"];
/** The client's, on another network. */
const MOVED = "10.77.0.4";

/** Something happens, and so many attempts fail; then it ends, and the client comes back. */
async function during(
  client: NetworkClient,
  { begin, failures, end }: { begin(): Promise<unknown>; failures: number; end(): Promise<unknown> },
): Promise<unknown[]> {
  const from = client.statuses.length;
  await begin();
  await client.failed(from, failures);
  await end();
  await client.connected(from);
  return client.codes(from);
}

/** Those codes, the first by itself. */
function assertCodes(codes: unknown[], first: unknown[], others: unknown[]): void {
  assert(first.includes(codes[0]), `the connection ended with ${codes[0]}`);
  assertEquals(codes.slice(1).filter((code) => !others.includes(code)), [], "of the attempts");
}

/** The resolver is right until the client is connected; then it says other things, and the connection is reset. */
function named(timeout: number, act: Scene["act"]): Scene {
  return {
    op: { keepalive: 5, timeout },
    async prepare(lab) {
      await lab.resolver({ addresses: [brokerAddress] });
      return brokerName;
    },
    act,
  };
}

const right: Names = { addresses: [brokerAddress] };

export const groups: Record<string, Record<string, Scene>> = {
  "a cable": {
    "is pulled out of the broker, and put back": {
      async act(lab, client) {
        const codes = await during(client, {
          begin: () => lab.cable("broker", "down"),
          failures: 3,
          end: () => lab.cable("broker", "up"),
        });
        assertCodes(codes, ["pingresp"], ["timeout", "cannotconnect"]);
      },
    },
    "is pulled out of the client, and put back": {
      async act(lab, client) {
        const codes = await during(client, {
          begin: () => lab.cable("client", "down"),
          failures: 5,
          end: () => lab.cable("client", "up"),
        });
        assertCodes(codes, ["pingresp", "socketclosed"], ["timeout", "cannotconnect"]);
      },
    },
    "goes to another network: the client has another address": {
      async act(lab, client) {
        const codes = await during(client, {
          begin: () => lab.move(MOVED),
          failures: 1,
          end: () => Promise.resolve(),
        });
        assertCodes(codes, ["pingresp", "socketclosed"], ["timeout", "cannotconnect"]);
        assert(lab.log.includes(`from ${MOVED}`), lab.log);
      },
    },
  },

  "a line": {
    "loses a fifth of what it carries, each way": {
      op: { keepalive: 5, timeout: 10_000 },
      interval: 5,
      async act(lab, client) {
        await lab.lose(0.2);
        await client.more(200, 60_000);
        const from = client.statuses.length;
        await lab.reset();
        await client.connected(from);
        await client.more(200, 60_000);
        const lost = await lab.heal();
        assertGreater(lost, 20);
        return `${lost} packets were lost`;
      },
    },
    "takes 15 ms each way, and is cut": {
      burst: 2000,
      async prepare(lab) {
        const { address, reset } = await lab.slowLine(15);
        resets.set(lab, reset);
        return address;
      },
      async act(lab, client) {
        const connected = client.statuses.at(-1)!.at;
        assertGreaterOrEqual(client.acknowledgedAt[0]! - connected, 28); // timers ring up to 1 ms early
        // In the middle of it, with a window on its way.
        await client.until(() => client.acknowledged.length >= 500, "500 acknowledgements");
        const from = client.statuses.length;
        resets.get(lab)!();
        await client.connected(from);
        await client.until(() => client.acknowledged.length >= 2000, "2,000 acknowledgements");
        const taken = client.acknowledgedAt[1999]! - connected;
        // One at a time they took a minute, a hundred at a time 0.6 s; the connection that is made anew comes on top.
        assertLess(taken, 6000);
        return `2,000 messages in ${Math.round(taken)} ms`;
      },
    },
    "is half-open for longer than the keep alive": {
      async act(lab, client) {
        const lost = client.statuses.length, before = client.acknowledgedAt.at(-1)!;
        const codes = await during(client, { begin: () => lab.lose(), failures: 3, end: () => lab.heal() });
        assertCodes(codes, ["pingresp"], ["timeout"]);
        // Each two keep alives it is looked whether a byte has come: PINGREQ goes out less than four after the last one,
        // although the client sends all the time, and PINGRESP is due within another one.
        assertLess(client.statuses[lost]!.at - before, 6500);
      },
    },
    "is half-open, and whole again before the keep alive is over: the connection lives": {
      op: { keepalive: 4, timeout: 10_000 },
      async act(lab, client) {
        const from = client.statuses.length;
        await lab.lose();
        await sleep(1500);
        await lab.heal();
        await client.more(10);
        assertEquals(client.statuses.length, from, client.show());
      },
    },
  },

  "the name of the broker": {
    "is answered late: that is waited for": named(8000, async (lab, client) => {
      lab.names({ ...right, delay: 2000 });
      const from = client.statuses.length;
      await lab.reset();
      await client.connected(from);
      const [code, ...others] = client.codes(from);
      assertEquals([code, others], ["socketclosed", []], client.show());
      const [, connecting, connected] = client.statuses.slice(from);
      assertGreaterOrEqual(connected!.at - connecting!.at, 1990);
    }),
    "is answered too late: timeout, as long as that goes on": named(1000, async (lab, client) => {
      lab.names({ ...right, delay: 3000 });
      const codes = await during(client, {
        begin: () => lab.reset(),
        failures: 3,
        end: () => Promise.resolve(lab.names(right)),
      });
      assertCodes(codes, ["socketclosed"], ["timeout"]);
      for (const [i, { type, at }] of client.statuses.entries()) {
        const next = client.statuses[i + 1];
        if (type === "connecting" && next) assertLess(next.at - at, 2000, client.show());
      }
    }),
    "is said not to exist, and then it does: cannotresolve": named(5000, async (lab, client) => {
      lab.names({ addresses: [] });
      const codes = await during(client, {
        begin: () => lab.reset(),
        failures: 4,
        end: () => Promise.resolve(lab.names(right)),
      });
      assertCodes(codes, ["socketclosed"], ["cannotresolve"]);
    }),
    "has dead addresses, and then a live one": named(1000, async (lab, client) => {
      lab.names({ addresses: DEAD });
      const codes = await during(client, {
        begin: () => lab.reset(),
        failures: 3,
        end: () => Promise.resolve(lab.names(right)),
      });
      assertCodes(codes, ["socketclosed"], ["timeout"]);
    }),
    "has dead addresses before a live one: the first attempt finds it": named(5000, async (lab, client) => {
      lab.names({ addresses: [...DEAD, brokerAddress] });
      const from = client.statuses.length;
      await lab.reset();
      await client.connected(from);
      assertEquals(client.codes(from), ["socketclosed"], client.show());
      const [, connecting, connected] = client.statuses.slice(from);
      assertGreater(connected!.at - connecting!.at, 200, "a dead one was tried");
      return `found after ${Math.round(connected!.at - connecting!.at)} ms`;
    }),
    "is unknown, or not answered, at the first attempt: connect() says so in time": named(5000, async (lab, client) => {
      const answers: [Names, string][] = [
        [{ addresses: [] }, "cannotresolve"],
        [{ ...right, delay: 60_000 }, "timeout"],
      ];
      for (const [names, code] of answers) {
        lab.names(names);
        const orders = { ...client.orders, op: { ...client.orders.op, id: "other", timeout: 1500 } };
        const other = await lab.client(orders);
        await other.until(() => other.rejected !== undefined, "connect() is rejected");
        assertEquals(other.rejected!.code, code);
        assertLess(other.rejected!.after, 3000);
        await other.process.stop();
      }
      lab.names(right);
    }),
  },

  "a machine": {
    "is suspended for longer than keep alive and timeout": {
      async act(lab, client) {
        const from = client.statuses.length;
        client.process.kill("SIGSTOP");
        await lab.logged(/publisher has exceeded timeout/); // mosquitto looks each five seconds
        await sleep(1000);
        client.process.kill("SIGCONT");
        await client.connected(from);
        assertCodes(client.codes(from), ["socketclosed", "pingresp"], []);
      },
    },
    "is suspended while an attempt is under way, and awakes on a line that is whole": {
      async act(lab, client) {
        const from = client.statuses.length;
        await lab.lose();
        const isTrying = () => client.statuses.length > from && client.statuses.at(-1)!.type === "connecting";
        await client.until(isTrying, "an attempt");
        client.process.kill("SIGSTOP");
        await sleep(4000);
        await lab.heal();
        client.process.kill("SIGCONT");
        await client.connected(from);
        assertCodes(client.codes(from), ["pingresp"], ["timeout", "cannotconnect"]);
      },
    },
    "is suspended again and again": {
      async act(_lab, client) {
        for (let i = 0; i < 4; i++) {
          client.process.kill("SIGSTOP");
          await sleep(2500);
          client.process.kill("SIGCONT");
          await sleep(500);
        }
        await client.more(20);
        const codes = new Set(client.codes());
        assertEquals([...codes].filter((code) => code !== "socketclosed" && code !== "pingresp"), [], client.show());
      },
    },
  },
};

/** How the slow line of a lab is cut. */
const resets = new WeakMap<Lab, () => void>();

/** Plays one scene; to what is said of it. */
export async function play(name: string, scene: Scene, mode: Mode): Promise<string> {
  const lab = await Lab.open();
  let client: NetworkClient | undefined;
  try {
    const address = await scene.prepare?.(lab) ?? brokerAddress;
    const op = { keepalive: 1, timeout: 1500, ...scene.op, reconnect: { minDelay: 50, maxDelay: 500 } };
    const { interval = 20, burst = 0 } = scene;
    client = await lab.client({ mode, address, op: { ...op, id: "publisher", session: true }, interval, burst });
    await client.more(10);
    const said = await scene.act(lab, client);
    await client.more(10);
    const published = await client.stop();
    client.judge();
    await lab.arrived(Array.from({ length: published }, (_, i) => `load/${i}`));
    assertEquals(firsts(client.acknowledged.map(String)).length, published);
    assertEquals(firsts(lab.received), Array.from({ length: published }, (_, i) => `load/${i}`), "in order");
    const twice = lab.received.length - published;
    return [`${published} messages arrived, ${twice} of them twice`, `told: ${client.codes().join(", ")}`, said]
      .filter(Boolean).join("; ");
  } catch (error) {
    const history = [client?.show(), lab.log].filter(Boolean).join("\n");
    throw new Error(`${name}, ${mode}: ${(error as Error).message}\n${history}`, { cause: error });
  } finally {
    await lab.close();
  }
}

/** Each once, where it came first. */
function firsts(list: readonly string[]): string[] {
  return [...new Set(list)];
}
