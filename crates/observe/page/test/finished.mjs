// node finished.mjs URL: the page on two finished runs.

import assert from "node:assert/strict";
import { accessible, inBrowser, keep, shown, until } from "./browser.mjs";

const [url] = process.argv.slice(2);
const runs = await (await fetch(new URL("/api/runs", url))).json();
assert.equal(runs.length, 2);
const [a, b] = runs.map((run) => run.id);
const at = (query) => `${url}?${new URLSearchParams(query)}`;
const param = (page, name) => new URL(page.url()).searchParams.get(name);

await inBrowser({}, async (page) => {
  await page.goto(url);
  await page.getByRole("heading", { name: "Runs", exact: true }).waitFor();
  await until("both runs", async () => (await page.locator("tbody tr").count()) === 2);
  await accessible(page, "the list");
  await keep(page, "runs");
  await page.locator("tbody a").first().click();
  await page.getByText("step 60 of 60").waitFor();
  await until("charts", async () => (await page.locator(".chart:visible canvas").count()) === 2);
  await accessible(page, "a run");
  await keep(page, "run");
  for (const view of ["Workers", "Snapshots", "Events", "File"]) {
    await page.getByRole("link", { name: view, exact: true }).click();
    await page.locator(view === "File" ? "pre" : "tbody tr").first().waitFor();
    await accessible(page, view);
    await keep(page, view.toLowerCase());
  }
});

// Samples: slider, film, wiper, keyboard; a link and a reload show the same.
await inBrowser({}, async (page) => {
  await page.goto(at({ run: a, view: "samples" }));
  const slider = page.getByRole("slider", { name: "step", exact: true });
  await until("the newest grid", async () => (await shown(page))?.includes("/samples/60?") ?? false);
  const begin = Date.now();
  await slider.fill("0");
  await until("the first grid", async () => (await shown(page)).includes("/samples/2?"));
  assert.ok(Date.now() - begin < 1000, "a grid is there soon after the slider has moved");
  assert.equal(param(page, "step"), "2");
  await page.locator("main").focus();
  await page.keyboard.press("ArrowRight");
  await until("the second grid", async () => (await shown(page)).includes("/samples/4?"));
  await page.keyboard.press("End");
  await until("the last grid", async () => (await shown(page)).includes("/samples/60?"));
  await page.keyboard.press("Home");
  await page.getByRole("button", { name: "Play" }).click();
  await until("the film's end", async () => (await shown(page)).includes("/samples/60?"));
  await page.getByRole("button", { name: "Play" }).waitFor();

  await page.getByLabel("show").selectOption("wipe");
  await page.getByLabel("with").selectOption(b);
  await until("two grids", async () => (await page.locator(".picture img[data-shown]").count()) === 2);
  await slider.fill("10");
  await until("both go together", async () => {
    const both = [await shown(page, 0), await shown(page, 1)];
    return both.every((one) => one?.includes("/samples/22?")) || both;
  });
  const clip = () => page.locator(".picture").nth(1).evaluate((picture) => picture.style.clipPath);
  await page.getByRole("slider", { name: "wiper" }).fill("25");
  assert.match(await clip(), /25%/);
  await accessible(page, "samples");
  const link = page.url();
  await page.reload();
  await until("the same after a reload", async () => (await shown(page, 1))?.includes(`${b}/samples/22?`) ?? false);
  assert.match(await clip(), /25%/);
  assert.equal(page.url(), link);
  await page.locator(".picture img").first().click({ position: { x: 30, y: 60 } });
  await page.getByRole("heading", { name: "One tile through the training" }).waitFor();
  await page.getByLabel("show").selectOption("side");
  await until("side by side", async () => (await page.locator(".stage.side img[data-shown]").count()) === 2);
  await keep(page, "samples");
});

// Curves of both runs: zoom, smoothing, log scale, all in the link.
await inBrowser({}, async (page) => {
  await page.goto(`${at({ view: "curves" })}&run=${a}&run=${b}`);
  await until("charts", async () => (await page.locator(".chart:visible canvas").count()) >= 8);
  await page.getByLabel("mean over").selectOption("10");
  await page.getByLabel("log scale").check();
  const plot = page.locator(".chart:visible .u-over").first();
  const box = await plot.boundingBox();
  await page.mouse.move(box.x + box.width * 0.25, box.y + 40);
  await page.mouse.down();
  await page.mouse.move(box.x + box.width * 0.75, box.y + 60, { steps: 5 });
  await page.mouse.up();
  await until("a zoom in the link", async () => param(page, "from") !== null);
  const [from, to] = [Number(param(page, "from")), Number(param(page, "until"))];
  assert.ok(from >= 10 && from <= 20 && to >= 40 && to <= 50, `${from} to ${to}`);
  const words = `steps ${from} to ${to - 1}`;
  await page.getByText(words).waitFor();
  await accessible(page, "curves");
  await page.reload();
  await page.getByText(words).waitFor();
  assert.equal(await page.getByLabel("mean over").inputValue(), "10");
  assert.ok(await page.getByLabel("log scale").isChecked());
  await page.getByRole("button", { name: "all steps" }).click();
  await page.getByText("steps 0 to 59").waitFor();
  await page.getByLabel("log scale").uncheck();
  await page.mouse.move(box.x + box.width * 0.5, box.y + 60);
  await keep(page, "curves");
});

// Dark, as the system has it and as chosen.
await inBrowser({ colorScheme: "dark" }, async (page) => {
  const ground = () => page.evaluate(() => getComputedStyle(document.documentElement).backgroundColor);
  await page.goto(at({ run: a }));
  await page.getByText("step 60 of 60").waitFor();
  assert.equal(await ground(), "rgb(20, 23, 28)");
  await until("charts", async () => (await page.locator(".chart:visible canvas").count()) === 2);
  await accessible(page, "the dark page");
  await keep(page, "run-dark");
  await page.keyboard.press("t");
  assert.equal(await ground(), "rgb(255, 255, 255)");
  assert.equal(param(page, "theme"), "light");
  await page.reload();
  await page.getByText("step 60 of 60").waitFor();
  assert.equal(await ground(), "rgb(255, 255, 255)");
});

// A phone: nothing is wider than the screen. By keyboard alone one gets from the list to the samples.
await inBrowser({ viewport: { width: 390, height: 800 }, hasTouch: true, isMobile: true }, async (page) => {
  for (const view of ["run", "samples", "curves", "workers", "snapshots", "events", "file"]) {
    await page.goto(at({ run: a, view }));
    await page.locator(view === "samples" ? ".picture img[data-shown]" : "h1, h2, tbody tr, pre").first().waitFor();
    const [wide, screen] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
    assert.ok(wide <= screen, `${view} is ${wide} wide on a screen of ${screen}`);
    if (view === "samples") await keep(page, "samples-phone");
  }
  await page.goto(url);
  await page.locator("tbody a").first().waitFor();
  for (let i = 0; i < 30; i++) {
    await page.keyboard.press("Tab");
    if (await page.evaluate(() => document.activeElement?.matches("tbody a") ?? false)) break;
  }
  await page.keyboard.press("Enter");
  await page.getByText("step 60 of 60").waitFor();
  await page.keyboard.press("2");
  await page.locator(".picture img[data-shown]").waitFor();
  await page.keyboard.press("?");
  await page.getByRole("dialog").waitFor();
  await page.keyboard.press("Escape");
});
