/** What an HTTP request is refused with, and its body, which may be too large or too slow. */
import { Buffer } from "node:buffer";
import type { IncomingMessage, ServerResponse } from "node:http";
import process from "node:process";
import { MqttError } from "../../mod.ts";
import { AwayError } from "./broker.ts";

/** Milliseconds a body may take. */
const BODY_TIME = 30_000;

/** What a broker refuses for another reason than that it is not allowed, by its reason codes: names, format; quota. */
const REFUSALS: Record<number, number> = { 143: 400, 144: 400, 153: 400, 151: 503 };

/** A request that is refused with this HTTP status. */
export class Refused extends Error {
  readonly status: number;
  readonly headers: Record<string, string>;

  constructor(status: number, message: string, headers: Record<string, string> = {}) {
    super(message);
    this.status = status;
    this.headers = headers;
  }
}

/** Told of bytes that come; throws when they are too many. */
export type Hold = (bytes: number) => void;

/** The body, once it has come. */
export function read(request: IncomingMessage, hold: Hold): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    const timer = setTimeout(() => settle(new Refused(408, "The body took too long")), BODY_TIME);
    request.on("data", take).on("end", settle).on("error", () => settle()).on("close", settle);
    function take(chunk: Buffer): void {
      chunks.push(chunk);
      try {
        hold(chunk.length);
      } catch (error) {
        settle(error as Error);
      }
    }
    function settle(error?: Error): void {
      clearTimeout(timer);
      request.off("data", take).off("end", settle).off("close", settle);
      if (error) reject(error);
      else if (request.complete) resolve(Buffer.concat(chunks));
      else reject(new Refused(400, "The body ended early"));
    }
  });
}

/** The status that an error means, and its headers. */
export function meaningOf(error: Error): [status: number, headers: Record<string, string>] {
  if (error instanceof Refused) return [error.status, error.headers];
  if (error instanceof AwayError) return [503, { "retry-after": `${error.retryAfter}` }];
  if (error instanceof MqttError) {
    const status = typeof error.code === "number"
      ? REFUSALS[error.code] ?? 403
      : error.code === "unsupported"
      ? 501
      : 503;
    return [status, status === 503 ? { "retry-after": "1" } : {}];
  }
  const isMistake = error instanceof TypeError || error instanceof RangeError || error instanceof SyntaxError;
  return [isMistake ? 400 : 500, {}];
}

/** Answers with what an error means. */
export function fail(response: ServerResponse, error: Error): void {
  if (response.headersSent) return void response.destroy();
  const [status, headers] = meaningOf(error);
  if (status === 500) process.emitWarning(error);
  const text = `${error.message}\n`;
  response.writeHead(status, {
    "content-type": "text/plain; charset=utf-8",
    "content-length": Buffer.byteLength(text),
    ...headers,
  }).end(text);
}
