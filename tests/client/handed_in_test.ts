/** The suite over connections that somebody else opened. */
import { idleSuite, suite } from "./suite.ts";
import * as ways from "./ways.ts";

const handedIn = {
  "a net.Socket": ways.overSocket,
  "a tls.TLSSocket": ways.overTlsSocket,
  "a Duplex": ways.overDuplex,
  "web streams": ways.overWebStreams,
  "a socket of the package socks, upgraded to TLS": ways.overSocksPackage,
  ...ways.overDenoConn && { "a Deno.Conn": ways.overDenoConn },
  ...ways.overDenoTlsConn && { "a Deno.TlsConn": ways.overDenoTlsConn },
};

for (const [name, start] of Object.entries(handedIn)) {
  suite(`${name} handed in`, start, start === ways.overWebStreams ? 50_000 : undefined);
}
idleSuite(Object.values(handedIn));
