/** The suite of the client, with the clients of a page in Chromium. */
import { suite } from "../client/suite.ts";
import {
  overAedesWebSocket,
  overNatsWebSocket,
  overRabbitSecureWebSocket,
  overRabbitWebSocket,
  overSecureWebSocket,
  overWebSocket,
  type Way,
  withVersion5,
} from "../client/ways.ts";
import { startBrowser } from "../support/browser.ts";
import { runtime } from "../support/spawn.ts";
import { RemoteClients } from "./remote.ts";
import { startSite, trusting } from "./support.ts";

/** The same way, from a page. */
const inPage = (start: () => Promise<Way>) => async (): Promise<Way> => {
  const way = await start(), site = await startSite(), browser = await startBrowser(trusting());
  await browser.page.open(site.url);
  const clients = await RemoteClients.in(browser.page);
  return {
    ...way,
    inThread: true,
    isSlow: true, // each byte crosses as text, too
    connect: (onpub, op) => clients.open(way.webAddress!, onpub, op),
    async stop() {
      await browser.stop();
      await site.stop();
      await way.stop();
    },
  };
};

// Each call crosses to the page and back: there are fewer messages.
if (runtime === "deno") {
  suite("in a page", inPage(overWebSocket), 1000, ["chromium", "mosquitto"]);
  suite("in a page: over TLS", inPage(overSecureWebSocket), 1000, ["chromium", "mosquitto"]);
  suite("in a page: MQTT 5", withVersion5(inPage(overWebSocket)), 1000, ["chromium", "mosquitto"]);
  suite("in a page: aedes", inPage(overAedesWebSocket), 1000, ["chromium"]);
  suite("in a page: nats-server", inPage(overNatsWebSocket), 1000, ["chromium", "nats-server"]);
  suite("in a page: RabbitMQ", inPage(overRabbitWebSocket), 1000, ["chromium", "rabbitmq-server"]);
  suite("in a page: RabbitMQ over TLS", inPage(overRabbitSecureWebSocket), 1000, ["chromium", "rabbitmq-server"]);
}
