/** Who is trusted, and what an untrusted server gets to see: nothing. */
import { test } from "node:test";
import { once } from "node:events";
import { type AddressInfo, connect as connectTcp, createServer, type Socket } from "node:net";
import { checkServerIdentity as checkName, connect as connectTls, type TLSSocket } from "node:tls";
import { inspect } from "node:util";
import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import { type Client, connect, type ConnectOptions, type ErrorCode, type Streams } from "../../mod.ts";
import { type Certificate, type Certificates, certificates } from "../support/certificates.ts";
import { needs } from "../support/process.ts";
import { close, type Scripted, send, startScripted, wait } from "../support/scripted.ts";
import { credentials, startMicrosocks, startMosquitto } from "../support/servers.ts";
import { startHttpProxy } from "./http_proxy.ts";
import { endsToo, failure, gone, within } from "./support.ts";

const tools = needs("openssl");
const connack = [wait(14), send(Uint8Array.of(0x20, 2, 0, 0)), endsToo];
const bad = [
  ["unknown", "untrusted"],
  ["selfSigned", "untrusted"],
  ["wrongName", "wrongname"],
  ["expired", "expired"],
] as const;

/** Plays a TLS server with the certificate, and gives what it needs to know of it. */
async function withServer(
  certificate: Certificate,
  act: (server: Scripted, op: { port: number; timeout: number }) => Promise<unknown>,
  tlsOptions: Record<string, unknown> = {},
): Promise<void> {
  const server = await startScripted(connack, { tls: certificate, tlsOptions });
  try {
    await act(server, { port: server.port, timeout: 5000 });
  } finally {
    await server.stop();
  }
}

async function openTls(port: number, options: Record<string, unknown> = {}): Promise<TLSSocket> {
  const socket = connectTls({ host: "127.0.0.1", port, rejectUnauthorized: false, ...options });
  await once(socket, "secureConnect");
  return socket;
}

/** Whatever the client tries, it fails with the code, and no byte of it arrives. */
async function refused(server: Scripted, code: ErrorCode, act: () => Promise<Client>): Promise<void> {
  const error = await failure(act());
  assertEquals(error.code, code);
  await within(Promise.all(server.peers.map(gone)), "the end of the connections");
  assertEquals(server.received(), new Uint8Array(), "what the server received");
}

for (const [kind, code] of bad) {
  test(`${kind}: with credentials nothing is sent, nor are they asked for`, tools, async () => {
    const { ca, [kind as keyof Certificates]: certificate } = certificates();
    let asked = 0;
    const ask = () => `${asked++}`;
    const secrets: ConnectOptions[] = [
      { uname: "u" },
      { uname: "u", passwd: "p" },
      { uname: ask, passwd: ask },
      { uname: new Uint8Array([117]), passwd: () => Promise.resolve(ask()) },
    ];
    await withServer(certificate as Certificate, async (server, op) => {
      for (const secret of secrets) {
        await refused(server, code, () => connect("localhost", undefined, { ...op, ...secret, tls: { ca } }));
        const { port } = server;
        const handIn = async () => connect(await openTls(port, { ca, servername: "localhost" }), undefined, secret);
        await refused(server, code, handIn);
      }
      await refused(server, code, () => connect(`mqtts://u:p@localhost:${op.port}`, undefined, { tls: { ca } }));
      await refused(server, code, () => connect("localhost", undefined, { ...op, tls: { ca, untrusted: "reject" } }));
      assertEquals(asked, 0);
    });
  });

  test(`${kind}: without credentials it is accepted, and trusted says what is wrong`, tools, async () => {
    const { ca, [kind as keyof Certificates]: certificate } = certificates();
    await withServer(certificate as Certificate, async ({ port }, op) => {
      const own = await connect("localhost", undefined, { ...op, tls: { ca } });
      assertEquals(own.trusted, code);
      await own.disconnect();
      const socket = await openTls(port, { ca, servername: "localhost" });
      const handedIn = await connect(socket);
      assertEquals([handedIn.trusted, handedIn.sock === socket], [code, true]);
      await handedIn.disconnect();
    });
  });
}

