/** The suite over the transports that the client opens itself, to mosquitto and to aedes. */
import { idleSuite, suite } from "./suite.ts";
import { handedIn, overAedes, overHttpConnect, overSocksAndTls, overTcp, overTls } from "./ways.ts";

suite("TCP", overTcp, 50_000);
suite("TLS", overTls, 50_000);
suite("SOCKS5 and TLS", overSocksAndTls);
suite("HTTP CONNECT", overHttpConnect);
suite("TCP to aedes", overAedes);
idleSuite([overTcp, overTls, overSocksAndTls, overHttpConnect, overAedes, ...Object.values(handedIn)]);
