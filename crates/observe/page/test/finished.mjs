// node finished.mjs URL: the page on two finished runs.

import assert from "node:assert/strict";
import { readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { accessible, inBrowser, shown, until } from "./browser.mjs";

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
  await page.locator("tbody a").first().click();
  await page.getByText("step 60 of 60").waitFor();
  await until("charts", async () => (await page.locator(".chart:visible canvas").count()) === 2);
  await accessible(page, "a run");
  for (const view of ["Workers", "Data", "Snapshots", "Events", "File"]) {
    await page.getByRole("link", { name: view, exact: true }).click();
    await page.locator(view === "File" ? "pre" : "tbody tr").first().waitFor();
    await accessible(page, view);
  }
});

// Snapshots are read, byte by byte, where the reader asks for it: a whole one and one that is damaged.
await inBrowser({}, async (page) => {
  const file = join(runs[0].dir, "snapshots/step-0000000040/generator.safetensors");
  const bytes = readFileSync(file);
  const changed = Buffer.from(bytes);
  changed[changed.length - 1] ^= 1;
  writeFileSync(file, changed);
  try {
    await page.goto(at({ run: a, view: "snapshots" }));
    const told = page.getByRole("status").filter({ hasText: "Step" });
    await page.getByRole("button", { name: "verify step 60" }).press("Enter");
    await until("a whole one", async () => /Step 60: whole: \d+ parts, .* read in/.test((await told.textContent()) ?? ""));
    assert.equal(await page.locator("tr", { hasText: "verify" }).first().locator(".check .tag").textContent(), "whole");
    await page.getByRole("button", { name: "verify step 40" }).click();
    await until("a damaged one", async () => /Step 40: damaged: .*BLAKE3/.test((await told.textContent()) ?? ""));
    await accessible(page, "verified snapshots");
  } finally {
    writeFileSync(file, bytes);
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
  await page.getByRole("combobox", { name: /^with/ }).selectOption(b);
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
});

// Pinned tiles: in all steps and runs, in the link, by mouse and by keyboard.
await inBrowser({}, async (page) => {
  await page.goto(at({ run: a, view: "samples" }));
  await until("the newest grid", async () => (await shown(page))?.includes("/samples/60?") ?? false);
  const pins = page.locator(".pins figure");
  const drawn = (pin, side = 0) => pins.nth(pin).locator("canvas").nth(side);
  const of = (pin, side) => drawn(pin, side).getAttribute("data-shown");
  const pixels = (pin) => drawn(pin).evaluate((canvas) => canvas.toDataURL());
  assert.equal(await pins.count(), 0);
  await page.getByRole("spinbutton", { name: "column of the tile" }).fill("3");
  await page.getByRole("spinbutton", { name: "row of the tile" }).fill("2");
  await page.getByRole("button", { name: "pin", exact: true }).press("Enter");
  await until("the first pin", async () => (await pins.count()) === 1 && (await of(0, 0)).includes("/samples/60?"));
  assert.equal(param(page, "pin"), "2.1");
  // The middle of the tile in the first column and row: 8 tiles of 32 pixels with 2 between them.
  const box = await page.locator(".picture img").first().boundingBox();
  const side = 8 * 34 + 2;
  await page.mouse.click(box.x + (18 / side) * box.width, box.y + (18 / side) * box.height);
  await page.getByText("column 1, row 1").first().waitFor();
  await page.getByRole("button", { name: "pin this tile" }).click();
  await until("the second pin", async () => (await pins.count()) === 2);
  assert.equal(param(page, "pin"), "2.1,0.0");
  const last = await pixels(0);
  await page.getByRole("slider", { name: "step", exact: true }).fill("4");
  await until("the pins follow the slider", async () => (await of(0, 0)).includes("/samples/10?"));
  assert.notEqual(await pixels(0), last, "it is the tile of another step");
  await page.getByLabel("show").selectOption("side");
  await page.getByRole("combobox", { name: /^with/ }).selectOption(b);
  await until("the pins of both runs", async () => (await of(1, 1))?.includes(`${b}/samples/10?`) ?? false);
  await accessible(page, "pins");
  const link = page.url();
  await page.reload();
  await until("the pins after a reload", async () => (await of(1, 1).catch(() => null))?.includes(`${b}/samples/10?`) ?? false);
  assert.equal(page.url(), link);
  await page.getByRole("combobox", { name: /^run/ }).selectOption(b);
  await until("the pins of another run", async () => (await of(0, 0).catch(() => null))?.includes(`${b}/samples/`) ?? false);
  await page.getByRole("button", { name: "unpin column 3, row 2" }).click();
  await until("one pin is left", async () => (await pins.count()) === 1);
  assert.equal(param(page, "pin"), "0.0");
});

// Scores of both runs as curves, whatever they are called; the best one is ringed. Time without pauses as an axis.
await inBrowser({}, async (page) => {
  const { series } = await (await fetch(new URL(`/api/runs/${a}/scores`, url))).json();
  assert.deepEqual(series.map((one) => one.name), ["kid", "recall"]);
  await page.goto(`${at({ view: "curves" })}&run=${a}&run=${b}`);
  await page.getByRole("heading", { name: "Scores of snapshots" }).waitFor();
  for (const { name, best_step } of series) {
    const chart = page.locator(".chart", { has: page.locator("strong", { hasText: new RegExp(`^${name}$`) }) });
    await chart.locator("canvas").waitFor();
    await until("the best", async () => (await chart.locator(".best").textContent()).includes(`at step ${best_step}`));
  }
  for (const x of ["kimg", "hours", "stepping", "time"]) {
    await page.getByRole("combobox", { name: /^x/ }).selectOption(x);
    await until(`charts by ${x}`, async () => (await page.locator(".chart:visible canvas").count()) >= 10);
    assert.equal(param(page, "x"), x);
  }
  await accessible(page, "scores");
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
});

// Dark, as the system has it and as chosen.
await inBrowser({ colorScheme: "dark" }, async (page) => {
  const ground = () => page.evaluate(() => getComputedStyle(document.documentElement).backgroundColor);
  await page.goto(at({ run: a }));
  await page.getByText("step 60 of 60").waitFor();
  assert.equal(await ground(), "rgb(20, 23, 28)");
  await until("charts", async () => (await page.locator(".chart:visible canvas").count()) === 2);
  await accessible(page, "the dark page");
  await page.keyboard.press("t");
  assert.equal(await ground(), "rgb(255, 255, 255)");
  assert.equal(param(page, "theme"), "light");
  await page.reload();
  await page.getByText("step 60 of 60").waitFor();
  assert.equal(await ground(), "rgb(255, 255, 255)");
});

// A phone: nothing is wider than the screen. By keyboard alone one gets from the list to the samples.
await inBrowser({ viewport: { width: 390, height: 800 }, hasTouch: true, isMobile: true }, async (page) => {
  for (const view of ["run", "samples", "curves", "workers", "data", "snapshots", "events", "file"]) {
    await page.goto(at({ run: a, view, pin: "0.0,7.7" }));
    await page.locator(view === "samples" ? ".picture img[data-shown]" : "h1, h2, tbody tr, pre").first().waitFor();
    const [wide, screen] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
    assert.ok(wide <= screen, `${view} is ${wide} wide on a screen of ${screen}`);
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
