/** The suite of the client over `connectWorker`: the same promises, the connection in a thread. */
import { idleSuite, suite } from "../client/suite.ts";
import {
  overModule,
  overModuleWebSocket,
  overThread,
  overThreadSocksAndTls,
  overThreadUnix,
  overThreadWebSocket,
} from "../client/ways.ts";

suite("in a thread", overThread);
suite("in a thread: SOCKS5 and TLS", overThreadSocksAndTls);
suite("in a thread with its module", overModule);
suite("in a thread: WebSocket over TLS", overThreadWebSocket);
suite("in a thread: a Unix socket", overThreadUnix);
suite("in a thread with its module: WebSocket", overModuleWebSocket);
idleSuite([overThread, overModule, overThreadSocksAndTls, overThreadWebSocket, overThreadUnix, overModuleWebSocket]);
