/** The client's certificate and key: what can be used is used, and what cannot is told before anything is sent. */
import { execFileSync } from "node:child_process";
import { Buffer } from "node:buffer";
import { once } from "node:events";
import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { connect as connectTls } from "node:tls";
import { assert, assertEquals, assertMatch, assertRejects } from "@std/assert";
import { connect, type TlsOptions } from "../../mod.ts";
import { certificates } from "../support/certificates.ts";
import { needs, type Process, startProcess } from "../support/process.ts";
import { send, startScripted, wait } from "../support/scripted.ts";
import { freePort, startMosquitto, untilAccepts } from "../support/servers.ts";
import { runtime } from "../support/spawn.ts";
import { modes } from "./modes.ts";
import { endsToo, failure } from "./support.ts";

const passphrase = "s3cr3t-4e1d";
const bom = "\ufeff";
const utf8 = new TextEncoder();
const openssl = (args: string[], input: string) => execFileSync("openssl", args, { input, stdio: "pipe" }).toString();
const indented = (pem: string) => pem.replaceAll(/^/gm, "\t  ");

/** The client's key in the forms that tools write. */
function keys() {
  const { client: { cert, key } } = certificates();
  return {
    cert,
    key,
    sec1: openssl(["ec"], key),
    encrypted: openssl(["pkcs8", "-topk8", "-v2", "aes-256-cbc", "-passout", `pass:${passphrase}`], key),
    legacy: openssl(["ec", "-aes256", "-passout", `pass:${passphrase}`], key),
    rsa: openssl(["genrsa", "2048"], ""),
  };
}

/** The client's key and certificate as PKCS#12. */
function pkcs12(password: string, ...more: string[]): Uint8Array {
  const { client: { certFile, keyFile } } = certificates();
  const dir = mkdtempSync(join(tmpdir(), "mqtt3c-pfx-"));
  const file = join(dir, "client.pfx");
  const args = ["pkcs12", "-export", "-inkey", keyFile, "-in", certFile, "-out", file, "-passout", `pass:${password}`];
  try {
    openssl([...args, ...more], "");
    return new Uint8Array(readFileSync(file));
  } finally {
    rmSync(dir, { recursive: true });
  }
}

/** All modes for the forms that go wrong most, one for the others: a thread takes its time. */
const inModes = (form: string) => /ncrypt|mark|PKCS#12$|another key/.test(form) ? modes : modes.slice(0, 1);

test("a client key in every form that can be read is used", needs("mosquitto", "openssl"), async () => {
  const { ca } = certificates(), { cert, key, sec1, encrypted, legacy } = keys();
  const forms: Record<string, TlsOptions> = {
    "PKCS#8": { cert, key },
    SEC1: { cert, key: sec1 },
    "encrypted PKCS#8": { cert, key: encrypted, passphrase },
    "legacy encryption": { cert, key: legacy, passphrase },
    "a passphrase it does not need": { cert, key, passphrase },
    "a byte order mark": { cert: bom + cert, key: bom + key },
    "a byte order mark, in bytes": { cert: utf8.encode(bom + cert), key: utf8.encode(bom + key) },
    indentation: { cert: indented(cert), key: indented(key), ca: indented(ca) },
    "indentation and encryption": { cert, key: indented(bom + legacy), passphrase },
    "lines of Windows": { cert: cert.replaceAll("\n", "\r\n"), key: key.replaceAll("\n", "\r\n") },
    "text around it": { cert: `Bag Attributes\n    a: b\n${cert}`, key: `Bag Attributes\n    a: b\n${key}\nend` },
    "both in one file": { cert: key + cert, key: cert + key },
    "a chain": { cert: cert + ca, key },
    "PKCS#12": { pfx: pkcs12(passphrase), passphrase },
    "PKCS#12 as a Buffer": { pfx: Buffer.from(pkcs12(passphrase)), passphrase },
    "PKCS#12 with an empty passphrase": { pfx: pkcs12("") },
  };
  const mosquitto = await startMosquitto({ clientCert: true });
  try {
    const wrong: string[] = [];
    for (const [form, tls] of Object.entries(forms)) {
      for (const [mode, open] of inModes(form)) {
        const op = { port: mosquitto.port, timeout: 5000, tls: { ca: bom + ca, ...tls } };
        await open("localhost", undefined, op).then((mqtt) => mqtt.disconnect()).catch((error) => {
          wrong.push(`${form}, ${mode}: ${error.message}`);
        });
      }
    }
    assertEquals(wrong, []);
  } finally {
    await mosquitto.stop();
  }
});

