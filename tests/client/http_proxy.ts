/** An HTTP proxy that knows nothing but CONNECT (RFC 9110, section 9.3.6). */
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import { Buffer } from "node:buffer";
import type { Server } from "../support/servers.ts";

export interface HttpProxy extends Server {
  /** The heads of all requests, oldest first. */
  requests: string[];
}

/** With a login, `user:password`, it answers 407 to whoever does not give it. */
export async function startHttpProxy(login?: string): Promise<HttpProxy> {
  const requests: string[] = [];
  const sockets = new Set<Socket>();
  const track = (socket: Socket) => {
    sockets.add(socket);
    return socket.on("error", () => socket.destroy()).on("close", () => sockets.delete(socket));
  };
  const server = createServer((client) => {
    let head = "";
    const read = (chunk: Uint8Array) => {
      head += Buffer.from(chunk).toString("latin1");
      if (!head.endsWith("\r\n\r\n")) return;
      client.off("data", read).pause();
      requests.push(head);
      answer(client, head);
    };
    track(client).on("data", read);
  });

  function answer(client: Socket, head: string): void {
    const [, host, port] = /^CONNECT \[?([^\]\s]+)\]?:(\d+) HTTP\/1\.1\r\n/.exec(head) ?? [];
    const allowed = !login || head.includes(`Proxy-Authorization: Basic ${btoa(login)}\r\n`);
    if (!host || !allowed) {
      client.end(`HTTP/1.1 ${host ? "407 Proxy Authentication Required" : "400 Bad Request"}\r\n\r\n`);
      return;
    }
    const target = track(connect(Number(port), host));
    target.on("error", () => client.end("HTTP/1.1 502 Bad Gateway\r\n\r\n")).on("connect", () => {
      client.write("HTTP/1.1 200 Connection established\r\nVia: 1.1 test\r\n\r\n");
      client.pipe(target).pipe(client);
      client.on("close", () => target.destroy());
      target.on("close", () => client.destroy());
    });
  }

  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  return {
    port: (server.address() as AddressInfo).port,
    requests,
    async stop() {
      const closed = new Promise((resolve) => server.close(resolve));
      for (const socket of sockets) socket.destroy();
      await closed;
    },
  };
}
