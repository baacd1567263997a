/**
 * The broker, as the three bridges see it: one connection that is made again whenever it ends, publishes that the broker
 * has acknowledged, and a count of what was lost.
 */
import { type Client, connect, type ConnectOptions, MqttError, type PublishOptions, type Status } from "../../mod.ts";
import { Filters, type Listener } from "./filters.ts";
import { Losses } from "./losses.ts";
import { checkTopic } from "./topics.ts";

/** Of the three programs: what was sent and not acknowledged is told to its sender, who decides; it is not sent again. */
const OPTIONS: ConnectOptions = {
  keepalive: 15,
  sessionLost: "reject",
  offline: true,
  reconnect: { minDelay: 100, maxDelay: 5000, stableAfter: 1000 },
};

/** Whether a message was certainly not taken: it was not sent, or the broker has said so. */
function isRefused({ code }: MqttError): boolean {
  return code === "overflow" || code === "unsupported" || typeof code === "number";
}

/** The broker is away; `retryAfter` is in seconds. */
export class AwayError extends Error {
  override readonly name = "AwayError";
  readonly retryAfter: number;

  constructor(reason: string, retryAfter: number) {
    super(`The broker is away: ${reason}`);
    this.retryAfter = retryAfter;
  }
}

/** What a broker's connection has done; see {@linkcode Broker.status}. */
export interface BrokerStatus {
  broker: "connected" | "away";
  /** Why it is away, or was last; empty if it never was. */
  reason: string;
  /** Connections so far. */
  connections: number;
  /** Milliseconds without connection since the first; what others published then never came here. */
  away: number;
  /** Messages received. */
  received: number;
  /** Messages the broker has acknowledged; and those whose acknowledgement the end of the connection cut off. */
  published: number;
  unconfirmed: number;
  /** Messages that were not taken, as the broker was away, too many waited for it, or it does not want them. */
  refused: number;
}

export class Broker {
  readonly #log: (line: string) => void;
  readonly #client: Promise<Client>;
  readonly #filters: Filters;
  /** Aborted when the connection ends, to take back messages that were not sent; undefined while there is none. */
  #connection: AbortController | undefined;
  /** Of each message that is not acknowledged: tells its sender that the connection has ended. */
  readonly #pending = new Set<(error: MqttError) => void>();
  #leftAt = 0;
  #retryAt = 0;
  #counts = { reason: "not connected yet", connections: 0, away: 0, published: 0 };
  readonly #losses: Losses<"unconfirmed" | "refused">;
  /** Called when the broker has come or gone. */
  readonly changed: Set<() => void> = new Set();

  /** Starts connecting; `op` as for `connect()`. */
  constructor(addr: string, op: ConnectOptions = {}, log: (line: string) => void = () => {}) {
    this.#log = log;
    this.#losses = new Losses({
      unconfirmed: "to MQTT, perhaps: the connection ended before the broker had acknowledged them",
      refused: "to MQTT, and their senders told: the broker was away, too much waited for it, or it refused them",
    }, log);
    const onstatus = (status: Status) => {
      this.#hear(status);
      op.onstatus?.(status);
    };
    this.#client = connect(addr, undefined, { ...OPTIONS, ...op, onstatus });
    this.#filters = new Filters(this.#client);
    void this.#client.then((client) => client.run()).then((end) => {
      if (end.code !== "disconnect") throw end; // refused for good: nobody could do anything about it but start anew
    });
  }

  #hear(status: Status): void {
    if (status.type === "connected") this.#enter();
    else if (status.type === "waiting") this.#leave(status.error, status.delay);
    else if (status.type === "closed") this.#leave(status.error, 0);
    else if (status.type === "refused") this.#filters.refused(status.filter, status.error);
  }

  #enter(): void {
    const counts = this.#counts, { unconfirmed } = this.#losses.counts;
    if (counts.connections++ > 0) counts.away += performance.now() - this.#leftAt;
    else counts.reason = "";
    this.#connection = new AbortController();
    this.#log(
      `The broker is here; away for ${this.status().away} ms so far, ${unconfirmed} messages perhaps lost`,
    );
    for (const listener of this.changed) listener();
  }

  #leave(error: MqttError, delay: number): void {
    const { message } = error, connection = this.#connection, isNew = message !== this.#counts.reason;
    this.#counts.reason = message;
    this.#retryAt = performance.now() + delay;
    if (error.code !== "disconnect" && (connection !== undefined || isNew)) {
      this.#log(`${connection ? "The broker is away" : "No broker"}: ${message}`);
    }
    if (connection === undefined) return;
    this.#connection = undefined;
    this.#leftAt = performance.now();
    for (const reject of this.#pending) reject(error);
    connection.abort(error);
    this.#filters.lost();
    for (const listener of this.changed) listener();
  }

  get connected(): boolean {
    return this.#connection !== undefined;
  }

  status(): BrokerStatus {
    const { away, ...counts } = this.#counts, { received } = this.#filters;
    const since = this.connected || counts.connections === 0 ? 0 : performance.now() - this.#leftAt;
    const broker = this.connected ? "connected" : "away";
    return { broker, ...counts, ...this.#losses.counts, received, away: Math.round(away + since) };
  }

  /** The error to give to those who come while the broker is away. */
  away(): AwayError {
    return new AwayError(this.#counts.reason, Math.max(1, Math.ceil((this.#retryAt - performance.now()) / 1000)));
  }

  /** Listens to a filter; see {@linkcode Filters.listen}. */
  subscribe(filter: string, listener: Listener): () => Promise<void> {
    return this.#filters.listen(filter, listener);
  }

  /**
   * Publishes a message; resolves when the broker has acknowledged it.
   *
   * @throws {TypeError | RangeError} If the topic is none.
   * @throws {AwayError} If the broker is away: nothing was sent.
   * @throws {MqttError} If the connection ended first: it may have arrived, or not. A number: the broker has refused it. `"overflow"`, `"unsupported"`: nothing was sent.
   */
  async publish(topic: string, payload: string | Uint8Array, options: PublishOptions = {}): Promise<void> {
    checkTopic(topic);
    const signal = this.#connection?.signal;
    if (signal === undefined) {
      this.#losses.add("refused");
      throw this.away();
    }
    try {
      // The client would wait for the next connection, and then tell that what was sent was lost with this one.
      await new Promise<number>((resolve, reject) => {
        this.#pending.add(reject);
        const done = () => this.#pending.delete(reject);
        this.#client.then((client) => client.publish(topic, payload, { ...options, qos: 1, signal }))
          .then(resolve, reject).then(done);
      });
      this.#counts.published++;
    } catch (error) {
      if (error instanceof MqttError) this.#losses.add(isRefused(error) ? "refused" : "unconfirmed");
      throw error;
    }
  }

  /** Waits until all that was published is acknowledged, and disconnects. */
  async close(): Promise<void> {
    const client = await this.#client, tell = ({ message }: Error) => this.#log(`Not all has arrived: ${message}`);
    if (this.connected && this.#pending.size > 0) await client.flush().catch(tell);
    await client.disconnect().catch(tell);
    this.#losses.close();
  }
}
