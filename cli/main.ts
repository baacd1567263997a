#!/usr/bin/env node
/** The command line of mqtt3c: which command, and how it ends. */
import { writeSync } from "node:fs";
import process from "node:process";
import manifest from "../deno.json" with { type: "json" };
import { CommandError, EXIT, messageOf, statusOf } from "./errors.ts";
import { type commands, help, isCommand, isHelpPage, parse, type Values } from "./options.ts";
import { say } from "./terminal.ts";

/** Each resolves to the exit status. `interrupted` resolves to that of the signal: the command ends as it should. */
type Run = (values: Values, interrupted: Promise<number>) => Promise<number>;

/** Loaded when asked for: a program's start takes no longer for the others. */
const runs: Record<(typeof commands)[number], () => Promise<Run>> = {
  sub: async () => (await import("./sub.ts")).sub,
  pub: async () => (await import("./pub.ts")).pub,
  request: async () => (await import("./request.ts")).request,
  respond: async () => (await import("./respond.ts")).respond,
  bench: async () => (await import("./bench.ts")).bench,
  doctor: async () => (await import("./doctor.ts")).doctor,
};

/** The first signal ends the command in order, the second at once. */
const interrupted = new Promise<number>((resolve) => {
  for (const [signal, status] of [["SIGINT", 130], ["SIGTERM", 143]] as const) {
    let count = 0;
    process.on(signal, () => ++count === 1 ? resolve(status) : process.exit(status));
  }
});

async function main([command, ...args]: string[]): Promise<number> {
  const isHelp = command === "help" || command === "--help", [about] = args;
  if (command === "--version" || isHelp && (about === undefined || isHelpPage(about))) {
    writeSync(1, isHelp ? help(about) : `${manifest.version}\n`);
    return EXIT.done;
  }
  if (!isCommand(command)) {
    const name = isHelp ? about : command;
    say(name === undefined ? "What is to be done?" : `There is no command ${name}`, "red");
    writeSync(2, `\n${help()}`);
    return EXIT.usage;
  }
  const values = parse(command, args);
  if (values.is("help")) {
    writeSync(1, help(command));
    return EXIT.done;
  }
  return await (await runs[command]())(values, interrupted);
}

/** What is told of an error, and the exit status. A mistake of ours has its stack. */
function failed(error: unknown): number {
  const status = statusOf(error);
  if (error instanceof CommandError && error.message === "") return error.status;
  if (status === undefined) say(error instanceof Error ? error.stack ?? error.message : String(error), "red");
  else say(messageOf(error as Error), "red");
  return status ?? EXIT.other;
}

// Standard input may be open still, and a broker that waits.
process.exit(await main(process.argv.slice(2)).catch(failed));
