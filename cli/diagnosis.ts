/** What a failure means, and what to do about it: the sentences of `doctor`. */
import { MqttError } from "../mod.ts";
import { EXIT, statusOf } from "./errors.ts";
import { NoAnswer, type Shown } from "./probes.ts";

/** A verdict: its name, for machines; what it means; what to do; and the exit status. */
export interface Diagnosis {
  verdict: string;
  meaning: string;
  advice: string;
  status: number;
}

type Sentences = [meaning: string, advice: string];

const CONNECTION: Record<string, [verdict: string, ...Sentences]> = {
  ECONNREFUSED: [
    "refused",
    "nobody listens on that port",
    "is the broker running, and the port right? 1883 is usual, with TLS 8883",
  ],
  EHOSTUNREACH: [
    "unreachable",
    "there is no way to that machine",
    "is it on, in this network, and not behind a firewall?",
  ],
  ENETUNREACH: [
    "unreachable",
    "there is no way to that network",
    "is this machine online, in the right network or VPN?",
  ],
  ENOENT: ["nosocket", "there is no such file", "is the broker running, with a listener on this path?"],
  EACCES: ["denied", "this user may not use the socket", "change the file's permissions, or the user"],
};

const silent = "its firewall drops what comes, or the machine is off: check the address, the port and the firewall";

/** A name without an address. */
export function unresolved(host: string, error: unknown): Diagnosis {
  const code = (error as NodeJS.ErrnoException).code ?? "";
  const isResolver = error instanceof NoAnswer || /AGAIN|TIMEOUT|REFUSED/.test(code);
  return isResolver
    ? diagnosis(
      "resolver",
      `no name server answers for ${host}`,
      "is this machine online? which servers does /etc/resolv.conf name?",
      15,
    )
    : diagnosis(
      "name",
      `the name ${host} does not exist`,
      "is it spelled right? is a VPN or a search domain needed?",
      15,
    );
}

/** An address that accepts no connection. */
export function unreached(where: string, error: unknown): Diagnosis {
  if (error instanceof NoAnswer) return diagnosis("noanswer", `${where} does not answer at all`, silent, 14);
  const { code = "", message } = error as NodeJS.ErrnoException;
  const [verdict, meaning, advice] = CONNECTION[code] ?? ["unreached", message, silent];
  return diagnosis(verdict, `${where}: ${meaning}`, advice, 14);
}

/** A proxy that makes no way. */
export function unproxied(error: MqttError): Diagnosis {
  return diagnosis(
    "proxy",
    error.message,
    "are the proxy, and its user and password, right? may it be used for this port?",
    16,
  );
}

/** What the port speaks instead of what it was asked for. */
export const SPEAKS: Record<"mqtt" | "tls" | "http" | "ws", Diagnosis> = {
  mqtt: diagnosis(
    "plain",
    "the port speaks MQTT without TLS",
    "use mqtt:// without TLS options, or the broker's port for TLS, 8883 usually",
    8,
  ),
  tls: diagnosis(
    "tls",
    "the port speaks TLS, and was asked without",
    "use mqtts:// (wss:// for a WebSocket) or --cafile",
    8,
  ),
  ws: diagnosis("plain", "the port speaks HTTP without TLS", "use ws://, or the broker's port for wss://", 8),
  http: diagnosis(
    "http",
    "the port is one of a web server",
    "use the broker's port for MQTT, or ws:// if it has MQTT over WebSocket there",
    2,
  ),
};

/** TLS that does not begin, on a port that speaks nothing else that is known. */
export function handshakeFailed(error: unknown, hasCertificate: boolean): Diagnosis {
  const { message } = error as Error;
  if (error instanceof NoAnswer) {
    return diagnosis(
      "silent",
      "the server accepts the connection, and does not answer the TLS handshake",
      "is it a port for TLS? is there a tunnel or balancer whose other end is dead?",
      EXIT.timeout,
    );
  }
  if (/certificate.?required|handshake.?failure|bad.?certificate|unknown.?ca/i.test(message)) {
    return clientCertificate(hasCertificate);
  }
  return diagnosis(
    "handshake",
    `TLS fails: ${message}`,
    "is it a port for TLS? do both sides have a version in common?",
    8,
  );
}

/** A server that does not like the certificate of the client, or that there is none. */
export function clientCertificate(hasCertificate: boolean): Diagnosis {
  return hasCertificate
    ? diagnosis(
      "clientcert",
      "the server does not accept the client's certificate",
      "is it of an authority that the broker knows, and not expired?",
      8,
    )
    : diagnosis("clientcert", "the server wants a certificate of the client", "give --cert and --key", 8);
}