test("a good certificate: trusted, and credentials are asked for once", tools, async () => {
  const { ca, server: certificate } = certificates();
  let asked = 0;
  const uname = () => {
    asked++;
    return Promise.resolve("größe");
  };
  await withServer(certificate, async (server, op) => {
    for (const host of ["localhost", "127.0.0.1"]) {
      const tls = { ca, untrusted: "reject" } as const;
      const client = await connect(host, undefined, { ...op, tls, uname, passwd: new Uint8Array([0, 255]) });
      assertEquals(client.trusted, true);
      await client.disconnect();
    }
    const socket = await openTls(server.port, { ca, servername: "localhost" });
    const client = await connect(socket, undefined, { uname: "u" });
    assertEquals(client.trusted, true);
    await client.disconnect();
    assertEquals(asked, 2);
    const bytes = [0, 7, ...new TextEncoder().encode("größe"), 0, 2, 0, 255];
    assertEquals(server.peers[0]!.received().slice(-bytes.length - 2, -2).join(), bytes.join());
  });
});

test("a TLS socket handed in before its handshake is awaited, then judged", tools, async () => {
  const { ca, server: good, unknown } = certificates();
  await withServer(unknown, async (server) => {
    const start = () => connectTls({ host: "127.0.0.1", port: server.port, ca, rejectUnauthorized: false });
    await refused(server, "untrusted", () => connect(start(), undefined, credentials));
  });
  await withServer(good, async (server) => {
    const socket = connectTls({ host: "127.0.0.1", port: server.port, ca, servername: "localhost" });
    const client = await connect(socket, undefined, credentials);
    assertEquals(client.trusted, true);
    await client.disconnect();
  });
});

test("a TLS socket handed in is judged by the name in tls.servername, or by its own", tools, async () => {
  const { ca, server: good } = certificates();
  await withServer(good, async (server) => {
    const servername = "elsewhere.example";
    await refused(server, "wrongname", async () => {
      const socket = await openTls(server.port, { ca, servername: "localhost" });
      return connect(socket, undefined, { ...credentials, tls: { servername } });
    });
    // Whoever opened it looked for another name, and found it wrong, or did not look.
    for (const checkServerIdentity of [checkName, () => undefined]) {
      await refused(
        server,
        "wrongname",
        async () =>
          connect(await openTls(server.port, { ca, servername, checkServerIdentity }), undefined, credentials),
      );
    }
  });
});

test("a TLS socket whose owner has its certificate refused says why", tools, async () => {
  const { ca, server: good, wrongName, expired } = certificates();
  const rows = [[good, undefined, "untrusted"], [wrongName, ca, "wrongname"], [expired, ca, "expired"]] as const;
  for (const [certificate, ca, code] of rows) {
    await withServer(certificate, ({ port }) => {
      // As Deno's would say "unknown issuer" of an expired one, only what it says can be told.
      const socket = connectTls({ host: "127.0.0.1", servername: "localhost", port, ...ca && { ca } });
      return failure(connect(socket)).then((error) => {
        assert(error.code === code || code === "expired" && error.code === "untrusted", `${code}: ${error.code}`);
      });
    });
  }
});

test("TLS that breaks is noticed at once", tools, async () => {
  const { ca, server: certificate } = certificates();
  await withServer(certificate, async ({ port }) => {
    const pipes: Socket[] = [];
    const between = createServer((near) => {
      const far = connectTcp(port, "127.0.0.1");
      for (const socket of [near, far]) pipes.push(socket.on("error", () => {}));
      near.pipe(far).pipe(near);
    });
    await once(between.listen(0, "127.0.0.1"), "listening");
    const op = { port: (between.address() as AddressInfo).port, tls: { ca }, id: "ID", keepalive: 0 };
    const client = await connect("localhost", undefined, op);
    pipes[0]!.write(Uint8Array.of(0x17, 3, 3, 0, 20, ...new Array(20).fill(1))); // a record that nobody has encrypted
    assertEquals((await within(client.run(), "run()")).code, "tls");
    for (const socket of pipes) socket.destroy();
    await new Promise((resolve) => between.close(resolve));
  });
});

