/**
 * A proxy to the broker on this machine, through which everything takes so many milliseconds, however much is on its way;
 * SIGHUP resets the connections, and what is on its way is lost.
 */
import { type AddressInfo, connect, createServer, type Socket } from "node:net";
import process from "node:process";

const delay = Number(process.argv[2]);
const sockets = new Set<Socket>();

const server = createServer((client) => {
  const broker = connect(1883, "127.0.0.1");
  for (const [from, to] of [[client, broker], [broker, client]] as const) {
    sockets.add(from.setNoDelay(true));
    from.on("data", (bytes) => setTimeout(() => to.destroyed || to.write(bytes), delay));
    // A reset is what is being tested, and the other side closes for it.
    from.on("error", () => to.destroy()).on("close", () => {
      sockets.delete(from);
      to.destroy();
    });
  }
});
process.on("SIGHUP", () => sockets.forEach((socket) => socket.resetAndDestroy()));
server.listen(0, "0.0.0.0", () => process.stdout.write(`port ${(server.address() as AddressInfo).port}\n`));
