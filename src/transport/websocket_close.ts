/** How a WebSocket ended, in words (RFC 6455, section 7).
 * @module */

import { MqttError } from "../errors.ts";
import type { Close } from "./websocket_frames.ts";

/** As much of a server's text is told, in letters. */
const MAX_TOLD = 200;

/** The codes of close frames, in words (section 7.4.1, and those registered since). */
const CODES: Record<number, string> = {
  1000: "normal",
  1001: "it is going away",
  1002: "protocol error",
  1003: "data it does not take",
  1005: "no code",
  1007: "wrong data",
  1008: "against its policy",
  1009: "too large",
  1010: "an extension is missing",
  1011: "an error of its own",
  1012: "it restarts",
  1013: "try again later",
  1014: "an error of a server behind it",
};

/** The error of a close frame. */
export function closedBy({ code, reason }: Close): MqttError {
  const words = CODES[code] === undefined ? "" : `, ${CODES[code]}`;
  const cause = new Error(`WebSocket close code ${code}${words}${reason === "" ? "" : `: ${told(reason)}`}`);
  return new MqttError("socketclosed", `The connection was closed by the broker: ${cause.message}`, cause);
}

/** What a server says, so that a person can read it, and no terminal does something. */
export function told(text: string): string {
  const short = text.length > MAX_TOLD ? `${text.slice(0, MAX_TOLD)}...` : text;
  return JSON.stringify(short).replaceAll(/[^ -~]/gu, (letter) => `\\u{${letter.codePointAt(0)!.toString(16)}}`);
}
