/** A client on a scripted server of WebSockets: what the tests of them share. */
import { Buffer } from "node:buffer";
import { type Client, connect, type ConnectOptions, type OnPublish } from "../../mod.ts";
import { type Action, type Scripted, send, startScripted } from "../support/scripted.ts";
import { closeFrame, frame, frames, until, upgrade } from "../support/websocket.ts";
import { endsToo } from "./support.ts";

export const latin1 = (text: string): Uint8Array => Uint8Array.from(text, (char) => char.charCodeAt(0));
export const concat = (...parts: Uint8Array[]): Uint8Array => new Uint8Array(Buffer.concat(parts));

export const CONNECT = "\x10\x0e\0\x04MQTT\x04\x02\0\0\0\x02ID";
export const CONNACK: Uint8Array = latin1("\x20\x02\0\0"), DISCONNECT: Uint8Array = latin1("\xe0\0");
export const publish = (topic: string, payload: string): Uint8Array =>
  latin1(
    `\x30${String.fromCharCode(2 + topic.length + payload.length)}\0${
      String.fromCharCode(topic.length)
    }${topic}${payload}`,
  );

/** Sends every byte on its own. */
export const trickle = (bytes: Uint8Array): Action => async ({ socket }) => {
  for (const byte of bytes) {
    await new Promise((sent) => socket.write(Uint8Array.of(byte), sent));
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
};

export async function withServer(
  script: Action[],
  act: (server: Scripted, op: ConnectOptions) => unknown,
): Promise<void> {
  const server = await startScripted(script);
  try {
    await act(server, { id: "ID", keepalive: 0, timeout: 3000, port: server.port });
  } finally {
    await server.stop();
  }
}

export const open = (op: ConnectOptions, onpub?: OnPublish): Promise<Client> => connect("ws://127.0.0.1", onpub, op);

/** The client accepted, over a good WebSocket. */
export const accepted: Action[] = [upgrade(), frames(1), send(frame(2, CONNACK))];

/** The server's side of a good end: it answers a close frame with one, and closes; the client need not linger. */
export const answersClose: Action = async (peer) => {
  endsToo(peer);
  await until(peer, ({ frames }) => frames.some(({ opcode }) => opcode === 8));
  peer.socket.end(closeFrame(1000));
};

/** A message, in one packet. */
export const whole: Uint8Array = publish("a", "bc");
