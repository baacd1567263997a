/** `mqtt3c doctor`: goes the way of a message, step by step, and says what stops it. */
import type { Buffer } from "node:buffer";
import { lookup } from "node:dns/promises";
import { isIP } from "node:net";
import { type Client, connect, type ConnectOptions, type Limits, type Message, MqttError } from "../mod.ts";
import { connectOptions, place, versionName } from "./connection.ts";
import {
  clientCertificate,
  type Diagnosis,
  distrusted,
  failedOn,
  handshakeFailed,
  noWebSocket,
  refused,
  SPEAKS,
  unproxied,
  unreached,
  unresolved,
  unspoken,
} from "./diagnosis.ts";
import { CommandError, EXIT } from "./errors.ts";
import type { Values } from "./options.ts";
import { disconnectProperties } from "./properties.ts";
import { handshake, type Host, NoAnswer, reach, spoken } from "./probes.ts";
import { type Colour, coloured, grouped } from "./terminal.ts";

/** One step as it is told. */
interface Step {
  step: string;
  result: "ok" | "note" | "failed";
  milliseconds: number;
  detail: string;
}

/** Ends the examination: what is wrong was found. */
class Found extends Error {
  readonly diagnosis: Diagnosis;

  constructor(diagnosis: Diagnosis) {
    super(diagnosis.meaning);
    this.diagnosis = diagnosis;
  }
}

/** Where the broker is, as the steps need it. */
interface Target {
  host: string;
  port: number;
  path: string | undefined;
  isSecure: boolean;
  isWebSocket: boolean;
}

/** Ports that are meant where none is given. */
const PORTS: Record<string, number> = {
  mqtts: 8883,
  ssl: 8883,
  tls: 8883,
  ws: 80,
  wss: 443,
  http: 80,
  socks5: 1080,
  socks5h: 1080,
};

/** @throws {CommandError} If it is no address; it may hold a password, so it is not repeated. */
function target(address: string, port?: number, tls = false): Target {
  const isUrl = /^[a-z][a-z0-9+]*:\/\//i.test(address);
  const text = isUrl ? address : `mqtt://${isIP(address) === 6 ? `[${address}]` : address}`;
  const scheme = text.split(":", 1)[0]!.toLowerCase();
  const standard = text.replace(/^[^:]+/, "mqtt");
  if (!URL.canParse(standard)) {
    throw new CommandError(
      "Cannot use the address: it must be host, host:port or a URL; percent-encode # / ? @ and % in user name and password",
    );
  }
  const url = new URL(standard);
  return {
    host: url.hostname.replace(/^\[|\]$/g, ""),
    port: port ?? (Number(url.port) || (PORTS[scheme] ?? (tls ? 8883 : 1883))),
    path: scheme.endsWith("unix") ? decodeURIComponent(url.pathname) : undefined,
    isSecure: tls || /^(mqtts|ssl|tls|wss)$/.test(scheme),
    isWebSocket: scheme.startsWith("ws"),
  };
}

/** Whether a failure may be that of a broker which does not know the version: some say so, and some just close. */
function isUnspoken({ code }: MqttError): boolean {
  return code === 1 || code === 132 || code === "socketclosed";
}

function hasUser(values: Values, options: ConnectOptions): boolean {
  return options.uname !== undefined || /\/\/[^/]+@/.test(place(values).address);
}

/** The longest packet of the protocol, in bytes: to say so is to have no limit. */
const LONGEST = 268_435_460;

/** What a broker takes, and then what it does not. */
function limitsText(limits: Limits): string {
  const { maxQoS, receiveMaximum, maxPacketSize, topicAliases, keepalive, reason } = limits;
  const missing = [
    limits.retain ? [] : "retained messages",
    limits.wildcards ? [] : "wildcards",
    limits.shared ? [] : "shared subscriptions",
    limits.subscriptionIds ? [] : "subscription identifiers",
  ].flat();
  return [
    `QoS ${maxQoS}`,
    `${grouped(receiveMaximum)} in flight`,
    maxPacketSize < LONGEST ? `packets of ${grouped(maxPacketSize)} bytes` : "packets of any size",
    `${grouped(topicAliases)} topic aliases`,
    `keep alive ${keepalive} s`,
    ...missing.length > 0 ? [`no ${missing.join(", no ")}`] : [],
    ...reason === undefined ? [] : [`says ${JSON.stringify(reason)}`],
  ].join(", ");
}

