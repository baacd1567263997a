/** The suite of the client over `connectWorker`: the same promises, the connection in a thread. */
import { idleSuite, suite } from "../client/suite.ts";
import { overModule, overThread, overThreadSocksAndTls } from "../client/ways.ts";

suite("in a thread", overThread);
suite("in a thread: SOCKS5 and TLS", overThreadSocksAndTls);
suite("in a thread with its module", overModule);
idleSuite([overThread, overModule, overThreadSocksAndTls]);
