/** The names of the options: one that does not exist is told, with the name that is meant.
 * @module */

import type { ConnectOptions } from "../options.ts";
import { checkKnown, type Names } from "../protocol/names.ts";
import { checkObject } from "./checks.ts";

const ADDRESS = "the address is the first argument";
const ADDRESSES = "the addresses are the first argument, as a list";
const ID = "use id";
const UNAME = "use uname";
const PASSWD = "use passwd";
const WILL = "use will: { topic, message, qos, retain }";
const SESSION = "use session, which is false by default; true keeps the session";
const UNTRUSTED = 'use tls.untrusted: "reject" refuses every server that is not trusted';

const CONNECT: Names = {
  of: "connect",
  own: [
    ...[
      "port",
      "tls",
      "keepalive",
      "id",
      "version",
      "topicAliases",
      "checkFormat",
      "properties",
      "auth",
      "uname",
      "passwd",
      "will",
      "session",
      "timeout",
      "proxy",
      "headers",
    ],
    ...[
      "maxPacketSize",
      "maxBuffered",
      "maxInflight",
      "receiveMaximum",
      "sessionLost",
      "store",
      "reconnect",
      "offline",
      "subscriptions",
      "signal",
      "onstatus",
      "trace",
    ],
  ],
  foreign: {
    username: UNAME,
    user: UNAME,
    login: UNAME,
    password: PASSWD,
    pass: PASSWD,
    clientid: ID,
    clientidentifier: ID,
    host: ADDRESS,
    hostname: ADDRESS,
    address: ADDRESS,
    url: ADDRESS,
    broker: ADDRESS,
    servers: ADDRESSES,
    hosts: ADDRESSES,
    brokers: ADDRESSES,
    addresses: ADDRESSES,
    urls: ADDRESSES,
    path: ADDRESS,
    wsoptions: "use headers, tls and proxy; path and query are those of the URL, the first argument",
    httpheaders: "use headers",
    customheaders: "use headers",
    wsheaders: "use headers",
    protocolversion: 'use version: 4 is MQTT 3.1.1, 5, or "auto"',
    resubscribe: "it always does, with reconnect",
    nocheck: "leave it out: without credentials any server is accepted, and with them it must be trusted",
    transformwsurl: "the first argument may be a function, which is asked at every attempt",
    protocol: `${ADDRESS}, mqtts://host for TLS`,
    onpub: "it is the second argument",
    onmessage: "use onpub, the second argument",
    callback: "use onpub, the second argument",
    clean: SESSION,
    cleansession: SESSION,
    cleanstart: SESSION,
    reconnectperiod: "use reconnect: true, or { minDelay, maxDelay }",
    reconnecttimeout: "use reconnect: true, or { minDelay, maxDelay }",
    reconnectonconnackerror:
      "use reconnect: true, which tries again after any refusal of a client that was accepted once",
    queueqoszero: "use offline: true to publish before there is a connection",
    mindelay: "use reconnect.minDelay",
    maxdelay: "use reconnect.maxDelay",
    stableafter: "use reconnect.stableAfter",
    attempts: "use reconnect.attempts",
    maxreconnectattempts: "use reconnect.attempts",
    connecttimeout: "use timeout, in milliseconds",
    willtopic: WILL,
    willmessage: WILL,
    lwt: WILL,
    lastwill: WILL,
    ssl: "use tls",
    secure: "use tls",
    usessl: "use tls",
    ca: "use tls.ca",
    cacerts: "use tls.ca",
    cert: "use tls.cert",
    key: "use tls.key",
    pfx: "use tls.pfx",
    passphrase: "use tls.passphrase",
    servername: "use tls.servername",
    alpn: "use tls.alpn",
    alpnprotocols: "use tls.alpn",
    minversion: "use tls.minVersion",
    ciphers: "use tls.ciphers",
    untrusted: UNTRUSTED,
    rejectunauthorized: UNTRUSTED,
    abortsignal: "use signal",
    persistence: "use store",
    incomingstore: "use store",
    outgoingstore: "use store",
    concurrency: "subscribe() has it",
    subscribe: "use subscriptions: { filter: onpub }",
    topics: "use subscriptions: { filter: onpub }",
    highwatermark: "use receiveMaximum",
  },
};

const TLS: Names = {
  of: "connect",
  prefix: "tls.",
  own: ["ca", "cert", "key", "passphrase", "pfx", "servername", "alpn", "minVersion", "ciphers", "untrusted"],
  foreign: {
    rejectunauthorized: UNTRUSTED,
    alpnprotocols: "use tls.alpn",
    cacerts: "use tls.ca",
    certchain: "use tls.cert",
    certificate: "use tls.cert",
    privatekey: "use tls.key",
    password: "use tls.passphrase",
    host: "use tls.servername",
    hostname: "use tls.servername",
    sni: "use tls.servername",
    checkserveridentity: "use tls.servername: the certificate must be valid for that name",
    secureprotocol: "use tls.minVersion",
  },
};

const WILL_OPTIONS: Names = {
  of: "connect",
  prefix: "will.",
  own: ["topic", "message", "qos", "retain", "delay", "expiry", "properties"],
  foreign: {
    willdelayinterval: "use will.delay, in seconds",
    delayinterval: "use will.delay, in seconds",
    messageexpiryinterval: "use will.expiry, in seconds",
    payload: "use will.message",
    msg: "use will.message",
  },
};

