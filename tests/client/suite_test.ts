/** The suite over the transports that the client opens itself, to mosquitto and to aedes. */
import { idleSuite, suite } from "./suite.ts";
import {
  handedIn,
  overAedes,
  overAedesWebSocket,
  overHttpConnect,
  overSecureWebSocket,
  overSocksAndTls,
  overSocksAndWebSocket,
  overTcp,
  overTls,
  overUnix,
  overWebSocket,
} from "./ways.ts";

suite("TCP", overTcp, 50_000);
suite("TLS", overTls, 50_000);
suite("SOCKS5 and TLS", overSocksAndTls);
suite("HTTP CONNECT", overHttpConnect);
suite("TCP to aedes", overAedes);
suite("WebSocket", overWebSocket);
suite("WebSocket over TLS", overSecureWebSocket);
suite("WebSocket over SOCKS5 and TLS", overSocksAndWebSocket);
suite("WebSocket to aedes", overAedesWebSocket);
suite("a Unix socket", overUnix);
idleSuite([
  overTcp,
  overTls,
  overSocksAndTls,
  overHttpConnect,
  overAedes,
  overWebSocket,
  overSecureWebSocket,
  overSocksAndWebSocket,
  overAedesWebSocket,
  overUnix,
  ...Object.values(handedIn),
]);
