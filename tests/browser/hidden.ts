/** A page whose tab is behind another one: Chromium itself says that it is hidden, and makes its timers late. */
import type { Browser, Page } from "../support/browser.ts";

declare global {
  /** When timers of 100 ms have rung, each set by the one before it: milliseconds since the page was opened. */
  var rings: number[];
}

/** A flag with which timers ring once a minute after so many seconds in the background, rather than after five minutes. */
export function minutelyAfter(seconds: number): string {
  return `--enable-features=IntensiveWakeUpThrottling:grace_period_seconds/${seconds}`;
}

/** Opens another tab in front of the page's, and notes from then on when timers ring in it. */
export async function hide(browser: Browser, page: Page): Promise<void> {
  await browser.openPage();
  await page.until(`document.visibilityState === "hidden"`);
  await page.call(() => {
    globalThis.rings = [];
    const ring = () => {
      rings.push(performance.now());
      setTimeout(ring, 100);
    };
    ring();
  });
}

/** How many of them have rung in the last so many milliseconds. */
export function ringsWithin(page: Page, milliseconds: number): Promise<number> {
  return page.call((time) => rings.filter((ring) => ring > performance.now() - time).length, milliseconds);
}
