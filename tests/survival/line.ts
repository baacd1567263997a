/** A TCP proxy that is a long line: what is under way in it is lost with the client. It reads the packets that pass. */
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { encodeNaive, type NaivePacket, NaiveReader } from "../support/naive.ts";

/** A packet that the client has sent, or that has come to it. */
export interface Passed {
  /** Counts the connections. */
  connection: number;
  from: "client" | "broker";
  packet: NaivePacket;
}

/** A line to a broker. */
export interface Line {
  port: number;
  /** What has passed at the client's end, in order. */
  packets: Passed[];
  /** Milliseconds each way. */
  delay: number;
  /** Whether acknowledgements do not come through: of what the broker sends, only CONNACK and SUBACK do. */
  isDeaf: boolean;
  stop(): Promise<void>;
}

/** Opens a line to a broker on loopback. */
export async function openLine(target: number, delay = 0): Promise<Line> {
  const sockets = new Set<Socket>();
  let connections = 0;
  const line: Line = {
    port: 0,
    packets: [],
    delay,
    isDeaf: false,
    async stop() {
      const closed = new Promise((resolve) => server.close(resolve));
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
  const keep = (socket: Socket) => {
    sockets.add(socket);
    // Whoever is at the other end is killed: a reset is as good as an end.
    return socket.setNoDelay(true).on("close", () => sockets.delete(socket)).on("error", () => {});
  };
  const server = createServer((client) => {
    const broker = keep(connect(target, "127.0.0.1")), connection = connections++;
    keep(client);
    let hasLeft = false;
    const toBroker = new Way(line, broker), toClient = new Way(line, client);
    const sent = new NaiveReader(), came = new NaiveReader();
    client.on("data", (bytes: Uint8Array) => {
      for (const packet of sent.push(bytes)) {
        line.packets.push({ connection, from: "client", packet });
        hasLeft ||= packet.type === "DISCONNECT";
      }
      toBroker.pass(() => void broker.write(bytes));
    });
    client.on("close", () => {
      toClient.cut();
      if (hasLeft) return toBroker.pass(() => void broker.end());
      toBroker.cut();
      broker.destroy();
    });
    broker.on("data", (bytes: Uint8Array) => {
      toClient.pass(() => {
        const packets = came.push(bytes).filter(({ type }) => !line.isDeaf || /^(CONN|SUB)ACK$/.test(type));
        for (const packet of packets) line.packets.push({ connection, from: "broker", packet });
        if (!line.isDeaf) client.write(bytes);
        else for (const packet of packets) client.write(encodeNaive(packet));
      });
    });
    broker.on("close", () => toClient.pass(() => void client.end()));
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  line.port = (server.address() as AddressInfo).port;
  return line;
}

/** One direction: what passes arrives later, in order, unless it is cut. */
class Way {
  readonly #line: Line;
  readonly #timers = new Set<ReturnType<typeof setTimeout>>();
  readonly #under: (() => void)[] = [];

  constructor(line: Line, to: Socket) {
    this.#line = line;
    to.on("close", () => this.cut());
  }

  pass(arrive: () => void): void {
    const { delay } = this.#line;
    if (delay === 0 && this.#under.length === 0) return arrive();
    this.#under.push(arrive);
    const timer = setTimeout(() => {
      this.#timers.delete(timer);
      this.#under.shift()?.();
    }, delay);
    this.#timers.add(timer);
  }

  cut(): void {
    for (const timer of this.#timers) clearTimeout(timer);
    this.#timers.clear();
    this.#under.length = 0;
  }
}
