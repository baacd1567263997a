/**
 * Two machines and a line between them: network namespaces of Linux, joined by a pair of virtual interfaces. mosquitto is
 * on the one, the client on the other, as a process of its own; what is done to the line is done by the kernel.
 */
import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { within } from "../client/support.ts";
import { needs, type Process, run, startProcess, which } from "../support/process.ts";
import { command } from "../support/spawn.ts";
import { NetworkClient, type Orders } from "./client.ts";

export type Machine = "broker" | "client";

/** Where mosquitto is, and the client, until it moves. */
export const brokerAddress = "10.77.0.1", clientAddress = "10.77.0.2";
/** The name that the resolver knows; the client's machine asks no other. */
export const brokerName = "broker.test";
/** The interface, on both machines. */
const LINE = "line0";

/** What the resolver says when it is asked for `brokerName`, or says nothing. */
export interface Names {
  /** IPv4 addresses, in this order; none: there is no such name. */
  addresses: string[];
  /** Milliseconds that the answer is late. */
  delay?: number;
}

let labs = 0;

export class Lab {
  readonly #name: string = `mqtt3c-${process.pid}-${++labs}`;
  readonly #folder: string = mkdtempSync(join(tmpdir(), "mqtt3c-network-"));
  readonly #processes: Process[] = [];
  #broker!: Process;
  /** The topics that the broker has brought, in order. */
  readonly received: string[] = [];

  static async open(): Promise<Lab> {
    const lab = new Lab();
    try {
      await lab.#build();
    } catch (error) {
      await lab.close();
      throw error;
    }
    return lab;
  }

