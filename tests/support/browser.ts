/** Headless Chromium over its DevTools protocol: just what the tests of pages need. */
import { Buffer } from "node:buffer";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { WebSocket } from "ws";
import { until } from "../bridge/support.ts";
import { patience, startProcess, which } from "./process.ts";

export const chromium: string = which("chromium") ?? "chromium";

// deno-lint-ignore no-explicit-any -- the protocol's JSON
type Json = any;

export interface Page {
  /** The value of an expression in the page; of a promise, what it resolves to. */
  run<T>(expression: string): Promise<T>;
  /** Calls a function in the page, which sees nothing of what is around it here; arguments and result cross as JSON. */
  call<A extends unknown[], R>(act: (...args: A) => R, ...args: A): Promise<Awaited<R>>;
  /** A command of the DevTools protocol. */
  command(method: string, params?: object): Promise<Json>;
  /** Gives the page a function, by that name, which calls this one with its text. */
  bind(name: string, called: (text: string) => void): Promise<void>;
  /** Waits until the expression is true in the page. */
  until(expression: string): Promise<void>;
  /** Presses a key where the focus is: "Tab", "Enter", " ", or types a text. */
  press(key: string): Promise<void>;
  type(text: string): Promise<void>;
  resize(width: number, height: number, options?: { mobile?: boolean; scale?: number }): Promise<void>;
  theme(name: "light" | "dark"): Promise<void>;
  open(url: string): Promise<void>;
  screenshot(): Promise<Buffer>;
  /** What the page has written to its console as an error, and what it has thrown. */
  errors: string[];
}

export interface Browser {
  page: Page;
  /** Opens another page, which is in front then. */
  openPage(): Promise<Page>;
  stop(): Promise<void>;
}

const keys: Record<string, { code: string; windowsVirtualKeyCode: number; text?: string }> = {
  Tab: { code: "Tab", windowsVirtualKeyCode: 9 },
  Enter: { code: "Enter", windowsVirtualKeyCode: 13, text: "\r" },
  " ": { code: "Space", windowsVirtualKeyCode: 32, text: " " },
};

export async function startBrowser(...more: string[]): Promise<Browser> {
  const profile = mkdtempSync(join(tmpdir(), "mqtt3c-chromium-"));
  const flags = "headless no-sandbox disable-gpu disable-quic no-first-run disable-background-networking " +
    "disable-component-update disable-sync disable-dev-shm-usage hide-scrollbars remote-debugging-port=0";
  const named = [`--user-data-dir=${profile}`, "--host-resolver-rules=MAP *.example 127.0.0.1"];
  const args = [...flags.split(" ").map((flag) => `--${flag}`), ...named, ...more, "about:blank"];
  const process = await startProcess(chromium, args, { env: { HOME: profile } });
  const stop = async () => {
    await process.stop();
    // Its children end after it, and write until they do.
    await until(() => {
      try {
        rmSync(profile, { recursive: true, force: true });
        return true;
      } catch (error) {
        if ((error as { code?: string }).code === "ENOTEMPTY") return false;
        throw error;
      }
    }, "the profile is removed");
  };
  try {
    const [, port] = await process.output(/DevTools listening on ws:\/\/127\.0\.0\.1:(\d+)\//);
    const targets = await (await fetch(`http://127.0.0.1:${port}/json/list`)).json() as Json[];
    const first = await attach(targets.find(({ type }) => type === "page").webSocketDebuggerUrl);
    const pages = [first];
    return {
      page: first.page,
      async openPage() {
        const { targetId } = await first.page.command("Target.createTarget", { url: "about:blank" });
        const opened = await attach(`ws://127.0.0.1:${port}/devtools/page/${targetId}`);
        pages.push(opened);
        return opened.page;
      },
      async stop() {
        await Promise.all(pages.map(({ close }) => close()));
        await stop();
      },
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

async function attach(url: string): Promise<{ page: Page; close(): Promise<void> }> {
  const socket = new WebSocket(url, { perMessageDeflate: false });
  const calls = new Map<number, { resolve: (result: Json) => void; reject: (error: Error) => void }>();
  const bound = new Map<string, (text: string) => void>();
  const errors: string[] = [];
  let loaded = () => {};
  let id = 0;
  await new Promise((resolve, reject) => socket.on("open", resolve).on("error", reject));
  socket.on("message", (data: Buffer) => {
    const { id, result, error, method, params } = JSON.parse(data.toString());
    if (method === "Page.loadEventFired") loaded();
    else if (method === "Runtime.bindingCalled") bound.get(params.name)?.(params.payload);
    else if (method === "Runtime.exceptionThrown") errors.push(params.exceptionDetails.exception?.description ?? "");
    else if (method === "Log.entryAdded" && params.entry.level === "error") errors.push(params.entry.text);
    const call = calls.get(id);
    calls.delete(id);
    if (error) call?.reject(new Error(error.message));
    else call?.resolve(result);
  });

  function call(method: string, params: Json = {}): Promise<Json> {
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`No answer to ${method} within ${patience} ms`)), patience);
      const settle = <T>(then: (value: T) => void) => (value: T) => {
        clearTimeout(timer);
        then(value);
      };
      calls.set(++id, { resolve: settle(resolve), reject: settle(reject) });
      socket.send(JSON.stringify({ id, method, params }));
    });
  }

  for (const domain of ["Page", "Runtime", "Log"]) await call(`${domain}.enable`);

  async function run<T>(expression: string): Promise<T> {
    const { result, exceptionDetails } = await call("Runtime.evaluate", {
      expression,
      awaitPromise: true,
      returnByValue: true,
    });
    if (exceptionDetails) throw new Error(`${expression}: ${exceptionDetails.exception?.description}`);
    return result.value;
  }

  const page: Page = {
    run,
    call: (act, ...args) => run(`(${act})(...${JSON.stringify(args)})`),
    command: call,
    errors,
    async bind(name, called) {
      bound.set(name, called);
      await call("Runtime.addBinding", { name });
    },
    // Not as often as one could look: a page that answers all the time draws late.
    until: (expression) => until(() => run<boolean>(expression), expression, 50),
    async press(key) {
      await call("Input.dispatchKeyEvent", { type: "keyDown", key, ...keys[key] });
      await call("Input.dispatchKeyEvent", { type: "keyUp", key, ...keys[key], text: undefined });
    },
    type: (text) => call("Input.insertText", { text }),
    resize: (width, height, { mobile = false, scale = 1 } = {}) =>
      call("Emulation.setDeviceMetricsOverride", { width, height, mobile, deviceScaleFactor: scale }),
    theme: (value) => call("Emulation.setEmulatedMedia", { features: [{ name: "prefers-color-scheme", value }] }),
    async open(url) {
      const done = new Promise<void>((resolve) => loaded = resolve);
      await call("Page.navigate", { url });
      await done;
    },
    async screenshot() {
      return Buffer.from((await call("Page.captureScreenshot", { format: "png" })).data, "base64");
    },
  };
  return {
    page,
    async close() {
      if (socket.readyState === WebSocket.CLOSED) return; // its tab was
      const closed = new Promise((resolve) => socket.on("close", resolve));
      socket.close();
      await closed;
    },
  };
}