const RECONNECT: Names = {
  of: "connect",
  prefix: "reconnect.",
  own: ["minDelay", "maxDelay", "stableAfter", "attempts"],
  foreign: {
    period: "use reconnect.minDelay, which doubles up to reconnect.maxDelay",
    delay: "use reconnect.minDelay, which doubles up to reconnect.maxDelay",
    interval: "use reconnect.minDelay, which doubles up to reconnect.maxDelay",
    initialdelay: "use reconnect.minDelay",
    min: "use reconnect.minDelay",
    max: "use reconnect.maxDelay",
    retries: "use reconnect.attempts",
    maxretries: "use reconnect.attempts",
    times: "use reconnect.attempts",
  },
};

const PUBLISH: Names = {
  of: "publish",
  own: ["qos", "retain", "expiry", "until", "signal", "properties"],
  foreign: {
    retained: "use retain",
    dup: "the client sets it itself",
    messageexpiryinterval: "use expiry, in seconds",
    ttl: "use expiry, in seconds",
  },
};

/** How filters are subscribed with version 5, and what others call that. */
const SUBSCRIPTION = ["noLocal", "retainAsPublished", "retainHandling", "id", "properties"];
const SUBSCRIPTION_FOREIGN = {
  nl: "use noLocal",
  rap: "use retainAsPublished",
  rh: "use retainHandling",
  subscriptionidentifier: "use id",
  subscriptionid: "use id",
};

const SUBSCRIBE: Names = {
  of: "subscribe",
  own: ["qos", "onpub", "concurrency", ...SUBSCRIPTION],
  foreign: {
    ...SUBSCRIPTION_FOREIGN,
    onmessage: "use onpub",
    handler: "use onpub",
    listener: "use onpub",
    callback: "use onpub for messages; the callback for the return code is the third argument",
    limit: "messages() has it",
  },
};

const MESSAGES: Names = {
  of: "messages",
  own: ["qos", "limit", ...SUBSCRIPTION],
  foreign: {
    ...SUBSCRIPTION_FOREIGN,
    onpub: "messages() gives the messages itself; subscribe() has it",
    highwatermark: "use limit",
  },
};

const REQUEST: Names = {
  of: "request",
  own: ["timeout", "qos", "properties"],
  foreign: { responsetopic: "the client chooses it", correlationdata: "the client chooses it" },
};

const RESPOND: Names = {
  of: "respond",
  own: ["qos", "concurrency"],
  foreign: { onpub: "the handler is the second argument" },
};

const DISCONNECT: Names = {
  of: "disconnect",
  own: ["drain", "will", "session", "properties"],
  foreign: {
    sessionexpiryinterval: "use session, in seconds",
    sessionexpiry: "use session, in seconds",
    graceful: "use drain",
    force: "it is the default: use drain for the other",
    timeout: "connect() has it",
  },
};

const CONNECT_PROPERTIES: Names = {
  of: "connect",
  prefix: "properties.",
  own: ["user", "requestResponse", "requestProblem"],
  foreign: {
    userproperties: 'use properties.user, [["name", "value"]]',
    requestresponseinformation: "use properties.requestResponse",
    requestprobleminformation: "use properties.requestProblem",
    sessionexpiryinterval: "use session, in seconds",
    receivemaximum: "use receiveMaximum",
    maximumpacketsize: "use maxPacketSize",
    topicaliasmaximum: "use topicAliases",
  },
};

const AUTH: Names = {
  of: "connect",
  prefix: "auth.",
  own: ["method", "data", "answer"],
  foreign: { authenticationmethod: "use auth.method", authenticationdata: "use auth.data", onauth: "use auth.answer" },
};

const PACKET_PROPERTIES: Names = {
  of: "subscribe",
  prefix: "properties.",
  own: ["user"],
  foreign: { userproperties: 'use properties.user, [["name", "value"]]', subscriptionidentifier: "use id" },
};

const FILE_STORE: Names = {
  of: "fileStore",
  own: ["sync"],
  foreign: {
    path: "it is the first argument",
    file: "the path is the first argument",
    fsync: 'use sync: "disk"',
    durable: 'use sync: "disk"',
  },
};

const INDEXED_DB_STORE: Names = {
  of: "indexedDBStore",
  own: ["sync"],
  foreign: {
    name: "it is the first argument",
    durability: 'use sync: "disk" for what IndexedDB calls strict',
    durable: 'use sync: "disk"',
  },
};

/** Who takes options. */
export type Kind =
  | ("connect" | "tls" | "will" | "reconnect" | "publish" | "subscribe" | "messages" | "disconnect")
  | ("auth" | "request" | "respond" | "connectProperties" | "packetProperties" | "fileStore" | "indexedDBStore");

const KINDS: Record<Kind, Names> = {
  connect: CONNECT,
  tls: TLS,
  will: WILL_OPTIONS,
  reconnect: RECONNECT,
  publish: PUBLISH,
  subscribe: SUBSCRIBE,
  messages: MESSAGES,
  disconnect: DISCONNECT,
  auth: AUTH,
  request: REQUEST,
  respond: RESPOND,
  connectProperties: CONNECT_PROPERTIES,
  packetProperties: PACKET_PROPERTIES,
  fileStore: FILE_STORE,
  indexedDBStore: INDEXED_DB_STORE,
};

/**
 * Checks that every option that is given exists; one that is undefined is not given.
 *
 * @throws {TypeError} Which says what is meant; also of an option that is null.
 */
export function checkNames(kind: Kind, options: object): void {
  checkKnown(KINDS[kind], options);
}

/** @throws {TypeError} If the options of connect are no object, or one does not exist. */
export function checkOptions(op: ConnectOptions): void {
  checkObject(op, "op");
  checkNames("connect", op);
}
