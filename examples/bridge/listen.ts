/** An HTTP server's address. */
import type { Server } from "node:http";
import { type AddressInfo, isIPv6 } from "node:net";
import { networkInterfaces } from "node:os";
import type { ListenOptions } from "./program.ts";

/** Listens, and returns a URL that leads there. */
export async function listen(server: Server, { host = "127.0.0.1", port = 0, token }: ListenOptions): Promise<string> {
  if (token === "") throw new TypeError("Cannot listen as the token is empty: it would guard nothing");
  await new Promise<void>((resolve, reject) => server.on("error", reject).listen(port, host, resolve)).catch(
    (cause) => {
      if (cause.code !== "EADDRINUSE") throw cause;
      const mistake = new Error(`Cannot listen on ${host}:${port}: the port is taken; --port 0 takes any`, { cause });
      throw Object.assign(mistake, { code: cause.code });
    },
  );
  const { address, port: actual } = server.address() as AddressInfo;
  const name = /^(0\.0\.0\.0|::)$/.test(address) ? ownAddress() : address;
  return `http://${isIPv6(name) ? `[${name}]` : name}:${actual}`;
}

/** An address of this machine that others reach, too. */
function ownAddress(): string {
  const all = Object.values(networkInterfaces()).flatMap((list = []) => list);
  return all.find(({ family, internal }) => family === "IPv4" && !internal)?.address ?? "127.0.0.1";
}
