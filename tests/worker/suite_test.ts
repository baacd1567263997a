/** The suite of the client over `connectWorker`: the same promises, the connection in a thread. */
import { idleSuite, suite } from "../client/suite.ts";
import { overThread, overThreadSocksAndTls } from "../client/ways.ts";

suite("in a thread", overThread);
suite("in a thread: SOCKS5 and TLS", overThreadSocksAndTls);
idleSuite([overThread, overThreadSocksAndTls]);
