// node live.mjs URL PID: the page on a run that trains; PID is a worker of it, which is killed.

import assert from "node:assert/strict";
import { accessible, inBrowser, keep, shown, until } from "./browser.mjs";

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
  await until("where a step goes, at both workers", async () => (await page.locator(".split .bar").count()) === 2);
  const parts = await page.locator(".bar").first().locator("rect").evaluateAll((all) => all.map((part) => part.dataset.part));
  assert.deepEqual(parts, ["data_wait_us", "discriminator_us", "generator_us", "reduce_us", "apply_us"]);
  await accessible(page, "workers");
  const gone = () => page.getByRole("cell", { name: "gone", exact: true }).count();
  assert.equal(await gone(), 0);
  process.kill(Number(pid), "SIGKILL");
  const took_ms = await until("the death is on the page", async () => (await gone()) > 0, 10_000);
  console.log(`the death was on the page after ${took_ms} ms`);
  assert.ok(took_ms <= DEATH_WITHIN_MS, `the death was on the page after ${took_ms} ms`);
  await until("another one takes its place", async () => (await page.locator(".timeline rect").count()) > 2);
  await keep(page, "workers-live");
  // The warning stands until the other one has come.
  await page.getByRole("link", { name: "Events", exact: true }).click();
  const warning = page.locator("tr", { hasText: "is gone" });
  await warning.locator(".tag.over").first().waitFor();
});