test(
  "a client certificate over wss: with it the broker lets in every mode, without it none",
  needs("mosquitto", "openssl"),
  async () => {
    const { ca, caFile, server: { certFile, keyFile } } = certificates(), { cert, key } = keys(), port = freePort();
    const mosquitto = await startMosquitto({
      config: [
        `listener ${port} 127.0.0.1`,
        "protocol websockets",
        `cafile ${caFile}`,
        `certfile ${certFile}`,
        `keyfile ${keyFile}`,
        "require_certificate true",
      ].join("\n"),
    });
    try {
      await untilAccepts(port);
      for (const [mode, open] of modes) {
        const mqtt = await open(`wss://localhost:${port}`, undefined, { tls: { ca, cert, key }, timeout: 10_000 });
        assertEquals([mode, mqtt.trusted], [mode, true]);
        await mqtt.disconnect();
        const error = await failure(open(`wss://localhost:${port}`, undefined, { tls: { ca }, timeout: 10_000 }));
        assertEquals([mode, error.code], [mode, "tls"], error.message);
      }
    } finally {
      await mosquitto.stop();
    }
  },
);

test("what cannot be used as client key or certificate: tls, and no connection is made", needs("openssl"), async () => {
  const { ca, server: other } = certificates(), { cert, key, encrypted, legacy, rsa } = keys();
  const garbled = (pem: string) => pem.replace(/\n.{20}/, "\nAAAAAAAAAAAAAAAAAAAA");
  const forms: [string, TlsOptions, RegExp][] = [
    ["encrypted, no passphrase", { cert, key: encrypted }, /tls\.key: it is encrypted: give tls\.passphrase/],
    ["legacy, no passphrase", { cert, key: legacy }, /tls\.key: it is encrypted: give tls\.passphrase/],
    ["wrong passphrase", { cert, key: encrypted, passphrase: "x" }, /tls\.key: tls\.passphrase does not open it/],
    ["legacy, wrong passphrase", { cert, key: legacy, passphrase: "x" }, /tls\.key: tls\.passphrase does not open it/],
    ["an encrypted key with a byte order mark", { cert, key: bom + encrypted }, /tls\.key: it is encrypted/],
    ["a garbled key", { cert, key: garbled(key) }, /tls\.key: it cannot be read/],
    ["half a key", { cert, key: key.slice(0, 100) }, /tls\.key: there is no whole private key/],
    ["\\n in letters", { cert, key: key.replaceAll("\n", "\\n") }, /tls\.key: it cannot be read/],
    ["another key", { cert, key: other.key }, /tls\.key: it is not the key of the first certificate/],
    ["a key of another kind", { cert, key: rsa }, /tls\.key: it is not the key of the first certificate/],
    ["a garbled certificate", { cert: garbled(cert), key }, /tls\.cert: it cannot be read/],
    ["a chain whose second is garbled", { cert: cert + garbled(ca), key }, /tls\.cert: it cannot be read/],
    ["half a certificate", { cert: cert.slice(0, 100), key }, /tls\.cert: there is no whole certificate/],
    ["cert and key swapped", { cert: key, key: cert }, /tls\.cert: there is no whole certificate/],
    ["a garbled authority", { ca: garbled(ca) }, /tls\.ca: it cannot be read/],
    ["a good authority and a garbled one", { ca: [ca, garbled(ca)] }, /tls\.ca: it cannot be read/],
    ["an authority that is a key", { ca: key }, /tls\.ca: there is no whole certificate/],
    ["PKCS#12, wrong passphrase", { pfx: pkcs12(passphrase), passphrase: "x" }, /tls\.pfx: .*tls\.passphrase/],
    ["PKCS#12, no passphrase", { pfx: pkcs12(passphrase) }, /tls\.pfx: .*tls\.passphrase/],
    ["PKCS#12 without a key", { pfx: pkcs12(passphrase, "-nokeys"), passphrase }, /tls\.pfx: it cannot be read/],
    ["PKCS#12 cut", { pfx: pkcs12(passphrase).subarray(0, 300), passphrase }, /tls\.pfx: it cannot be read/],
    ["PKCS#12 that is none", { pfx: utf8.encode("none") }, /tls\.pfx: it cannot be read/],
  ];
  // It asks for a certificate, and takes clients without one.
  const tlsOptions = { requestCert: true, rejectUnauthorized: false, ca };
  const server = await startScripted([wait(14), send([0x20, 2, 0, 0]), endsToo], { tls: other, tlsOptions });
  let connections = 0;
  const raw = await startScripted([() => connections++]);
  const secrets = [passphrase, ...[key, encrypted, legacy, rsa].map((pem) => pem.trim().split("\n").at(-2)!)];
  try {
    const wrong: string[] = [];
    for (const [form, tls, message] of forms) {
      for (const [mode, open] of inModes(form)) {
        const { port } = mode === "connect" ? server : raw;
        const error = await open("localhost", undefined, { port, timeout: 2000, tls: { ca, ...tls } }).then(
          (mqtt) => mqtt.disconnect(),
          (error) => error,
        );
        if (error?.code !== "tls" || !message.test(error.message)) wrong.push(`${form}, ${mode}: ${error}`);
        const told = `${error?.message} ${error?.stack} ${error?.cause}`;
        if (secrets.some((secret) => told.includes(secret))) wrong.push(`${form} tells a secret`);
      }
    }
    assertEquals(wrong, []);
    assertEquals([server.peers.length, connections], [0, 0]);
  } finally {
    await server.stop();
    await raw.stop();
  }
});

