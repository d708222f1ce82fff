// node live.mjs URL PID: the page on a run that trains; PID is a worker of it, which is killed.

import assert from "node:assert/strict";
import { inBrowser, keep, shown, until } from "./browser.mjs";

const [url, pid] = process.argv.slice(2);
/** The bound of the page, not of the test. */
const DEATH_WITHIN_MS = 2000;

await inBrowser({}, async (page) => {
  await page.goto(url);
  // The only run is shown at once.
  await page.locator(".state.stepping").waitFor();
  const step = async () => Number((await page.locator(".steps strong").textContent()).replace(/\D/g, ""));
  const first = await step();
  await until("steps go on without a reload", async () => (await step()) > first);
  await page.getByRole("link", { name: "Samples", exact: true }).click();
  await until("a grid", async () => (await shown(page))?.includes("/samples/") ?? false);
  const grid = await shown(page);
  await until("the next grid comes by itself", async () => (await shown(page)) !== grid);

  await page.getByRole("link", { name: "Workers", exact: true }).click();
  await page.locator(".timeline rect").first().waitFor();
  const gone = () => page.getByRole("cell", { name: "gone", exact: true }).count();
  assert.equal(await gone(), 0);
  process.kill(Number(pid), "SIGKILL");
  const took_ms = await until("the death is on the page", async () => (await gone()) > 0, 10_000);
  console.log(`the death was on the page after ${took_ms} ms`);
  assert.ok(took_ms <= DEATH_WITHIN_MS, `the death was on the page after ${took_ms} ms`);
  await until("another one takes its place", async () => (await page.locator(".timeline rect").count()) > 2);
  await keep(page, "workers-live");
});
