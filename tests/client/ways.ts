/** The ways to a broker: each opens a client over another transport, to a broker of its own. */
import { existsSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from "node:fs";
import { connect as connectTcp, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { Duplex } from "node:stream";
import { connect as connectTls } from "node:tls";
import { SocksClient } from "socks";
import {
  type Client,
  connect,
  type Connection,
  type ConnectOptions,
  connectWorker,
  type OnPublish,
  type Streams,
  type SubscribeCallback,
  type SubscribeOptions,
} from "../../mod.ts";
import { certificates } from "../support/certificates.ts";
import {
  type Embedded,
  freePort,
  type KeepingOptions,
  type Server,
  startAedes,
  startMicrosocks,
  startMosquitto,
  startNats,
  startRabbit,
  untilAccepts,
} from "../support/servers.ts";
import { serveWebSocket } from "../support/aedes_websocket.ts";
import { startHttpProxy } from "./http_proxy.ts";

/** Opens a client; the options come on top of those that the way needs. */
export type Open = (onpub?: OnPublish, op?: ConnectOptions) => Promise<Client>;

/** A broker, and how the client gets to it. It refuses subscriptions to `denied/#`, unless it says otherwise. */
export interface Way {
  /** Where it speaks plain TCP, for `mosquitto_pub` and `mosquitto_sub`. */
  port: number;
  connect: Open;
  /** The address of its WebSocket, where it has one. */
  webAddress?: string;
  /** Whether the connection is in another thread: the client does not have it. */
  inThread?: boolean;
  /** Whether it takes long for large messages: mosquitto 2.0 sends 4 KiB of one in 100 ms over a WebSocket. */
  isSlow?: boolean;
  /** Whether the broker refuses topics with spaces, as NATS does. */
  hasNoSpaces?: boolean;
  /** Whether the broker grants every subscription, as RabbitMQ does here. */
  refusesNone?: boolean;
  /** The code of a subscription that is refused: 128 by default. */
  refusal?: 128 | 135;
  stop(): Promise<void>;
}

/** A mosquitto with a door of each kind: TLS, WebSocket, that over TLS, and a Unix socket. */
interface Broker extends Way {
  secure: number;
  web: number;
  secureWeb: number;
  path: string;
}

const host = "localhost";

/** Subscriptions are refused by the plugin that comes with mosquitto; its `acl_file` only filters messages. */
const denial = {
  defaultACLAccess: { publishClientSend: true, publishClientReceive: true, subscribe: true, unsubscribe: true },
  roles: [{ rolename: "r", acls: [{ acltype: "subscribePattern", topic: "denied/#", allow: false }] }],
  groups: [{ groupname: "g", roles: [{ rolename: "r" }] }],
  anonymousGroup: "g",
};

function plugin(): string {
  const folders = readdirSync("/usr/lib").map((folder) => join("/usr/lib", folder));
  const files = ["/usr/lib", "/usr/local/lib", "/opt/homebrew/lib", ...folders]
    .map((folder) => join(folder, "mosquitto_dynamic_security.so"));
  const file = files.find((file) => existsSync(file));
  if (file === undefined) throw new Error("mosquitto_dynamic_security.so is not installed");
  return file;
}

/** Starts one; another one, with other ports, when somebody was faster at one of them. */
async function startBroker(open: (broker: Broker) => Open, tries = 1): Promise<Broker> {
  const dir = mkdtempSync(join(tmpdir(), "mqtt3c-denial-"));
  const file = join(dir, "denial.json");
  writeFileSync(file, JSON.stringify(denial));
  const secure = freePort(), web = freePort(), secureWeb = freePort();
  const folder = mkdtempSync(join(tmpdir(), "mqtt3c-socket-")), path = join(folder, "mqtt.sock");
  const { caFile, server: { certFile, keyFile } } = certificates();
  const starting = startMosquitto({
    config: [
      "log_type none", // it would write a line for each of a hundred thousand messages
      "max_queued_messages 0", // it would drop those over 1,000 that wait
      `plugin ${plugin()}`,
      `plugin_opt_config_file ${file}`,
      `listener ${secure} 127.0.0.1`,
      `cafile ${caFile}`,
      `certfile ${certFile}`,
      `keyfile ${keyFile}`,
      `listener ${web} 127.0.0.1`,
      "protocol websockets",
      `listener ${secureWeb} 127.0.0.1`,
      "protocol websockets",
      `cafile ${caFile}`,
      `certfile ${certFile}`,
      `keyfile ${keyFile}`,
      `listener 0 ${path}`,
    ].join("\n"),
  });
  const { port, stop: end } = await starting.finally(() => rmSync(dir, { recursive: true, force: true })); // it is read
  const stop = async () => {
    await end();
    rmSync(folder, { recursive: true, force: true });
  };
  try {
    await untilAccepts(secureWeb);
  } catch (error) {
    await stop();
    if (tries === 3) throw error;
    return await startBroker(open, tries + 1);
  }
  const notYet = () => Promise.reject(new Error("not yet"));
  const broker: Broker = { port, secure, web, secureWeb, path, connect: notYet, stop };
  broker.connect = open(broker);
  return broker;
}

/** A way that leads through another server. */
async function startThrough<S extends Server>(
  start: () => Promise<S>,
  open: (broker: Broker, server: S) => Open,
): Promise<Way> {
  const server = await start();
  const broker = await startBroker((broker) => open(broker, server));
  return {
    ...broker,
    async stop() {
      await broker.stop();
      await server.stop();
    },
  };
}

/** The ways of `connectWorker`. */
export const overThread = async (): Promise<Way> => ({
  ...await startBroker(({ port }) => (onpub, op) => connectWorker(host, onpub, { port, ...op })),
  inThread: true,
});

export const overThreadSocksAndTls = async (): Promise<Way> => ({
  ...await startThrough(
    startMicrosocks,
    ({ secure: port }, { port: proxy }) => (onpub, op) =>
      connectWorker(host, onpub, { port, tls: { ca: certificates().ca }, proxy: `socks5://127.0.0.1:${proxy}`, ...op }),
  ),
  inThread: true,
});

export const overThreadWebSocket = async (): Promise<Way> => ({
  ...await startBroker(({ secureWeb }) => (onpub, op) =>
    connectWorker(`wss://${host}:${secureWeb}`, onpub, { tls: { ca: certificates().ca }, ...op })
  ),
  inThread: true,
  isSlow: true,
});

export const overThreadUnix = async (): Promise<Way> => ({
  ...await startBroker(({ path }) => (onpub, op) => connectWorker(`unix://${path}`, onpub, op)),
  inThread: true,
});

/** The client in a thread with its module, which gets nothing here: each subscription has the handler of `onpub`. */
export const overModule = (): Promise<Way> => inModule(({ port }) => `mqtt://${host}:${port}`);
export const overModuleWebSocket = async (): Promise<Way> => ({
  ...await inModule(({ web }) => `ws://${host}:${web}`),
  isSlow: true,
});

const inModule = async (addr: (broker: Broker) => string): Promise<Way> => ({
  ...await startBroker((broker) => async (onpub, op) => {
    const extension = import.meta.url.slice(import.meta.url.lastIndexOf("."));
    const module = new URL(`../worker/modules/append${extension}`, import.meta.url);
    const client = await connectWorker(addr(broker), module, op);
    const subscribe = client.subscribe.bind(client) as (
      topic: string | readonly string[],
      options: SubscribeOptions,
      callback?: SubscribeCallback,
    ) => Promise<number>;
    client.subscribe = (
      topic: string | readonly string[],
      options: SubscribeOptions | SubscribeCallback = {},
      callback?: SubscribeCallback,
    ) => {
      const [given, told] = typeof options === "function" ? [{}, options] : [options, callback];
      return subscribe(topic, { onpub, ...given }, told);
    };
    return client;
  }),
  inThread: true,
});

/** A way over connections that the test opens and hands in. */
function handIn(open: (broker: Broker) => Promise<Connection>): () => Promise<Way> {
  return () => startBroker((broker) => async (onpub, op) => connect(await open(broker), onpub, op));
}

export const overTcp = (): Promise<Way> =>
  startBroker(({ port }) => (onpub, op) => connect(`mqtt://${host}:${port}`, onpub, op));

export const overTls = (): Promise<Way> =>
  startBroker(({ secure: port }) => (onpub, op) =>
    connect(host, onpub, { port, tls: { ca: certificates().ca }, timeout: 20_000, ...op })
  );

export const overWebSocket = async (): Promise<Way> => ({
  ...await startWeb(({ web }) => `ws://${host}:${web}`),
  isSlow: true,
});

async function startWeb(addressOf: (broker: Broker) => string, needed: ConnectOptions = {}): Promise<Way> {
  const broker = await startBroker((broker) => (onpub, op) => connect(addressOf(broker), onpub, { ...needed, ...op }));
  return { ...broker, webAddress: addressOf(broker) };
}

export const overSecureWebSocket = async (): Promise<Way> => ({
  ...await startWeb(({ secureWeb }) => `wss://${host}:${secureWeb}`, {
    tls: { ca: certificates().ca },
    timeout: 20_000,
  }),
  isSlow: true,
});

/** A way over the WebSocket of a server that has a directory of its own. */
const overWeb =
  (start: (options: KeepingOptions) => Promise<Server>, path: string, { tls }: { tls: boolean }) =>
  async (): Promise<Way> => {
    const data = mkdtempSync(join(tmpdir(), "mqtt3c-suite-")), web = freePort();
    const { port, stop } = await start({ data, web, tls });
    const webAddress = `${tls ? "wss" : "ws"}://${host}:${web}${path}`;
    return {
      port,
      webAddress,
      hasNoSpaces: start === startNats,
      refusesNone: start === startRabbit,
      connect: (onpub, op) => connect(webAddress, onpub, { ...tls && { tls: { ca: certificates().ca } }, ...op }),
      async stop() {
        await stop();
        rmSync(data, { recursive: true, force: true });
      },
    };
  };

export const overNatsWebSocket: () => Promise<Way> = overWeb(startNats, "/mqtt", { tls: false });
export const overNatsSecureWebSocket: () => Promise<Way> = overWeb(startNats, "/mqtt", { tls: true });
export const overRabbitWebSocket: () => Promise<Way> = overWeb(startRabbit, "/ws", { tls: false });
export const overRabbitSecureWebSocket: () => Promise<Way> = overWeb(startRabbit, "/ws", { tls: true });

/** Through a proxy, too. */
export const overSocksAndWebSocket = async (): Promise<Way> => ({
  ...await startThrough(
    startMicrosocks,
    ({ secureWeb }, { port: proxy }) => (onpub, op) =>
      connect(`wss://${host}:${secureWeb}`, onpub, {
        tls: { ca: certificates().ca },
        proxy: `socks5://127.0.0.1:${proxy}`,
        ...op,
      }),
  ),
  isSlow: true,
});

export const overUnix = (): Promise<Way> =>
  startBroker(({ path }) => (onpub, op) => connect(`unix://${path}`, onpub, op));

export const overSocksAndTls = (): Promise<Way> =>
  startThrough(
    startMicrosocks,
    ({ secure: port }, { port: proxy }) => (onpub, op) =>
      connect(host, onpub, { port, tls: { ca: certificates().ca }, proxy: `socks5://127.0.0.1:${proxy}`, ...op }),
  );

export const overHttpConnect = (): Promise<Way> =>
  startThrough(
    () => startHttpProxy(),
    ({ port }, { port: proxy }) => (onpub, op) =>
      connect("127.0.0.1", onpub, { port, proxy: `http://127.0.0.1:${proxy}`, ...op }),
  );

export const overAedes = async (): Promise<Way> => {
  const { port, broker, stop } = await startAedes();
  denyIn(broker);
  return { port, connect: (onpub, op) => connect("127.0.0.1", onpub, { port, ...op }), stop };
};

export const overAedesWebSocket = async (): Promise<Way> => {
  const { port, broker, stop } = await startAedes();
  denyIn(broker);
  const web = await serveWebSocket(broker), webAddress = `ws://127.0.0.1:${web.port}`;
  return {
    port,
    webAddress,
    connect: (onpub, op) => connect(webAddress, onpub, op),
    async stop() {
      await web.stop();
      await stop();
    },
  };
};

function denyIn(broker: Embedded["broker"]): void {
  broker.authorizeSubscribe = (_client, subscription, done) =>
    done(null, subscription.topic.startsWith("denied/") ? null : subscription);
}

function opened<S extends Socket>(socket: S, event: string): Promise<S> {
  return new Promise((resolve, reject) => socket.once("error", reject).once(event, () => resolve(socket)));
}

const openSocket = ({ port }: Broker) => opened(connectTcp(port, host), "connect");

export const overSocket: () => Promise<Way> = handIn(openSocket);

export const overTlsSocket: () => Promise<Way> = handIn(({ secure }) =>
  opened(connectTls({ host, port: secure, ca: certificates().ca, servername: host }), "secureConnect")
);

/** A stream that is no socket: what it is given goes through a socket that nobody sees. */
class Wrapped extends Duplex {
  readonly #socket: Socket;

  constructor(socket: Socket) {
    super();
    this.#socket = socket;
    socket.on("data", (chunk) => this.push(chunk) || socket.pause());
    socket.on("end", () => this.push(null)).on("close", () => this.destroy()).on(
      "error",
      (error) => this.destroy(error),
    );
  }

  override _read(): void {
    this.#socket.resume();
  }

  override _write(chunk: Uint8Array, _encoding: string, done: (error?: Error | null) => void): void {
    this.#socket.write(chunk, done);
  }

  override _final(done: () => void): void {
    this.#socket.end(done);
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.#socket.destroy();
    done(error);
  }
}

export const overDuplex: () => Promise<Way> = handIn(async (broker) => new Wrapped(await openSocket(broker)));

export const overWebStreams: () => Promise<Way> = handIn(async (broker) =>
  Duplex.toWeb(await openSocket(broker)) as Streams
);

/** A socket opened with the npm package `socks`, and upgraded to TLS by the caller. */
export const overSocksPackage = (): Promise<Way> =>
  startThrough(startMicrosocks, ({ secure: port }, { port: proxy }) => async (onpub, op) => {
    const { socket } = await SocksClient.createConnection({
      proxy: { host: "127.0.0.1", port: proxy, type: 5 },
      command: "connect",
      destination: { host, port },
    });
    const secure = connectTls({ socket, ca: certificates().ca, servername: host });
    return connect(await opened(secure, "secureConnect"), onpub, op);
  });

interface DenoNet {
  connect(options: { hostname: string; port: number }): Promise<Streams>;
  connectTls(options: { hostname: string; port: number; caCerts: string[] }): Promise<Streams>;
}

const deno = (globalThis as { Deno?: DenoNet }).Deno;

/** What only Deno has. */
export const overDenoConn: (() => Promise<Way>) | undefined = deno &&
  handIn(({ port }) => deno.connect({ hostname: host, port }));

export const overDenoTlsConn: (() => Promise<Way>) | undefined = deno &&
  handIn(({ secure: port }) => deno.connectTls({ hostname: host, port, caCerts: [certificates().ca] }));

/** All ways over connections that somebody else opened. */
export const handedIn: Record<string, () => Promise<Way>> = {
  "a net.Socket": overSocket,
  "a tls.TLSSocket": overTlsSocket,
  "a Duplex": overDuplex,
  "web streams": overWebStreams,
  "a socket of the package socks, upgraded to TLS": overSocksPackage,
  ...overDenoConn && { "a Deno.Conn": overDenoConn },
  ...overDenoTlsConn && { "a Deno.TlsConn": overDenoTlsConn },
};

/** The same way with MQTT 5. */
export function withVersion5(start: () => Promise<Way>): () => Promise<Way> {
  return async () => {
    const way = await start(), open = way.connect;
    way.connect = (onpub, op) => open(onpub, { version: 5, ...op });
    way.refusal = 135; // not authorized
    return way;
  };
}