test("plain TCP is no TLS: trusted is false", async () => {
  const server = await startScripted(connack);
  try {
    const client = await connect("127.0.0.1", undefined, { port: server.port });
    assertEquals(client.trusted, false);
    await client.disconnect();
    const socket = connectTcp(server.port, "127.0.0.1");
    const handedIn = await connect(socket);
    assertEquals([handedIn.trusted, handedIn.sock === socket], [false, true]);
    await handedIn.disconnect();
  } finally {
    await server.stop();
  }
});

test("servername is the name that is asked for and checked, alpn what is offered", tools, async () => {
  const { ca, wrongName } = certificates();
  await withServer(wrongName, async (server, op) => {
    const servername = "elsewhere.example";
    const client = await connect("127.0.0.1", undefined, {
      ...op,
      ...credentials,
      tls: { ca, servername, alpn: ["x", "mqtt"] },
    });
    assertEquals(client.trusted, true);
    const { servername: asked, alpnProtocol } = (await server.peer()).socket as TLSSocket & { servername?: string };
    assertEquals([asked, alpnProtocol, (client.sock as TLSSocket).alpnProtocol], [servername, "mqtt", "mqtt"]);
    await client.disconnect();
  }, { ALPNProtocols: ["mqtt"] });
});

test("ca may be bytes, and a list", tools, async () => {
  const { ca, selfSigned, server: good } = certificates();
  const bytes = new TextEncoder().encode(ca);
  for (const list of [ca, bytes, [ca], [selfSigned.cert, bytes]]) {
    await withServer(good, async (_, op) => {
      const client = await connect("localhost", undefined, { ...op, tls: { ca: list } });
      assertEquals(client.trusted, true);
      await client.disconnect();
    });
  }
  await withServer(selfSigned, async (_, op) => {
    const client = await connect("localhost", undefined, { ...op, ...credentials, tls: { ca: selfSigned.cert } });
    assertEquals(client.trusted, true, "a self-signed certificate that is the ca");
    await client.disconnect();
  });
});

test("through a proxy the broker's name is checked, not the proxy's", needs("openssl", "microsocks"), async () => {
  const { ca, server: good, wrongName } = certificates();
  const socks = await startMicrosocks();
  const http = await startHttpProxy();
  try {
    for (const proxy of [`socks5://127.0.0.1:${socks.port}`, `http://127.0.0.1:${http.port}`]) {
      await withServer(wrongName, async (server, op) => {
        const secret = { ...op, ...credentials, proxy };
        await refused(server, "wrongname", () => connect("localhost", undefined, { ...secret, tls: { ca } }));
        const tls = { ca, servername: "elsewhere.example" };
        const client = await connect("localhost", undefined, { ...secret, tls });
        assertEquals(client.trusted, true);
        await client.disconnect();
      });
      await withServer(good, async (_, op) => {
        const client = await connect("localhost", undefined, { ...op, ...credentials, proxy, tls: { ca } });
        assertEquals(client.trusted, true);
        await client.disconnect();
      });
    }
    assert(http.requests.every((request) => request.startsWith("CONNECT localhost:")), "the proxy resolves the name");
  } finally {
    await socks.stop();
    await http.stop();
  }
});

test("mosquitto with a password, over TLS, with a client certificate", needs("mosquitto", "openssl"), async () => {
  const { ca, client: { cert, key } } = certificates();
  const mosquitto = await startMosquitto({ password: true, clientCert: true });
  const op = { port: mosquitto.port, timeout: 5000, tls: { ca, cert, key: new TextEncoder().encode(key) } };
  try {
    const client = await connect("localhost", undefined, { ...op, ...credentials });
    assertEquals(await client.subscribe("t"), 0);
    await client.disconnect();
    const { uname, passwd } = credentials;
    const fromUrl = await connect(`mqtts://${uname}:${passwd}@localhost:${op.port}`, undefined, { tls: op.tls });
    await fromUrl.disconnect();
    assertEquals((await failure(connect("localhost", undefined, { ...op, ...credentials, passwd: "wrong" }))).code, 5);
  } finally {
    await mosquitto.stop();
  }
});

