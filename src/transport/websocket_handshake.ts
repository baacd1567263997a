/** How a connection becomes a WebSocket: what is asked, and which answer is right (RFC 6455, section 4).
 * @module */

import { MqttError } from "../errors.ts";
import { told } from "./websocket_close.ts";

/** What is asked of the server of a WebSocket, on the connection to it. */
export type WebSocketTarget = {
  /** The server's name as the request has it. */
  authority: string;
  /** Path and query. */
  resource: string;
  headers: readonly (readonly [name: string, value: string])[];
  /** Whether a server that has a certificate must be trusted before it is asked. */
  mustTrust: boolean;
};

/** What a server adds to the key before it hashes it (section 1.3). */
const GUID = "258EAFA5-E914-47DA-95CA-C5AB0DC85B11";

/** The longest header of an answer, in bytes. */
const MAX_HEADER = 16_384;

/** The end of a header. */
const END = [13, 10, 13, 10];

/** What the status of an answer means to a person. */
const STATUSES: Record<number, string> = {
  200: "it is a web server's page, not a WebSocket: is the path of the URL right?",
  400: "it does not take the request: is it a server of MQTT over WebSocket?",
  401: "it wants to know who asks: give that as headers, { Authorization: ... }, or in the query of the URL",
  403: "it does not let this client in: is what headers and the query of the URL say of it right, and not too old?",
  404: `it has nothing at the path of the URL, which is /mqtt where that has none; some brokers have /ws, or another`,
  405: "it has no WebSocket at the path of the URL",
  407: "a proxy on the way wants to know who asks: give it as proxy",
  426: "it wants another protocol: is the path of the URL right?",
  429: "it gets too many requests",
  502: "the broker behind it cannot be reached",
  503: "it is unavailable",
  504: "the broker behind it does not answer",
};

/** One request for a WebSocket, and the answer to it. */
export class Handshake {
  readonly #accept: string;
  readonly #where: string;
  #header = "";
  /** How many bytes of the header's end have come. */
  #ended = 0;
  /** The request. */
  readonly request: Uint8Array;

  /** `sha1` of a text, as base64. */
  constructor({ authority, resource, headers }: WebSocketTarget, sha1: (text: string) => string) {
    const key = btoa(String.fromCharCode(...crypto.getRandomValues(new Uint8Array(16))));
    const lines = [
      `GET ${resource} HTTP/1.1`,
      `Host: ${authority}`,
      "Upgrade: websocket",
      "Connection: Upgrade",
      `Sec-WebSocket-Key: ${key}`,
      "Sec-WebSocket-Version: 13",
      "Sec-WebSocket-Protocol: mqtt", // [MQTT-6.0.0-3]
      ...headers.map(([name, value]) => `${name}: ${value}`),
    ];
    this.#accept = sha1(key + GUID);
    this.#where = authority;
    this.request = Uint8Array.from(`${lines.join("\r\n")}\r\n\r\n`, (letter) => letter.charCodeAt(0));
  }

  /**
   * Takes what the server answers, any cut of it; returns where its frames begin in the bytes, or undefined as long as the answer
   * is not whole.
   *
   * @throws {MqttError} `"cannotconnect"` if it is not the right one.
   */
  take(bytes: Uint8Array): number | undefined {
    for (let at = 0; at < bytes.length; at++) {
      const byte = bytes[at]!;
      this.#header += String.fromCharCode(byte);
      if (!"HTTP/1.".startsWith(this.#header.slice(0, 7))) {
        throw this.refused("it does not speak HTTP: is this the port of its WebSocket, and TLS (wss:) what it wants?");
      }
      this.#ended = byte === END[this.#ended] ? this.#ended + 1 : byte === END[0] ? 1 : 0;
      if (this.#ended === END.length) {
        this.#ended = 0;
        if (this.#isRight()) return at + 1;
      }
      if (this.#header.length === MAX_HEADER) throw this.refused("the header of its answer does not end");
    }
    return undefined;
  }

  /** Whether the answer is the right one; false if it is not the last one (RFC 9110, section 15.2). */
  #isRight(): boolean {
    const [first = "", ...lines] = this.#header.slice(0, -4).split("\r\n");
    const [, digits, text = ""] = /^HTTP\/1\.\d (\d{3})(?: (.*))?$/s.exec(first) ?? [];
    if (digits === undefined) throw this.refused(`its answer is none of HTTP: ${told(first)}`);
    const status = Number(digits);
    if (status >= 100 && status < 200 && status !== 101) {
      this.#header = "";
      return false;
    }
    const fields = new Map<string, string>();
    for (const line of lines) {
      const [, name, value] = /^([^\s:]+):[ \t]*(.*?)[ \t]*$/s.exec(line) ?? [];
      if (name === undefined) throw this.refused(`its answer has a line that is no header: ${told(line)}`);
      const known = fields.get(name.toLowerCase());
      fields.set(name.toLowerCase(), known === undefined ? value! : `${known}, ${value}`);
    }
    if (status !== 101) throw this.#notUpgraded(status, text, fields.get("location"));
    const field = (name: string) => fields.get(name) ?? "";
    const wrong = (what: string, name: string) =>
      this.refused(`its answer is wrong: ${what}; ${name} is ${told(field(name))} [RFC 6455, section 4.1]`);
    if (field("upgrade").toLowerCase() !== "websocket") throw wrong("it does not change to WebSocket", "upgrade");
    if (!/(^|,)[ \t]*upgrade[ \t]*(,|$)/i.test(field("connection"))) {
      throw wrong("it does not change the connection", "connection");
    }
    if (field("sec-websocket-accept") !== this.#accept) {
      throw wrong("it is not the answer to this request: is there a cache on the way?", "sec-websocket-accept");
    }
    if (field("sec-websocket-extensions") !== "") {
      throw wrong("it uses what nobody asked for", "sec-websocket-extensions");
    }
    const protocol = fields.get("sec-websocket-protocol");
    if (protocol !== "mqtt") {
      const has = protocol === undefined ? "has chosen no subprotocol" : `has chosen the subprotocol ${told(protocol)}`;
      throw this.refused(`it ${has}, so it does not speak MQTT there: is the path of the URL right? [MQTT-6.0.0-4]`);
    }
    return true;
  }

  #notUpgraded(status: number, text: string, location: string | undefined): MqttError {
    const answered = text === "" ? `it answered ${status}` : `it answered ${status} ${told(text)}`;
    if (status >= 300 && status < 400) {
      // What may be a secret is in the query.
      const to = location === undefined ? "" : ` to ${told(location.replace(/[?#].*/s, ""))}`;
      return this.refused(
        `${answered}: it sends the client on${to}; connect there, with ws: or wss:, if you trust that`,
      );
    }
    return this.refused(`${answered}: ${STATUSES[status] ?? "is it a server of MQTT over WebSocket?"}`);
  }

  /** The error of a server with which there is no WebSocket. */
  refused(why: string, cause?: unknown): MqttError {
    return new MqttError("cannotconnect", `Cannot open a WebSocket to ${this.#where}: ${why}`, cause);
  }
}