/** Resolves to the exit status, which is that of what is wrong; the steps and the verdict are on standard output. */
export async function doctor(values: Values, interrupted: Promise<number>): Promise<number> {
  const json = values.is("json"), steps: Step[] = [];
  const tell = (step: Step) => {
    steps.push(step);
    if (!json) print(step);
  };
  const { address } = place(values), shown = address.replace(/^([a-z0-9+]+:\/\/)?.*@/is, "$1");
  if (!json) console.log(`mqtt3c doctor: ${shown}\n`);
  const examination = new Examination(values, tell);
  const examined = examination.run().then(() => undefined, (error) => {
    if (error instanceof Found) return error.diagnosis;
    throw error;
  });
  const found = await Promise.race([examined, interrupted]);
  if (typeof found === "number") return found;
  if (json) {
    const { versions, limits } = examination, ok = found === undefined;
    console.log(JSON.stringify({ address: shown, ok, versions, limits, steps, ...found && { diagnosis: found } }));
  } else if (found === undefined) {
    console.log(coloured("\nhealthy: all steps are done; this client can subscribe and publish", "green", 1));
  } else console.log(coloured(`\n${found.verdict}: ${found.meaning}; ${found.advice}`, "red", 1));
  return found?.status ?? EXIT.done;
}

function print({ step, result, milliseconds, detail }: Step): void {
  const colours: Record<Step["result"], Colour> = { ok: "green", note: "yellow", failed: "red" };
  const time = `${milliseconds.toFixed(milliseconds < 10 ? 1 : 0)} ms`;
  console.log(`  ${coloured(result.padEnd(6), colours[result], 1)} ${step.padEnd(12)} ${time.padStart(8)}  ${detail}`);
}

class Examination {
  readonly #values: Values;
  readonly #tell: (step: Step) => void;
  readonly #timeout: number;
  /** Those that the broker accepts. */
  readonly versions: (4 | 5)[] = [];
  /** Whether a WebSocket was opened: which is told once. */
  #isUpgraded = false;
  /** What it says of MQTT 5 that it can do. */
  limits: Limits | undefined;

  constructor(values: Values, tell: (step: Step) => void) {
    this.#values = values;
    this.#tell = tell;
    this.#timeout = values.milliseconds("timeout") ?? 5000;
  }