test("no error tells a password, nor a key", tools, async () => {
  const { ca, unknown, client: { key } } = certificates();
  const secret = "hunter2-größe%40", encoded = encodeURIComponent(secret);
  const op = { uname: "u", passwd: secret, timeout: 2000 };
  const refusing = await startScripted([wait(14), send(Uint8Array.of(0x20, 2, 0, 4)), close]);
  const silent = await startScripted();
  const http = await startHttpProxy("u:p");
  const untrusted = await startScripted(connack, { tls: unknown });
  const tries: (() => Promise<unknown>)[] = [
    () => connect("127.0.0.1", undefined, { ...op, port: refusing.port }),
    () => connect(`mqtt://u:${encoded}@127.0.0.1:${refusing.port}`),
    () => connect(`mqtt://u:${encoded}@127.0.0.1:1`),
    () => connect(`mqtt://u:${encoded}@nohost.invalid`),
    () => connect(`mqtt://u:${encoded}@`),
    () => connect(`http://u:${encoded}@localhost`),
    () => connect(`mqtt://u:${secret}%zz@localhost`),
    () => connect(`u:${secret}@localhost`),
    () => connect("127.0.0.1", undefined, { ...op, port: silent.port, timeout: 100 }),
    () => connect("localhost", undefined, { ...op, port: untrusted.port, tls: { ca } }),
    () => connect("localhost", undefined, { ...op, port: untrusted.port, tls: { ca, cert: "none", key } }),
    () => connect("127.0.0.1", undefined, { proxy: `http://u:${encoded}@127.0.0.1:${http.port}` }),
    () => connect("127.0.0.1", undefined, { proxy: `http://u:${encoded}@127.0.0.1:1` }),
    () => connect("127.0.0.1", undefined, { proxy: `socks5://u:${encoded}@127.0.0.1:${http.port}`, timeout: 500 }),
    () => connect("127.0.0.1", undefined, { proxy: `ftp://u:${encoded}@127.0.0.1` }),
    () => connect("127.0.0.1", undefined, { proxy: `socks5://u:${encoded.repeat(20)}@127.0.0.1` }),
    () => connect("127.0.0.1", undefined, { ...op, passwd: `${secret}\0` }),
    () => connect("127.0.0.1", undefined, { passwd: secret }),
  ];
  const pem = key.split("\n")[1]!;
  try {
    for (const [i, act] of tries.entries()) {
      const error = await act().then(() => undefined, (error) => error);
      assert(error instanceof Error, `try ${i} fails`);
      const told = `${error.message} ${error.stack} ${inspect(error, { depth: 9, showHidden: true })}`;
      for (
        const text of [secret, encoded, btoa(`u:${encoded}`), btoa(unescape(encodeURIComponent(`u:${secret}`))), pem]
      ) {
        assert(!told.includes(text), `try ${i} tells it: ${error.message}`);
      }
      assertMatch(error.message, /./);
    }
  } finally {
    await Promise.all([refusing, silent, http, untrusted].map((server) => server.stop()));
  }
});

interface DenoTls {
  connectTls(options: { hostname: string; port: number; caCerts: string[] }): Promise<Streams>;
}

const deno = (globalThis as { Deno?: DenoTls }).Deno;

if (deno) {
  test("a Deno.TlsConn is trusted once its handshake is done; a failed one is told", tools, async () => {
    const { ca, server: good, unknown } = certificates();
    await withServer(good, async ({ port }) => {
      const client = await connect(
        await deno.connectTls({ hostname: "localhost", port, caCerts: [ca] }),
        undefined,
        credentials,
      );
      assertEquals(client.trusted, true);
      await client.disconnect();
    });
    await withServer(good, async ({ port }) => {
      const socket = await deno.connectTls({ hostname: "localhost", port, caCerts: [ca] });
      const op = { ...credentials, tls: { servername: "elsewhere.example" } };
      await assertRejects(() => connect(socket, undefined, op), TypeError, "servername");
      await (await connect(socket)).disconnect();
    });
    await withServer(unknown, async (server) => {
      const { port } = server;
      await refused(
        server,
        "untrusted",
        async () =>
          connect(await deno.connectTls({ hostname: "localhost", port, caCerts: [ca] }), undefined, credentials),
      );
    });
  });
}
