/** Servers with TLS that Chromium trusts, and others. */
import { assert, assertEquals, assertMatch } from "@std/assert";
import { connect } from "../../mod.ts";
import { until } from "../bridge/support.ts";
import { type Certificates, certificates } from "../support/certificates.ts";
import { startScripted } from "../support/scripted.ts";
import { credentials, freePort, startMosquitto, untilAccepts } from "../support/servers.ts";
import { testPage, trusting } from "./support.ts";

testPage(
  "page: over wss to a server that the browser trusts, with credentials; trusted says so",
  ["mosquitto", "openssl"],
  async ({ page }) => {
    const web = freePort(), { caFile, server: { certFile, keyFile } } = certificates();
    const config = [
      ...[`listener ${web} 127.0.0.1`, "protocol websockets"],
      ...[`cafile ${caFile}`, `certfile ${certFile}`, `keyfile ${keyFile}`],
    ];
    const broker = await startMosquitto({ password: true, config: config.join("\n") });
    await untilAccepts(web);
    const heard: string[] = [];
    const peer = await connect("127.0.0.1", (_, message) => void heard.push(message.text()), {
      port: broker.port,
      ...credentials,
    });
    try {
      await peer.subscribe("secret", { qos: 1 });
      const url = `wss://localhost:${web}`;
      const trusted = await page.call(
        async (url, credentials) => {
          await openKept(url, { tls: { untrusted: "reject" }, ...credentials });
          await kept.client.publish("secret", "x", { qos: 1 });
          return kept.client.trusted;
        },
        url,
        credentials,
      );
      assertEquals(trusted, true);
      await until(() => heard.length === 1, "the message");
      // Those of the URL; and others, which the broker refuses.
      const { uname, passwd } = credentials;
      await page.call((url) => openKept(url), url.replace("//", `//${uname}:${passwd}@`));
      const code = await page.call(
        (url) => mqtt3c.connect(url, undefined, { uname: "user", passwd: "wrong" }).then(() => 0, ({ code }) => code),
        url,
      );
      assertEquals(code, 5);
    } finally {
      await peer.disconnect();
      await broker.stop();
    }
  },
  () => [trusting()],
);

testPage(
  "page: over wss to a server that the browser does not trust no byte is sent, and the page is told where to look",
  ["openssl"],
  async ({ page }) => {
    const all = certificates();
    for (const kind of ["unknown", "selfSigned", "wrongName", "expired", "notYet"] satisfies (keyof Certificates)[]) {
      const server = await startScripted([], { tls: all[kind] });
      try {
        const told = await page.call(async (url) => {
          let asked = 0;
          const uname = () => `${asked++}`;
          try {
            await mqtt3c.connect(url, undefined, { uname, passwd: "secret" });
            return "connected";
          } catch (error) {
            const { code, message } = error as { code: string; message: string };
            return `${code}: ${message} (${asked})`;
          }
        }, `wss://localhost:${server.port}`);
        assertMatch(told, /^cannotconnect: .*its console may.*is its certificate valid\? \(0\)$/, kind);
        assert(!told.includes("secret"));
        assertEquals(server.received(), new Uint8Array(), kind);
      } finally {
        await server.stop();
      }
    }
    assertMatch(page.errors.join("\n"), /ERR_CERT_AUTHORITY_INVALID/);
  },
);
