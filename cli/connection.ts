/** From the options to a client: where the broker is, as whom, and what is told of the connection on the way. */
import process from "node:process";
import { type Client, connect, type ConnectOptions, fileStore, type OnPublish, type Status } from "../mod.ts";
import { CommandError, messageOf, unless } from "./errors.ts";
import { readGiven } from "./input.ts";
import type { Values } from "./options.ts";
import { connectProperties, sessionOf, willProperties } from "./properties.ts";
import { askPassword, say } from "./terminal.ts";

/** Where the broker is, and the topic that the URL may have. */
export interface Place {
  address: string;
  topic: string | undefined;
}

/** Those of the library. */
const SCHEMES = ["mqtt", "tcp", "mqtts", "ssl", "tls", "ws", "wss", "unix"];

/** @throws {CommandError} If it is given twice, or of another kind. */
export function place(values: Values): Place {
  const host = values.text("host"), url = urlOf(values), path = values.text("unix");
  if ([host, url, path].filter((given) => given !== undefined).length > 1) {
    throw new CommandError("Give one of --host, --url and --unix: they say where the broker is");
  }
  if (path !== undefined) {
    return { address: `unix://${encodeURI(path).replaceAll(/[?#]/g, encodeURIComponent)}`, topic: undefined };
  }
  if (url === undefined) return { address: host ?? "localhost", topic: undefined };
  const [, scheme] = /^([^:]*):\/\//.exec(url) ?? [];
  if (scheme !== undefined && !SCHEMES.includes(scheme.toLowerCase())) {
    throw new CommandError(`A broker's URL begins with mqtt, mqtts, ws, wss or unix, not with ${scheme}`);
  }
  // Over TCP a path is the topic; of a WebSocket it is the server's.
  const [, address, topic] = /^((?:mqtts?|tcp|ssl|tls):\/\/[^/]*)\/(.+)$/is.exec(url) ?? [];
  if (topic?.includes("@")) {
    throw new CommandError(
      "There is an @ in the topic of the URL: percent-encode # / ? @ and % in user name and password, or give such a topic with -t",
    );
  }
  return { address: address ?? url, topic };
}

/** The URL that was given, or that of the environment where nothing else says where the broker is. */
function urlOf(values: Values): string | undefined {
  const isElsewhere = values.text("host") !== undefined || values.text("unix") !== undefined;
  return values.text("url") ?? (isElsewhere ? undefined : process.env["MQTT_URL"] || undefined);
}

/** What all commands ask of the library. A password is asked for here. */
export async function connectOptions(values: Values): Promise<ConnectOptions> {
  const more = connectProperties(values), session = sessionOf(values);
  const prefix = values.text("id-prefix");
  const id = values.text("id") ?? (prefix === undefined ? undefined : `${prefix}${process.pid}`);
  if (session !== false && !id) {
    throw new CommandError("A session that is kept needs an identifier, by which it is found again: -i ID");
  }
  const store = values.text("store");
  if (store !== undefined && session === false) {
    throw new CommandError("--store is of a session that is kept, and -x 0 keeps none");
  }
  const reconnect = !values.is("no-reconnect");
  if (values.is("wait") && !reconnect) throw new CommandError("--wait and --no-reconnect contradict each other");
  return {
    ...more,
    ...await credentials(values),
    id,
    session,
    store: store === undefined ? undefined : fileStore(store),
    port: values.number("port", 1, 65_535),
    keepalive: values.number("keepalive", 0, 65_535),
    proxy: values.text("proxy"),
    tls: tls(values),
    will: will(values),
    reconnect,
    offline: values.is("wait"),
  };
}

