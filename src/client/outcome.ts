/** What a blocking call waits for.
 * @module */

import type { MqttError } from "../errors.ts";
import type { Call } from "../session/events.ts";

/** What became of a call, once it is `done`: a code, or an error. */
export class Outcome implements Call {
  done = false;
  code: number | undefined;
  error: MqttError | undefined;

  resolve(code: number | undefined): void {
    this.done = true;
    this.code = code;
  }

  reject(error: MqttError): void {
    this.done = true;
    this.error = error;
  }
}