/** What is wrong with a certificate that must be trusted, if anything is. */
export function distrusted(shown: Shown, host: string, hasAuthority: boolean): Diagnosis | undefined {
  const { subject, issuer, names, from, to, untrusted, wrongName } = shown;
  const now = new Date(), today = now.toISOString().slice(0, 10), day = (date: Date) => date.toISOString().slice(0, 10);
  if (to < now) {
    return diagnosis(
      "expired",
      `the certificate of ${subject} has expired on ${day(to)}, and here it is ${today}`,
      "renew it on the broker, if this machine's clock is right",
      8,
    );
  }
  if (from > now) {
    return diagnosis(
      "notyet",
      `the certificate of ${subject} is valid from ${day(from)}, and here it is ${today}`,
      "set this machine's clock, or wait",
      8,
    );
  }
  if (untrusted !== undefined) {
    const known = hasAuthority ? "those of --cafile" : "the public authorities";
    return subject === issuer || /DEPTH_ZERO/.test(untrusted)
      ? diagnosis(
        "selfsigned",
        `the certificate of ${subject} is signed by itself`,
        "get it from who runs the broker, and give it as --cafile",
        8,
      )
      : diagnosis(
        "issuer",
        `the certificate's issuer, ${issuer}, is none of ${known}`,
        `get the certificate of that authority from who runs the broker, and give it as --cafile`,
        8,
      );
  }
  if (wrongName) {
    return diagnosis(
      "wrongname",
      `the certificate is for ${names.join(", ") || subject}, and not for ${host}`,
      "connect by one of those names, or have it issued for this one",
      8,
    );
  }
  return undefined;
}

/** By the code of what the library threw while it connected. */
const REFUSALS: Partial<Record<MqttError["code"], [verdict: string, ...Sentences]>> = {
  1: ["version", "the broker does not speak this version of MQTT", "leave -V out: is there one that it speaks?"],
  2: [
    "id",
    "the broker refuses the client identifier",
    "give another one, -i ID: does it ask for a certain prefix, or length?",
  ],
  3: ["unavailable", "the broker is there, and says that it cannot serve", "look into its log; try again later"],
  4: ["credentials", "user name or password are wrong", "check both: -u, MQTT_PASSWORD"],
  5: [
    "notauthorized",
    "the broker does not let this client in",
    "does it know this user and password, and may they be used with this client identifier?",
  ],
  timeout: [
    "silent",
    "the server accepts the connection, and does not answer CONNECT",
    "is it a broker? is there a tunnel or balancer whose other end is dead?",
  ],
  socketclosed: [
    "closed",
    "the server closes the connection instead of an answer to CONNECT",
    "its log says why: too many clients, another version of MQTT, a ban, a certificate that it wants?",
  ],
};

/** Codes of MQTT 5 that say the same as the return codes of 3.1.1. */
const SAME: Partial<Record<MqttError["code"], 1 | 2 | 3 | 4 | 5>> = { 132: 1, 133: 2, 136: 3, 137: 3, 134: 4, 135: 5 };

/** What a server does that does not know a version, perhaps. */
export function unspoken({ code, message }: MqttError): string {
  if (code === "socketclosed") return "the server closes the connection instead of an answer";
  return code === 1 || code === 132 ? "not spoken" : message;
}

/** No CONNACK, or one that refuses. */
export function refused(error: MqttError, hasUser: boolean): Diagnosis {
  const { code, message } = error, same = SAME[code] ?? code;
  if ((same === 4 || same === 5) && !hasUser) {
    return diagnosis(
      "credentials",
      "the broker wants a user name and a password",
      "give -u USER and MQTT_PASSWORD, --password-file or --ask-password",
      statusOf(error)!,
    );
  }
  if (code === "invalidresp" || code === "unknowncp" || code === "protocol") {
    return diagnosis("notmqtt", `what the server answers is no MQTT: ${message}`, "is this the broker's port?", 2);
  }
  const [verdict, meaning, advice] = REFUSALS[same] ??
    [typeof code === "number" ? `reason${code}` : code, message, "see docs/errors.md"];
  return diagnosis(verdict, meaning, advice, statusOf(error)!);
}

/** A server that opens no WebSocket. */
export function noWebSocket(error: MqttError): Diagnosis {
  return diagnosis(
    "websocket",
    error.message,
    "brokers have /mqtt, /ws or / as the path of the URL, and a port of its own",
    statusOf(error)!,
  );
}

/** What goes wrong once there is a connection. */
export function failedOn(what: "subscribe" | "publish", topic: string, error: unknown): Diagnosis {
  const status = statusOf(error) ?? EXIT.other;
  if (error instanceof MqttError && typeof error.code === "number") {
    const isRead = what === "subscribe", words = error.reason === undefined ? "" : `: ${error.reason}`;
    return diagnosis(
      isRead ? "subscription" : "notallowed",
      `the broker refuses ${isRead ? "the subscription" : "what is published"} to ${topic}${words}`,
      error.code === 128 || error.code === 135
        ? `this user may not ${
          isRead ? "read" : "publish"
        } it: change the broker's rules, or give -t a topic that is allowed`
        : error.message,
      status,
    );
  }
  if (error instanceof MqttError && error.code === "socketclosed") {
    return diagnosis(
      "thrownout",
      `the broker closes the connection at a ${what} to ${topic}`,
      "this user may not do that, probably: change the broker's rules, or give -t a topic that is allowed",
      status,
    );
  }
  if (what === "subscribe") {
    return diagnosis(
      "halfopen",
      "the broker has answered CONNECT, and nothing since",
      "is it overloaded, or the connection dead on the way? try again, look into its log",
      EXIT.timeout,
    );
  }
  return diagnosis(
    "notdelivered",
    `what is published to ${topic} does not come back`,
    "this user may not publish it, or not read it, and the broker does not say so: change its rules, or give -t a topic that is allowed",
    EXIT.timeout,
  );
}

function diagnosis(verdict: string, meaning: string, advice: string, status: number): Diagnosis {
  return { verdict, meaning, advice, status };
}
