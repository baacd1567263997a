/** The reason codes of MQTT 5 in the tests' own codec. */
import { Malformed } from "./naive_body.ts";

/** The reason codes of each packet (section 2.4 of MQTT 5), and the statement that there are no others. */
const REASONS: Record<string, [codes: string, statement: string]> = {
  CONNACK: ["0 80 81 82 83 84 85 86 87 88 89 8a 8c 90 95 97 99 9a 9b 9c 9d 9f", "3.2.2-8"],
  PUBACK: ["0 10 80 83 87 90 91 97 99", "3.4.2-1"],
  PUBREC: ["0 10 80 83 87 90 91 97 99", "3.5.2-1"],
  PUBREL: ["0 92", "3.6.2-1"],
  PUBCOMP: ["0 92", "3.7.2-1"],
  SUBACK: ["0 1 2 80 83 87 8f 91 97 9e a1 a2", "3.9.3-2"],
  UNSUBACK: ["0 11 80 83 87 8f 91", "3.11.3-2"],
  DISCONNECT: [
    "0 4 80 81 82 83 87 89 8b 8d 8e 8f 90 93 94 95 96 97 98 99 9a 9b 9c 9d 9e 9f a0 a1 a2",
    "3.14.2-1",
  ],
  AUTH: ["0 18 19", "3.15.2-1"],
};

/** All reason codes of a packet. */
export function reasonsOf(type: string): number[] {
  return REASONS[type]![0].split(" ").map((code) => parseInt(code, 16));
}

/** A reason code that the packet may have. */
export function reason(type: string, code: number): number {
  if (!reasonsOf(type).includes(code)) throw new Malformed(`[MQTT5-${REASONS[type]![1]}]`);
  return code;
}
