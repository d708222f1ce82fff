// A real browser for the tests of the page, and what they have in common.

import assert from "node:assert/strict";
import { createRequire } from "node:module";
import { join } from "node:path";
import { chromium } from "playwright-core";

/** Nothing takes this long. */
export const DEADLINE_MS = 30_000;
const AXE = createRequire(import.meta.url).resolve("axe-core/axe.min.js");

/** Runs `work` in a browser, and fails on whatever the page logs as an error. */
export async function inBrowser(options, work) {
  const browser = await chromium.launch({ executablePath: process.env.CHROMIUM, args: ["--no-sandbox"] });
  try {
    const context = await browser.newContext({ viewport: { width: 1280, height: 860 }, timezoneId: "UTC", ...options });
    context.setDefaultTimeout(DEADLINE_MS);
    const page = await context.newPage();
    const errors = [];
    page.on("pageerror", (error) => errors.push(String(error)));
    page.on("console", (message) => {
      if (message.type() === "error") errors.push(message.text());
    });
    await work(page);
    assert.deepEqual(errors, [], "the page logs no errors");
  } finally {
    await browser.close();
  }
}

/** Whether an automatic check of accessibility finds nothing. */
export async function accessible(page, what) {
  // As a debugger, past the page's own policy.
  await page.evaluate((await import("node:fs")).readFileSync(AXE, "utf8"));
  const { violations } = await page.evaluate(() => globalThis.axe.run());
  const words = violations.map((v) => `${v.id}: ${v.help}: ${v.nodes.map((n) => n.html).join(" | ").slice(0, 500)}`);
  assert.deepEqual(words, [], `${what} is accessible`);
}

/** Keeps a picture of the page for the documentation, in the folder PICTURES. */
export async function keep(page, name) {
  if (process.env.PICTURES) await page.screenshot({ path: join(process.env.PICTURES, `${name}.png`), animations: "disabled" });
}

/** The grid that is shown, by its address. */
export const shown = (page, place = 0) => page.locator(".picture img").nth(place).getAttribute("data-shown");

/** Waits until `look` gives true. */
export async function until(what, look, within_ms = DEADLINE_MS) {
  const begin = Date.now();
  let last;
  while (Date.now() - begin < within_ms) {
    last = await look();
    if (last === true) return Date.now() - begin;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  assert.fail(`waited ${within_ms} ms for: ${what}; last seen: ${JSON.stringify(last)}`);
}