  /** A step: what it resolves to is told, with its time; so is what ends it. */
  async #step(
    step: string,
    act: () => Promise<{ detail: string; result?: Step["result"] }>,
    explain: (error: unknown) => Diagnosis | Promise<Diagnosis>,
  ): Promise<void> {
    const began = performance.now();
    const done = (result: Step["result"], detail: string) =>
      this.#tell({ step, result, milliseconds: Math.round(10 * (performance.now() - began)) / 10, detail });
    try {
      const { detail, result = "ok" } = await act();
      done(result, detail);
    } catch (error) {
      if (error instanceof TypeError || error instanceof RangeError) throw error; // a wrong argument is no finding
      const found = error instanceof Found ? error.diagnosis : await explain(error);
      done("failed", found.meaning);
      throw new Found(found);
    }
  }

  async run(): Promise<void> {
    const values = this.#values;
    const options = { ...await connectOptions(values), reconnect: false, offline: false, timeout: this.#timeout };
    const to = target(place(values).address, options.port, options.tls !== undefined);
    const proxy = values.text("proxy");
    const first = proxy === undefined ? to : target(proxy);
    const addresses = await this.#resolve(first);
    const reached = await this.#reach(first, addresses);
    if (to.isSecure && proxy === undefined) await this.#handshake(to, reached, options);
    const mqtt = await this.#versions(to, options, reached, proxy !== undefined);
    mqtt.run();
    try {
      await this.#messages(mqtt);
    } finally {
      await this.#leave(mqtt);
    }
  }

  async #resolve({ host, path }: Target): Promise<string[]> {
    if (path !== undefined || isIP(host) !== 0) return [host];
    let addresses: string[] = [];
    await this.#step("name", async () => {
      addresses = (await this.#inTime(lookup(host, { all: true }))).map(({ address }) => address);
      return { detail: `${host} is ${addresses.join(", ")}` };
    }, (error) => unresolved(host, error));
    return addresses;
  }

  /** Resolves to an address that accepts connections. */
  async #reach({ port, path }: Target, addresses: string[]): Promise<string> {
    const hosts: Host[] = path === undefined ? addresses.map((host) => ({ host, port })) : [{ path }];
    const shown = (host: Host) =>
      "path" in host ? host.path : isIP(host.host) === 6 ? `[${host.host}]:${port}` : `${host.host}:${port}`;
    let reached = "";
    await this.#step(path === undefined ? "tcp" : "unix", async () => {
      const errors = await Promise.all(
        hosts.map((host) => reach(host, this.#timeout).then(() => undefined, (error) => error)),
      );
      const which = errors.findIndex((error) => error === undefined);
      if (which < 0) throw new Found(unreached(hosts.map(shown).join(", "), errors[0]));
      reached = addresses[which]!;
      const lost = errors.flatMap((error, i) =>
        error === undefined ? [] : [unreached(shown(hosts[i]!), error).meaning]
      );
      const open = hosts.filter((_, i) => errors[i] === undefined).map(shown).join(", ");
      return { detail: [open, ...lost].join("; "), ...lost.length && { result: "note" as const } };
    }, (error) => unreached(shown(hosts[0]!), error));
    return reached;
  }

  async #handshake(to: Target, host: string, options: ConnectOptions): Promise<void> {
    const { ca, cert, key } = typeof options.tls === "object" ? options.tls : {};
    const at = { host, port: to.port };
    await this.#step("tls", async () => {
      const servername = isIP(to.host) === 0 ? { servername: to.host } : {};
      const shown = await handshake(at, to.host, this.#timeout, {
        ...servername,
        ...ca !== undefined && { ca: ca as Buffer },
        ...cert !== undefined && { cert: cert as Buffer },
        ...key !== undefined && { key: key as Buffer },
      });
      const problem = distrusted(shown, to.host, ca !== undefined);
      if (problem !== undefined && !this.#values.is("insecure")) throw new Found(problem);
      const until = shown.to.toISOString().slice(0, 10);
      const detail = `${shown.protocol}, ${shown.names.join(", ") || shown.subject}, from ${
        shown.chain.join(" from ")
      }, until ${until}`;
      return problem === undefined
        ? { detail }
        : { detail: `${detail}; not trusted: ${problem.meaning}`, result: "note" };
    }, async (error) => {
      const instead = await spoken(at, this.#timeout);
      if (instead === "http" && to.isWebSocket) return SPEAKS.ws;
      if (instead === "mqtt" || instead === "http") return SPEAKS[instead];
      return handshakeFailed(error, cert !== undefined);
    });
  }

  /**
   * Tries the versions that are asked for: the older one first, which nearly every broker speaks. Resolves to the client of
   * the newest that is spoken, which can say more of what goes wrong.
   */
  async #versions(to: Target, options: ConnectOptions, host: string, isProxied: boolean): Promise<Client> {
    const asked = this.#values.text("protocol-version") === undefined && this.#values.of5.length === 0
      ? [4, 5] as const
      : [options.version === "auto" ? 5 : options.version ?? 4];
    const about = { to, host, isProxied, hasUser: hasUser(this.#values, options) };
    let mqtt: Client | undefined, isKnown = false;
    for (const version of asked) {
      // Two connections at once with one identifier would push each other out.
      if (mqtt !== undefined) await this.#leave(mqtt);
      mqtt = undefined;
      await this.#step(versionName(version), async () => {
        try {
          mqtt = await this.#connect(to, { ...options, version });
        } catch (error) {
          // Where one version is spoken, or another may be, this is no reason to end.
          const isNote = error instanceof MqttError && (isKnown || version !== asked.at(-1) && isUnspoken(error));
          if (!isNote) throw error;
          return { detail: unspoken(error), result: "note" };
        }
        isKnown = true;
        this.versions.push(version);
        if (version === 5) this.limits = mqtt.limits;
        const user = options.uname === undefined ? ", without a user name" : "";
        return { detail: `accepted${user}${version === 5 ? `; takes ${limitsText(mqtt.limits!)}` : ""}` };
      }, (error) => this.#refused(error, about));
    }
    return mqtt ?? await this.#connect(to, { ...options, version: 4 });
  }

  /** Opens a connection; when it is a WebSocket, that is a step of its own. */
  async #connect(to: Target, options: ConnectOptions): Promise<Client> {
    const began = performance.now();
    return await connect(place(this.#values).address, undefined, {
      ...options,
      trace: ({ type, time }) => {
        if (type !== "CONNECT" || !to.isWebSocket || this.#isUpgraded) return;
        this.#isUpgraded = true;
        const milliseconds = Math.round(10 * (time - began)) / 10;
        this.#tell({ step: "websocket", result: "ok", milliseconds, detail: "upgraded" });
      },
    });
  }

  /** What it means that no connection was accepted. */
  async #refused(
    error: unknown,
    { to, host, isProxied, hasUser }: { to: Target; host: string; isProxied: boolean; hasUser: boolean },
  ): Promise<Diagnosis> {
    if (!(error instanceof MqttError)) throw error;
    if (error.code === "proxy") return unproxied(error);
    if (to.isWebSocket && !this.#isUpgraded) {
      const instead = to.isSecure || isProxied ? undefined : await spoken({ host, port: to.port }, this.#timeout);
      return instead === "tls" ? SPEAKS.tls : noWebSocket(error);
    }
    if (
      to.isSecure &&
      (error.code === "tls" || error.code === "socketclosed" && /alert|certificate/i.test(error.message))
    ) return clientCertificate(this.#values.text("cert") !== undefined);
    if (typeof error.code === "string" && !to.isSecure && !isProxied && to.path === undefined) {
      const instead = await spoken({ host, port: to.port }, this.#timeout);
      if (instead === "tls" || instead === "http") return SPEAKS[instead];
    }
    return refused(error, hasUser);
  }

  async #leave(mqtt: Client): Promise<void> {
    const { status } = mqtt;
    // The connection may be lost, which is told already.
    const is5 = status.type === "connected" && status.version === 5;
    await mqtt.disconnect(is5 ? disconnectProperties(this.#values) : {}).catch((error) => {
      if (!(error instanceof MqttError)) throw error;
    });
  }

  async #messages(mqtt: Client): Promise<void> {
    const topic = this.#values.text("topic") ?? `mqtt3c/doctor/${Math.random().toString(36).slice(2, 10)}`;
    let came: (message: Message) => void = () => {};
    const onpub = (_: string, message: Message) => came(message);
    let granted = 2;
    await this.#step("subscribe", async () => {
      granted = await mqtt.subscribe(topic, { qos: 2, onpub });
      return granted === 2
        ? { detail: `${topic}, QoS 2` }
        : { detail: `${topic}, no more than QoS ${granted} is granted`, result: "note" };
    }, (error) => failedOn("subscribe", topic, error));
    const { maxQoS = 2, retain = true } = this.limits ?? {};
    // 1 first: of what is refused, MQTT 5 has a reason there, and for a message of QoS 0 none (mosquitto 2.0.11 just closes).
    for (const qos of [1, 0, 2] as const) {
      await this.#step(`QoS ${qos}`, async () => {
        if (qos > maxQoS) return { detail: "the broker does not take it, it says", result: "note" };
        const text = `mqtt3c doctor ${qos}`;
        const back = new Promise<void>((resolve) => came = (message) => message.text() === text && resolve());
        const published = mqtt.publish(topic, text, { qos });
        await this.#inTime(Promise.race([back, published.then(() => back)]));
        const isAcknowledged = await this.#inTime(published).then(() => true, (error) => {
          if (error instanceof NoAnswer) return false;
          throw error;
        });
        return isAcknowledged
          ? { detail: "published, and back" }
          : { detail: "back, but not acknowledged: do not publish at this QoS here", result: "note" };
      }, (error) => failedOn("publish", topic, error));
    }
    // On a topic of somebody's there may be a retained message, which stays as it is.
    if (this.#values.text("topic") !== undefined) return;
    await this.#step("retained", async () => {
      if (!retain) return { detail: "the broker does not keep retained messages, it says", result: "note" };
      await mqtt.unsubscribe(topic);
      await mqtt.publish(topic, "retained", { qos: Math.min(granted, 1) as 0 | 1, retain: true });
      const back = new Promise<boolean>((resolve) => came = (message) => message.retain && resolve(true));
      await mqtt.subscribe(topic, { qos: 1, onpub });
      const isKept = await this.#inTime(back).catch((error) => {
        if (error instanceof NoAnswer) return false;
        throw error;
      });
      await mqtt.publish(topic, "", { retain: true });
      await mqtt.flush();
      return isKept
        ? { detail: "kept, and removed again" }
        : { detail: "the broker does not keep retained messages here", result: "note" };
    }, (error) => failedOn("publish", topic, error));
  }

  /** @throws {NoAnswer} If it takes longer than a step may. */
  async #inTime<T>(promise: Promise<T>): Promise<T> {
    let timer: ReturnType<typeof setTimeout> | undefined;
    const late = new Promise<never>((_, reject) => {
      timer = setTimeout(() => reject(new NoAnswer(`no answer within ${this.#timeout / 1000} s`)), this.#timeout);
    });
    return await Promise.race([promise, late]).finally(() => clearTimeout(timer));
  }
}