/** What is given as an argument goes before what the URL says, and that before the environment. */
async function credentials(values: Values): Promise<Pick<ConnectOptions, "uname" | "passwd">> {
  const [, login] = /^[a-z+]+:\/\/([^/]*)@/i.exec(urlOf(values) ?? "") ?? [];
  const { MQTT_USER, MQTT_PASSWORD } = process.env;
  const uname = values.text("username") ?? (login === undefined && MQTT_USER ? MQTT_USER : undefined);
  const passwd = values.text("pw") ??
    readGiven(values, "password-file")?.toString().split(/\r?\n/, 1)[0] ??
    (values.is("ask-password")
      ? await askPassword()
      : login?.includes(":") || !MQTT_PASSWORD
      ? undefined
      : MQTT_PASSWORD);
  if (passwd !== undefined && uname === undefined && login === undefined) {
    throw new CommandError("There is a password and no user name: give -u USER, or MQTT_USER");
  }
  return { uname, passwd };
}

/** TLS is on with `mqtts:` and `wss:` by itself; a certificate that nobody vouches for is refused unless --insecure says otherwise. */
function tls(values: Values): ConnectOptions["tls"] {
  const [ca, cert, key] = ["cafile", "cert", "key"].map((name) => readGiven(values, name));
  const isSecure = /^(mqtts|ssl|tls|wss):/i.test(urlOf(values) ?? "") || ca !== undefined || cert !== undefined ||
    values.is("tls") || values.is("insecure");
  if (!isSecure) return undefined;
  if ((cert === undefined) !== (key === undefined)) throw new CommandError("--cert and --key belong together");
  return { ca, cert, key, untrusted: values.is("insecure") ? undefined : "reject" };
}

function will(values: Values): ConnectOptions["will"] {
  const topic = values.text("will-topic");
  if (topic === undefined) return undefined;
  return {
    topic,
    message: values.text("will-payload") ?? "",
    qos: values.qos("will-qos"),
    retain: values.is("will-retain"),
    ...willProperties(values),
  };
}

/** Opens the connection; what becomes of it is told on standard error. `onstatus` hears it, too. */
export async function open(
  values: Values,
  interrupted: Promise<number>,
  { onpub, onstatus, ...more }: ConnectOptions & { onpub?: OnPublish } = {},
): Promise<Client> {
  const isQuiet = values.is("quiet");
  const options = await connectOptions(values);
  const tell = teller(options.version === "auto" && (values.is("verbose") || values.is("debug")));
  const connected = connect(place(values).address, onpub, {
    ...options,
    ...more,
    onstatus(status) {
      if (!isQuiet) tell(status);
      onstatus?.(status);
    },
    trace: values.is("debug")
      ? ({ direction, type, size, packetId, topic, topics, qos, code, codes }) => {
        const what = [
          topic ?? topics?.join(" "),
          qos === undefined ? undefined : `QoS ${qos}`,
          code === undefined ? undefined : `code ${code}`,
          codes === undefined ? undefined : `codes ${codes.join(" ")}`,
        ];
        const details = [packetId && `#${packetId}`, ...what, `${size} bytes`].filter((part) => part !== undefined);
        say(`${direction === "sent" ? "->" : "<-"} ${type} ${details.join(", ")}`);
      }
      : undefined,
  });
  return await unless(interrupted, connected);
}

/** How a version is called. */
export function versionName(version: 4 | 5): string {
  return version === 5 ? "MQTT 5" : "MQTT 3.1.1";
}

/** Tells what a person at the terminal would want to know: as long as all goes well, at most the version that was found. */
function teller(tellsVersion: boolean): (status: Status) => void {
  let wasLost = false, isTold = !tellsVersion;
  return (status) => {
    switch (status.type) {
      case "waiting":
        wasLost = true;
        say(`${messageOf(status.error)} (the next attempt is in ${(status.delay / 1000).toFixed(1)} s)`, "yellow");
        break;
      case "connected":
        if (!isTold) say(`the broker speaks ${versionName(status.version)}`);
        isTold = true;
        if (wasLost) say(`connected again${status.sessionPresent ? ", to the same session" : ""}`, "green");
        wasLost = false;
        break;
      case "refused":
      case "dropped":
      case "store":
        say(messageOf(status.error), "red");
    }
  };
}