test("TLS options that make no sense together are TypeErrors", needs("openssl"), async () => {
  const { cert, key } = keys(), pfx = pkcs12(passphrase);
  const forms: [TlsOptions, string][] = [
    [{ cert }, "tls.cert"],
    [{ key }, "tls.key"],
    [{ pfx, cert, key }, "tls.pfx"],
    [{ passphrase }, "tls.passphrase"],
    [{ cert, key, passphrase: utf8.encode(passphrase) as never }, "tls.passphrase"],
    [{ pfx: Buffer.from(pfx).toString("base64") as never }, "tls.pfx"],
    [{ minVersion: "TLSv1.1" as never }, "tls.minVersion"],
    [{ ciphers: "" }, "tls.ciphers"],
    [{ ciphers: ["a"] as never }, "tls.ciphers"],
    [{ ca: [] }, "tls.ca"],
    [{ ca: "/etc/ssl/ca.pem" }, "tls.ca as it must be PEM text or bytes"],
    [{ ca: [new URL("file:///etc/ssl/ca.pem") as never] }, "received a URL"],
    [{ cert: "./client.crt", key }, "not a path: read the file"],
    [{ cert, key: "./client.key" }, "tls.key as it must be PEM text or bytes"],
    [{ cert, key: Uint8Array.of(0x30, 0x82) }, "tls.key as it must be PEM text or bytes"],
  ];
  for (const [, open] of modes) {
    for (const [tls, message] of forms) {
      const error = await assertRejects(() => open("localhost", undefined, { port: 1, tls }), TypeError, message);
      assert(!error.message.includes("client.key"), "what is given is not told");
    }
  }
});

/** A TLS server of openssl's own, which waits for a line of HTTP that does not come. */
async function startOpenssl(...args: string[]): Promise<{ port: number; server: Process }> {
  const { server: { certFile, keyFile } } = certificates();
  const port = freePort();
  const server = await startProcess("openssl", [
    ...["s_server", "-www", "-accept", `127.0.0.1:${port}`, "-cert", certFile, "-key", keyFile],
    ...args,
  ]);
  await server.output(/ACCEPT/);
  return { port, server };
}

test("minVersion: TLS 1.3 is asked for, and a server of TLS 1.2 is none", needs("mosquitto", "openssl"), async () => {
  const { ca } = certificates();
  const { port, server } = await startOpenssl("-tls1_2");
  const mosquitto = await startMosquitto({ tls: true });
  try {
    for (const [, open] of modes) {
      const secure = (minVersion: TlsOptions["minVersion"]) => ({ timeout: 10_000, tls: { ca, minVersion } });
      const refused = await failure(open("localhost", undefined, { port, ...secure("TLSv1.3") }));
      assertEquals(refused.code, "tls", refused.message);
      assert(!refused.message.includes("is this a TLS port?"), "its alert says that it is one");
      // The handshake is done, and there is no CONNACK.
      const accepted = await failure(open("localhost", undefined, { port, ...secure("TLSv1.2"), timeout: 1500 }));
      assertEquals(accepted.code, "timeout", accepted.message);
      const mqtt = await open("localhost", undefined, { port: mosquitto.port, ...secure("TLSv1.3") });
      await mqtt.disconnect();
    }
  } finally {
    await server.stop();
    await mosquitto.stop();
  }
});

test("ciphers are those that are offered, or an error says that they cannot be chosen", needs("openssl"), async () => {
  const { ca } = certificates();
  const [common, other] = ["ECDHE-ECDSA-AES128-GCM-SHA256", "ECDHE-ECDSA-AES256-GCM-SHA384"];
  const { port, server } = await startOpenssl("-tls1_2", "-cipher", common!);
  const connecting = (ciphers: string) =>
    connect("localhost", undefined, { port, timeout: 1500, tls: { ca, ciphers } });
  try {
    if (runtime === "deno") {
      await assertRejects(() => connecting(common!), TypeError, "Deno");
      return;
    }
    if (runtime === "bun") await assertRejects(() => connecting("TLS_AES_128_GCM_SHA256"), TypeError, "TLS 1.3");
    assertEquals((await failure(connecting(other!))).code, "tls");
    const none = await failure(connecting("NO-SUCH-SUITE"));
    assertEquals(none.code, "tls");
    assertMatch(none.message, /tls\.ciphers/);
    assertEquals((await failure(connecting(common!))).code, "timeout", "the handshake is done, CONNACK does not come");
  } finally {
    await server.stop();
  }
});

test("TLS options are not passed over in silence where the connection is handed in", async () => {
  const server = await startScripted([wait(14), send([0x20, 2, 0, 0]), endsToo], { tls: certificates().server });
  const socket = connectTls({ host: "127.0.0.1", port: server.port, rejectUnauthorized: false });
  try {
    await once(socket, "secureConnect");
    const tls = { ca: certificates().ca };
    await assertRejects(() => connect(socket, undefined, { tls }), TypeError, "tls.ca with a connection handed in");
    socket.destroy();
  } finally {
    await server.stop();
  }
});
