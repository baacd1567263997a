/** What a person sees: lines on standard error, colours, progress; and the question for a password. */
import { writeSync } from "node:fs";
import process from "node:process";
import { isatty } from "node:tty";
import { CommandError } from "./errors.ts";

/** Whether standard error is a terminal: lines may be written over. */
export const isTerminal: boolean = isatty(2);

const COLOURS = { red: 31, green: 32, yellow: 33, bold: 1, dim: 2 } as const;
export type Colour = keyof typeof COLOURS;

/** The text in a colour, where `descriptor` is a terminal and NO_COLOR is not set. */
export function coloured(text: string, colour: Colour, descriptor: 1 | 2): string {
  if (!isatty(descriptor) || process.env["NO_COLOR"]) return text;
  return `\x1b[${COLOURS[colour]}m${text}\x1b[0m`;
}

/** Whether the last line on the terminal is one of progress. */
let hasProgress = false;

/** A line on standard error. Nobody may be there to read it: that is no reason to end. */
export function say(text: string, colour?: Colour): void {
  clearProgress();
  write(`${coloured("mqtt3c:", "dim", 2)} ${colour ? coloured(text, colour, 2) : text}\n`);
}

/** A line that the next one replaces; none where standard error is no terminal. */
export function progress(text: string): void {
  if (!isTerminal) return;
  write(`\r\x1b[K${text}`);
  hasProgress = true;
}

export function clearProgress(): void {
  if (hasProgress) write("\r\x1b[K");
  hasProgress = false;
}

function write(text: string): void {
  try {
    writeSync(2, text);
  } catch (error) {
    if (!["EPIPE", "EAGAIN"].includes((error as NodeJS.ErrnoException).code ?? "")) throw error;
  }
}

/** Asks for a password, and shows nothing of it. */
export async function askPassword(): Promise<string> {
  const { stdin } = process;
  if (!stdin.isTTY || !isTerminal) {
    throw new CommandError("There is no terminal to ask for the password on: use MQTT_PASSWORD or --password-file");
  }
  stdin.setRawMode(true); // first: what is typed now is not shown
  write("Password: ");
  try {
    return await new Promise((resolve, reject) => {
      let typed = "";
      stdin.setEncoding("utf8").on("data", (text: string) => {
        for (const letter of text) {
          if (letter === "\r" || letter === "\n") return resolve(typed);
          if (letter === "\x03" || letter === "\x04") return reject(new CommandError("No password was given", 130));
          if (letter === "\x7f" || letter === "\b") typed = [...typed].slice(0, -1).join("");
          else typed += letter;
        }
      }).on("end", () => resolve(typed));
    });
  } finally {
    stdin.setRawMode(false);
    stdin.removeAllListeners("data").pause();
    write("\n");
  }
}

/** 1234567 as 1,234,567. */
export function grouped(count: number): string {
  return Math.round(count).toLocaleString("en");
}
