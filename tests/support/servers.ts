/** Real brokers, proxies and clients for the tests, each on a free loopback port. */
import { Aedes, type AedesOptions } from "aedes";
import { Buffer } from "node:buffer";
import { execFileSync } from "node:child_process";
import { existsSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { type AddressInfo, connect, createServer, type Server as NetServer, type Socket } from "node:net";
import type { Duplex } from "node:stream";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { createServer as createTlsServer } from "node:tls";
import { getAvailablePort } from "@std/net";
import { type Certificate, certificates } from "./certificates.ts";
import { patience, type Process, type ProcessOptions, run, startProcess, which } from "./process.ts";

export interface Server {
  port: number;
  stop(): Promise<void>;
}

export interface ServerProcess extends Server {
  pid: number;
  kill(signal: NodeJS.Signals): void;
  exited: Promise<number>;
  log(): string;
}

/** Who may connect where a password is asked for. */
export const credentials = { uname: "user", passwd: "secret" };

export interface MosquittoOptions {
  port?: number;
  /** Only `credentials` may connect. */
  password?: boolean;
  /** `true`: with `certificates().server`. */
  tls?: boolean | Certificate;
  /** Only a client with `certificates().client` may connect; implies `tls`. */
  clientCert?: boolean;
  /** A directory where it keeps sessions and messages: written when it ends, it has them again when it is started again. */
  data?: string;
  /** It writes down nothing but what goes wrong: all the packets of an hour are more than a string can hold. */
  quiet?: boolean;
  /** More lines for mosquitto.conf. */
  config?: string;
}

export async function startMosquitto(options: MosquittoOptions = {}): Promise<ServerProcess> {
  const dir = mkdtempSync(join(tmpdir(), "mqtt3c-mosquitto-"));
  const configFile = join(dir, "mosquitto.conf");
  const passwordFile = join(dir, "passwords");
  const lines = [
    "user root",
    ...options.data === undefined
      ? ["persistence false"]
      : ["persistence true", `persistence_location ${options.data}/`],
    "log_dest stderr",
    ...options.quiet ? ["log_type error", "log_type warning"] : ["log_type all"],
    `allow_anonymous ${!options.password}`,
  ];
  if (options.password) {
    writeFileSync(passwordFile, `${credentials.uname}:${credentials.passwd}\n`);
    execFileSync("mosquitto_passwd", ["-U", passwordFile]);
    lines.push(`password_file ${passwordFile}`);
  }
  if (options.tls || options.clientCert) {
    const { caFile, server } = certificates();
    const { certFile, keyFile } = typeof options.tls === "object" ? options.tls : server;
    lines.push(`cafile ${caFile}`, `certfile ${certFile}`, `keyfile ${keyFile}`);
    if (options.clientCert) lines.push("require_certificate true");
  }
  if (options.config) lines.push(options.config);
  try {
    return await startServer(options.port, "mosquitto", (port) => {
      writeFileSync(configFile, [`listener ${port} 127.0.0.1`, ...lines, ""].join("\n"));
      return ["-c", configFile];
    });
  } finally {
    rmSync(dir, { recursive: true, force: true }); // it has read them
  }
}

/**
 * mosquitto with a WebSocket listener at `port`, and another one of TCP: alone, that of a WebSocket is none to mosquitto 2.0,
 * which ends.
 */
export async function startWebMosquitto(
  { port = freePort(), ...options }: Pick<MosquittoOptions, "port" | "data" | "quiet"> = {},
): Promise<Server & { tcp: number }> {
  const config = `max_queued_messages 0\nlistener ${port} 127.0.0.1\nprotocol websockets`;
  const { port: tcp, kill, exited, stop } = await startMosquitto({ ...options, config });
  await untilAccepts(port);
  return {
    port,
    tcp,
    async stop() {
      if (options.data !== undefined) {
        kill("SIGTERM"); // it writes what it keeps
        await exited;
      }
      await stop();
    },
  };
}

/** How many ports a process has to itself, as far as that goes, and how many processes have some. */
const PORTS = 100, SHARES = 200;
let nextPort = Math.floor(Math.random() * PORTS);

/**
 * A TCP port nobody listens on, out of the range the system takes for outgoing connections. Nobody else gets it soon: not
 * here, where brokers with several ports are started at once, nor in the tests that run beside these.
 */
export function freePort(): number {
  for (;;) {
    const preferredPort = 10_000 + process.pid % SHARES * PORTS + nextPort++ % PORTS;
    if (getAvailablePort({ preferredPort }) === preferredPort) return preferredPort;
  }
}

export function startMicrosocks(options: { user?: string; password?: string } = {}): Promise<ServerProcess> {
  const login = options.user ? ["-u", options.user, "-P", options.password ?? ""] : [];
  return startServer(undefined, "microsocks", (port) => ["-i", "127.0.0.1", "-p", `${port}`, ...login]);
}

/** A server that keeps sessions and messages in a directory. */
export interface KeepingOptions {
  port?: number | undefined;
  data: string;
  /** Where it speaks MQTT over WebSocket, too. */
  web?: number;
  /** Whether that is over TLS, with `certificates().server`. */
  tls?: boolean;
}

/** A NATS server with JetStream, which speaks MQTT 3.1.1. It refuses subscriptions to `denied/#`. */
export async function startNats({ port: wanted, data, web, tls = false }: KeepingOptions): Promise<ServerProcess> {
  const file = join(data, "nats.conf");
  const secured = ({ certFile, keyFile }: Certificate) => `tls { cert_file: "${certFile}", key_file: "${keyFile}" }`;
  const trust = tls ? secured(certificates().server) : "no_tls: true";
  const server = await startServer(wanted, "nats-server", (port) => {
    const lines = [
      "server_name: mqtt3c",
      "host: 127.0.0.1",
      "port: -1",
      "max_payload: 16MB",
      `jetstream { store_dir: "${data}" }`,
      `mqtt { host: 127.0.0.1, port: ${port}, ack_wait: "2s" }`, // so long it waits until it sends again, on a new connection, too,
      ...web === undefined ? [] : [`websocket { host: 127.0.0.1, port: ${web}, ${trust} }`],
      `authorization { users: [{ user: any, password: any, permissions: { subscribe: { deny: "denied.>" } } }] }`,
      "no_auth_user: any",
    ];
    writeFileSync(file, lines.join("\n"));
    return ["-c", file];
  });
  if (web !== undefined) await untilAccepts(web);
  return server;
}

/**
 * RabbitMQ with its plugins for MQTT 3.1.1 and for that over WebSocket, under the path `/ws`, and a port mapper (epmd) of its
 * own; it takes some ten seconds to start.
 */
export async function startRabbit({ port: wanted, data, web, tls = false }: KeepingOptions): Promise<ServerProcess> {
  const mapperPort = freePort(), config = join(data, "rabbitmq.conf"), plugins = join(data, "plugins");
  // Debian's own command is for its service: it changes the user and the directories.
  const debian = "/usr/lib/rabbitmq/bin/rabbitmq-server";
  const env = {
    HOME: data,
    ERL_EPMD_PORT: `${mapperPort}`,
    ERL_EPMD_ADDRESS: "127.0.0.1",
    RABBITMQ_NODENAME: "mqtt3c@localhost",
    RABBITMQ_DIST_PORT: `${freePort()}`,
    RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS: "-kernel inet_dist_use_interface {127,0,0,1}",
    RABBITMQ_MNESIA_BASE: data,
    RABBITMQ_LOG_BASE: data,
    RABBITMQ_LOGS: "-",
    RABBITMQ_PID_FILE: join(data, "pid"),
    RABBITMQ_CONF_ENV_FILE: "/dev/null",
    RABBITMQ_CONFIG_FILE: config,
    RABBITMQ_ENABLED_PLUGINS_FILE: plugins,
    RUNNING_UNDER_SYSTEMD: "true", // it becomes the server, and is no shell that waits for it
    NOTIFY_SOCKET: undefined,
  };
  writeFileSync(plugins, `[rabbitmq_mqtt${web === undefined ? "" : ",rabbitmq_web_mqtt"}].\n`);
  const mapper = await startProcess(which("epmd") ?? "epmd", ["-address", "127.0.0.1", "-port", `${mapperPort}`]);
  try {
    const server = await startServer(wanted, existsSync(debian) ? debian : "rabbitmq-server", (port) => {
      const lines = [
        "listeners.tcp = none",
        `mqtt.listeners.tcp.1 = 127.0.0.1:${port}`,
        "mqtt.allow_anonymous = true",
        ...web === undefined ? [] : webLines(web, tls),
        "log.console.level = warning",
      ];
      writeFileSync(config, lines.join("\n"));
      return [];
    }, { env, deadline: 4 * patience });
    if (web !== undefined) await untilAccepts(web);
    return {
      ...server,
      async stop() {
        await server.stop();
        await mapper.stop();
      },
    };
  } catch (error) {
    await mapper.stop();
    throw error;
  }
}

/** It opens a port for plain WebSockets, too, whether it is to have one or not. */
function webLines(port: number, tls: boolean): string[] {
  if (!tls) return ["web_mqtt.tcp.ip = 127.0.0.1", `web_mqtt.tcp.port = ${port}`];
  const { caFile, server: { certFile, keyFile } } = certificates();
  return [
    ...webLines(freePort(), false),
    "web_mqtt.ssl.ip = 127.0.0.1",
    `web_mqtt.ssl.port = ${port}`,
    `web_mqtt.ssl.cacertfile = ${caFile}`,
    `web_mqtt.ssl.certfile = ${certFile}`,
    `web_mqtt.ssl.keyfile = ${keyFile}`,
  ];
}

/** Starts a daemon and waits until it accepts connections; another port when somebody was faster. */
async function startServer(
  wanted: number | undefined,
  name: string,
  argsFor: (port: number) => string[],
  { env = {}, deadline = patience }: { env?: ProcessOptions["env"]; deadline?: number } = {},
): Promise<ServerProcess> {
  const command = name.startsWith("/") ? name : which(name);
  if (!command) throw new Error(`${name} is not installed`);
  for (let tries = 1;; tries++) {
    const port = wanted ?? freePort();
    const daemon = await startProcess(command, argsFor(port), { env });
    let ended = false;
    daemon.exited.then(() => ended = true);
    for (const start = performance.now(); !ended && performance.now() - start < deadline;) {
      if (await accepts(port) && !ended) {
        const { pid, kill, exited, stop } = daemon;
        return { port, pid, kill, exited, stop, log: () => daemon.stdout() + daemon.stderr() };
      }
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
    await daemon.stop();
    if (wanted || tries === 3) throw new Error(`${name} did not start: ${daemon.stdout()}${daemon.stderr()}`);
  }
}

/** Waits until another port of a server accepts connections: mosquitto opens those of WebSockets after the first. */
export async function untilAccepts(port: number): Promise<void> {
  for (const start = performance.now(); !await accepts(port);) {
    if (performance.now() - start > patience) throw new Error(`Nobody accepts connections on port ${port}`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

function accepts(port: number): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(port, "127.0.0.1", () => resolve(true)).on("error", () => resolve(false));
    socket.on("connect", () => socket.destroy());
  });
}

export interface Embedded extends Server {
  broker: Aedes;
}

/** A broker inside the test's process; `tls` as for mosquitto. */
export async function startAedes(options: { port?: number; tls?: boolean | Certificate } = {}): Promise<Embedded> {
  const broker = await Aedes.createBroker(numbered());
  const sockets = new Set<Socket>();
  const serve = (socket: Socket) => {
    sockets.add(socket.on("close", () => sockets.delete(socket)));
    broker.handle(paced(socket));
  };
  const tls = options.tls === true ? certificates().server : options.tls;
  const server: NetServer = tls ? createTlsServer(tls, serve) : createServer(serve);
  await new Promise<void>((resolve, reject) => {
    server.on("error", reject).listen(options.port ?? 0, "127.0.0.1", resolve);
  });
  return {
    port: (server.address() as AddressInfo).port,
    broker,
    async stop() {
      const closed = new Promise((resolve) => server.close(resolve));
      await new Promise<void>((resolve) => broker.close(resolve));
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}

/**
 * Packet identifiers of its own for each connection. aedes begins at a random one: where an earlier connection has used that
 * for a message that is not acknowledged, PUBACK for the one takes away the other.
 */
function numbered(): AedesOptions {
  let first = 1;
  return {
    preConnect(client, _packet, done) {
      Object.assign(client, { _nextId: first });
      first = (first + 2000) % 65_535 + 1;
      done(null, true);
    },
  };
}

/**
 * One read a turn. The parser of aedes reads on while it hands out a packet; where the socket has
 * more by then, as on Deno, it hands out that packet twice and loses its place.
 */
export function paced<D extends Duplex>(socket: D): D {
  const read = socket.read.bind(socket);
  let done = false;
  socket.read = (size) => {
    if (done) return null;
    done = true;
    setImmediate(() => {
      done = false;
      if (socket.readableLength > 0) socket.emit("readable");
    });
    return read(size);
  };
  return socket;
}

export interface ToolOptions {
  port: number;
  topic: string;
  qos?: 0 | 1 | 2;
  /** More arguments: `["-u", "user", "-P", "secret"]`. */
  args?: string[];
}

/** Publishes one message with mosquitto_pub; throws what it says when it fails. */
export async function mosquittoPub(
  options: ToolOptions & { message: string | Uint8Array; retain?: boolean },
): Promise<void> {
  const dir = mkdtempSync(join(tmpdir(), "mqtt3c-pub-"));
  try {
    writeFileSync(join(dir, "message"), options.message);
    const payload = options.message.length ? ["-f", join(dir, "message")] : ["-n"];
    const args = [...toolArgs(options), ...payload, ...options.retain ? ["-r"] : []];
    const { code, stdout, stderr } = await run("mosquitto_pub", args);
    if (code !== 0) throw new Error(`mosquitto_pub ${args.join(" ")}: ${code} ${stdout}${stderr}`);
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}

export interface Received {
  topic: string;
  qos: number;
  retain: boolean;
  payload: Uint8Array;
}

export interface Subscriber {
  /** The next message, in order; rejects when `patience` ends first. */
  next(): Promise<Received>;
  stop(): Promise<void>;
}

/** Subscribes with mosquitto_sub and returns when the broker has granted it. */
export async function mosquittoSub(options: ToolOptions): Promise<Subscriber> {
  const args = [...toolArgs(options), "-d", "-F", "=%q%r %x %t"];
  // Into a pipe it prints by the block: that it has subscribed would be seen with the first message.
  const stdbuf = which("stdbuf") ?? "gstdbuf";
  const tool: Process = await startProcess(stdbuf, ["-oL", "mosquitto_sub", ...args]);
  const queue: Received[] = [];
  let wake = () => {};
  tool.lines((line) => {
    const [, qos, retain, hex, topic] = /^=(\d)(\d) ([\da-f]*) (.*)$/.exec(line) ?? [];
    if (topic === undefined) return; // a line of -d
    queue.push({ topic, qos: Number(qos), retain: retain === "1", payload: new Uint8Array(Buffer.from(hex!, "hex")) });
    wake();
  });
  try {
    await tool.output(/^Subscribed/m);
  } catch (error) {
    await tool.stop();
    throw error;
  }
  return {
    async next() {
      if (!queue.length) {
        await new Promise<void>((resolve, reject) => {
          const timer = setTimeout(
            () => reject(new Error(`No message on ${options.topic} within ${patience} ms`)),
            patience,
          );
          wake = () => {
            clearTimeout(timer);
            resolve();
          };
        });
      }
      return queue.shift()!;
    },
    stop: tool.stop,
  };
}

function toolArgs({ port, topic, qos = 0, args = [] }: ToolOptions): string[] {
  return ["-h", "127.0.0.1", "-p", `${port}`, "-t", topic, "-q", `${qos}`, ...args];
}