  async #build(): Promise<void> {
    const broker = this.#namespace("broker"), client = this.#namespace("client");
    for (const namespace of [broker, client]) await ip("netns", "add", namespace);
    await ip("link", "add", LINE, "netns", broker, "type", "veth", "peer", "name", LINE, "netns", client);
    for (const [machine, address] of [["broker", brokerAddress], ["client", clientAddress]] as const) {
      await this.ip(machine, "addr", "add", `${address}/24`, "dev", LINE);
      await this.ip(machine, "link", "set", LINE, "up");
      await this.ip(machine, "link", "set", "lo", "up");
    }
    // `ip netns exec` shows these instead of those in /etc.
    mkdirSync(this.#etc, { recursive: true });
    writeFileSync(join(this.#etc, "resolv.conf"), "nameserver 127.0.0.1\n");
    writeFileSync(join(this.#etc, "nsswitch.conf"), "hosts: files dns\n");
    const config = join(this.#folder, "mosquitto.conf");
    const lines = ["listener 1883", "allow_anonymous true", "user root", "persistence false", "log_dest stderr"];
    // Without nodelay its acknowledgements wait for those of TCP, and a window takes two round trips.
    writeFileSync(config, [...lines, "log_type all", "max_queued_messages 0", "set_tcp_nodelay true", ""].join("\n"));
    this.#broker = await this.start("broker", which("mosquitto")!, ["-c", config]);
    await this.#broker.output(/ running$/m);
    const args = ["-oL", "mosquitto_sub", "-h", "127.0.0.1", "-i", "subscriber", "-q", "1", "-t", "load/+", "-d"];
    const subscriber = await this.start("broker", which("stdbuf")!, [...args, "-F", "=%t"]);
    subscriber.lines((line) => line.startsWith("=") && this.received.push(line.slice(1)));
    await subscriber.output(/^Subscribed/m);
  }

  #namespace(machine: Machine): string {
    return `${this.#name}-${machine}`;
  }

  get #etc(): string {
    return join("/etc/netns", this.#namespace("client"));
  }

  /** Starts a program on a machine. */
  async start(machine: Machine, program: string, args: string[]): Promise<Process> {
    const started = await startProcess(which("ip")!, ["netns", "exec", this.#namespace(machine), program, ...args]);
    this.#processes.push(started);
    return started;
  }

  /** Starts a client that publishes, as `child.ts` does. */
  async client(orders: Orders): Promise<NetworkClient> {
    return new NetworkClient(
      await this.start("client", ...command("tests/network/child.ts", [JSON.stringify(orders)])),
      orders,
    );
  }

  /** Starts a proxy beside the broker, which gives on everything so many milliseconds later; to where it listens. */
  async slowLine(delay: number): Promise<{ address: string; reset(): void }> {
    const proxy = await this.start("broker", ...command("tests/network/slow_line.ts", [`${delay}`]));
    const [, port] = await proxy.output(/^port (\d+)$/m);
    return { address: `${brokerAddress}:${port}`, reset: () => proxy.kill("SIGHUP") };
  }

  /** Starts the resolver of the client's machine. */
  async resolver(names: Names): Promise<void> {
    this.names(names);
    const resolver = await this.start("client", ...command("tests/network/resolver.ts", [this.#namesFile, brokerName]));
    await resolver.output(/^ready$/m);
  }

  /** What the resolver says from now on. */
  names(names: Names): void {
    writeFileSync(`${this.#namesFile}.new`, JSON.stringify(names));
    renameSync(`${this.#namesFile}.new`, this.#namesFile); // it is read at any time
  }

  get #namesFile(): string {
    return join(this.#folder, "names.json");
  }

  /** Changes addresses and interfaces of a machine. */
  async ip(machine: Machine, ...args: string[]): Promise<void> {
    await ip("-n", this.#namespace(machine), ...args);
  }

  /** Pulls the cable out of a machine, or puts it back. */
  cable(machine: Machine, state: "up" | "down"): Promise<void> {
    return this.ip(machine, "link", "set", LINE, state);
  }

  /** Gives the client's machine another address. */
  async move(address: string): Promise<void> {
    await this.ip("client", "addr", "del", `${clientAddress}/24`, "dev", LINE);
    await this.ip("client", "addr", "add", `${address}/24`, "dev", LINE);
  }

  /** Loses what comes to either machine over the line: all of it, or with a probability. */
  async lose(probability = 1): Promise<void> {
    const some = ["-m", "statistic", "--mode", "random", "--probability", `${probability}`];
    for (const machine of ["broker", "client"] as const) {
      await this.#filter(machine, "-A", "INPUT", "-i", LINE, ...probability < 1 ? some : [], "-j", "DROP");
    }
  }

  /** Loses nothing any more; to how many packets were lost. */
  async heal(): Promise<number> {
    let lost = 0;
    for (const machine of ["broker", "client"] as const) {
      const rules = await this.#filter(machine, "-v", "-S", "INPUT");
      for (const [, packets] of rules.matchAll(/-c (\d+) \d+ -j DROP/g)) lost += Number(packets);
      await this.#filter(machine, "-F", "INPUT");
    }
    return lost;
  }

  /** Answers the next packet of the client's present connection with a reset. */
  async reset(): Promise<void> {
    const ports = [...this.#broker.stderr().matchAll(/New client connected from [\d.]+:(\d+) as publisher/g)];
    const port = ports.at(-1)![1]!;
    const match = ["-p", "tcp", "--sport", port, "--dport", "1883"];
    await this.#filter("broker", "-A", "INPUT", ...match, "-j", "REJECT", "--reject-with", "tcp-reset");
  }

  #filter(machine: Machine, ...args: string[]): Promise<string> {
    return ip("netns", "exec", this.#namespace(machine), which("iptables")!, "-w", ...args);
  }

  /** Waits until the broker has brought all of these. */
  async arrived(topics: readonly string[]): Promise<void> {
    const missing = new Set(topics);
    let seen = 0;
    const coming = (async () => {
      for (;; await new Promise((resolve) => setTimeout(resolve, 10))) {
        for (; seen < this.received.length; seen++) missing.delete(this.received[seen]!);
        if (missing.size === 0) return;
      }
    })();
    await within(coming, `${topics.length} messages`).catch((error: Error) => {
      throw new Error(`${error.message}: ${[...missing].slice(0, 5)} and others of ${missing.size} are missing`);
    });
  }

  /** Waits until the broker has written that down. */
  async logged(pattern: RegExp): Promise<void> {
    await this.#broker.output(pattern);
  }

  /** What the broker wrote down of connections. */
  get log(): string {
    return this.#broker.stderr().split("\n").filter((line) => /client|socket/i.test(line)).slice(-20).join("\n");
  }

  async close(): Promise<void> {
    for (const each of this.#processes.reverse()) await each.stop();
    for (const machine of ["broker", "client"] as const) {
      const { code, stderr } = await run(which("ip")!, ["netns", "del", this.#namespace(machine)]);
      if (code !== 0 && !stderr.includes("No such file")) throw new Error(stderr);
    }
    rmSync(this.#etc, { recursive: true, force: true });
    rmSync(this.#folder, { recursive: true });
  }
}

/** Runs `ip`; to what it prints. */
async function ip(...args: string[]): Promise<string> {
  const { code, stdout, stderr } = await run(which("ip")!, args);
  if (code !== 0) throw new Error(`ip ${args.join(" ")}: ${stdout}${stderr}`);
  return stdout;
}

/** The option of a test that needs a lab; in CI it fails without one. */
export function needsLab(): { skip?: string } {
  const tools = needs("ip", "iptables", "mosquitto", "mosquitto_sub", "stdbuf");
  if (tools.skip !== undefined || process.env["CI"]) return tools;
  const name = `mqtt3c-${process.pid}-0`;
  try {
    for (const action of ["add", "del"]) execFileSync(which("ip")!, ["netns", action, name], { stdio: "pipe" });
    return {};
  } catch {
    return { skip: "needs root, who may make network namespaces" };
  }
}
