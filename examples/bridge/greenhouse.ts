/** A simulated greenhouse, so that there is something to see: it publishes what it measures, and its heater obeys. */
import { connect } from "../../mod.ts";

/** Milliseconds between two measurements. */
const STEP = 250;

/** Starts it; what is returned ends it. Publish `on` or `off` to `greenhouse/heater/set`. */
export async function startGreenhouse(broker: string): Promise<() => Promise<void>> {
  const mqtt = await connect(broker, undefined, { reconnect: { maxDelay: 2000 } });
  let heater = false, temperature = 18, light = 0, co2 = 420;
  const publishHeater = () => mqtt.publish("greenhouse/heater", heater ? "on" : "off", { retain: true });
  await mqtt.subscribe("greenhouse/heater/set", {
    onpub(_, message) {
      heater = message.text().trim() === "on";
      void publishHeater();
    },
  });
  await publishHeater();
  const noise = (size: number) => (Math.random() - 0.5) * size;
  const timer = setInterval(() => {
    const time = performance.now() / 1000;
    light = 0.5 + 0.45 * Math.sin(time / 14);
    temperature += ((heater ? 31 : 17) + 5 * light - temperature) * 0.012 + noise(0.12);
    const humidity = 92 - temperature * 1.1 + noise(1.2);
    co2 += (760 - 620 * light - co2) * 0.02 + noise(4);
    const readings = {
      temperature: temperature.toFixed(2),
      humidity: humidity.toFixed(1),
      light: (light * 42_000 + noise(900)).toFixed(0),
      co2: co2.toFixed(0),
      power: ((heater ? 1400 : 40) + noise(20)).toFixed(0),
      soil: JSON.stringify({
        bed1: round(41 + 6 * Math.sin(time / 31)),
        bed2: round(47 + 5 * Math.sin(time / 23 + 2)),
      }),
    };
    // While the broker is away a measurement is of no use later, and the next one soon comes.
    for (const [name, value] of Object.entries(readings)) void mqtt.publish(`greenhouse/${name}`, value);
  }, STEP);
  return () => {
    clearInterval(timer);
    return mqtt.disconnect();
  };
}

function round(value: number): number {
  return Math.round(value * 10) / 10;
}
