// node pictures.mjs URL: every view of two runs of the quickstart, each as a picture of the documentation.

import assert from "node:assert/strict";
import { inBrowser, keep, until } from "./browser.mjs";

const [url] = process.argv.slice(2);
const runs = await (await fetch(new URL("/api/runs", url))).json();
const [a, b] = ["quickstart", "seed-2"].map((name) => runs.find((run) => run.name === name).id);
const at = (query, ...more) => `${url}?${new URLSearchParams(query)}${more.map((id) => `&run=${id}`).join("")}`;
const grids = (page, count) => until("grids", async () => (await page.locator(".picture img[data-shown]").count()) === count);
const pins = (page) => until("pins", async () => (await page.locator('.pins canvas[data-shown*="/samples/"]').count()) > 0);
const charts = (page, count) => until("charts", async () => (await page.locator(".chart:visible canvas").count()) >= count);
const newest = (page) => until("the newest grid", () => page.locator(".newest img").evaluate((image) => image.complete && image.naturalWidth > 0));
const PINS = "0.0,3.2,5.6";

/** What each view waits for before it is kept. */
const VIEWS = {
  run: async (page) => {
    await newest(page);
    await charts(page, 2);
  },
  workers: (page) => page.locator(".timeline rect").first().waitFor(),
  data: (page) => page.locator("tbody tr").first().waitFor(),
  snapshots: (page) => page.locator("tbody tr").first().waitFor(),
  events: (page) => page.locator("tbody tr").first().waitFor(),
  file: (page) => page.locator("pre").waitFor(),
};

await inBrowser({}, async (page) => {
  for (const [view, ready] of Object.entries(VIEWS)) {
    await page.goto(view === "file" ? at({ view }, a, b) : at({ run: a, view, theme: "light" }));
    await ready(page);
    await keep(page, view);
  }
  await page.goto(at({ run: a, view: "samples", pin: PINS }));
  await grids(page, 1);
  await pins(page);
  await page.locator(".picture img").first().click({ position: { x: 40, y: 40 } });
  await page.getByRole("heading", { name: "One tile through the training" }).waitFor();
  await keep(page, "samples");
  await page.goto(at({ view: "samples", mode: "wipe", with: b, wipe: 50, pin: PINS }, a, b));
  await grids(page, 2);
  await pins(page);
  await keep(page, "compare");
  await page.goto(at({ view: "curves", window: 100, grid: 1 }, a, b));
  await charts(page, 10);
  const plot = await page.locator(".chart:visible .u-over").first().boundingBox();
  await page.mouse.move(plot.x + plot.width * 0.6, plot.y + 60);
  await grids(page, 1);
  await keep(page, "curves");
});

await inBrowser({ colorScheme: "dark" }, async (page) => {
  await page.goto(at({ run: a }));
  await VIEWS.run(page);
  assert.equal(await page.evaluate(() => getComputedStyle(document.documentElement).backgroundColor), "rgb(20, 23, 28)");
  await keep(page, "dark");
});

await inBrowser({ viewport: { width: 390, height: 844 }, deviceScaleFactor: 2, hasTouch: true, isMobile: true }, async (page) => {
  await page.goto(at({ run: a, view: "samples", pin: PINS }));
  await grids(page, 1);
  await pins(page);
  await keep(page, "phone");
});
