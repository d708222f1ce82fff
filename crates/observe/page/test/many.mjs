// node many.mjs URL: the page on ten runs that have ended by a kill: one in its middle, copies of it, and one of a million steps.

import assert from "node:assert/strict";
import { accessible, inBrowser, shown, until } from "./browser.mjs";

const [url] = process.argv.slice(2);
const RUNS = 10;
const LONG = 1_000_000;
const SPIKE = 1000;
/** What the curves of a long run may take of the network. The time that they take is measured by bench/observe_part.py. */
const CURVES_LEN_BYTES_MAX = 500_000;

const get = async (path) => (await fetch(new URL(path, url))).json();
const ended = (run) => run.state === "interrupted";
await until("all runs, none of which is live", async () => {
  const runs = await get("/api/runs");
  return (runs.length === RUNS && runs.every(ended)) || runs.map((run) => run.state);
});
const runs = await get("/api/runs");
const long = runs.find((run) => run.step === LONG);
const killed = runs.find((run) => run.dir.endsWith("/run"));
assert.ok(long && killed && killed.step > 0 && killed.step < LONG, JSON.stringify({ long, killed }));
const at = (query, ...compared) => {
  const all = [...new URLSearchParams(query), ...compared.map((run) => ["run", run.id])];
  return `${url}?${new URLSearchParams(all)}`;
};
const charts = (page, count) =>
  until(`${count} charts`, async () => (await page.locator(".chart:visible canvas").count()) >= count);

// The list, and all of them compared.
await inBrowser({}, async (page) => {
  await page.goto(url);
  await until("a row for each run", async () => (await page.locator("tbody tr").count()) === RUNS);
  assert.equal(await page.locator("tbody .state.interrupted").count(), RUNS);
  await accessible(page, "ten runs");
  // The list is drawn anew at each.
  for (let row = 0; row < RUNS; row++) await page.getByRole("checkbox").nth(row).click();
  await page.getByRole("button", { name: `Compare ${RUNS} runs` }).click();
  await charts(page, 8);
  assert.equal(new URL(page.url()).searchParams.getAll("run").length, RUNS);
  assert.equal(await page.locator(".legend .swatch").count(), RUNS);
  assert.equal(await page.locator(".trouble").count(), 0);
  await accessible(page, "the curves of ten runs");
});

// The run that was killed in its middle: nothing of it goes on, and everything is still there.
await inBrowser({}, async (page) => {
  await page.goto(at({}, killed));
  await page.locator(".state.interrupted").waitFor();
  await page.getByText(`step ${killed.step.toLocaleString("en")} of 1,000,000`).waitFor();
  const left = page.locator(".numbers div", { hasText: "time left" }).locator("dd");
  assert.equal(await left.textContent(), "–");
  await charts(page, 2);
  for (const view of ["Workers", "Snapshots", "Events"]) {
    await page.getByRole("link", { name: view, exact: true }).click();
    await page.locator("tbody tr").first().waitFor();
    await accessible(page, `${view} of a run that was killed`);
  }
  // No coordinator is left that a warning could stand for.
  assert.equal(await page.getByText("warning, stands").count(), 0);
  await page.getByRole("link", { name: "Samples", exact: true }).click();
  await until("its newest grid", async () => (await shown(page))?.includes(`/samples/${killed.sample_step}?`) ?? false);
});

// A million steps: one of them is a spike, and it is drawn.
await inBrowser({}, async (page) => {
  let newest = null;
  page.on("response", (response) => {
    if (response.url().includes("/curves?")) newest = response;
  });
  await page.goto(at({ view: "curves" }, long));
  await page.getByText("steps 0 to 999,999").waitFor();
  await charts(page, 2);
  const body = await newest.body();
  assert.ok(body.length <= CURVES_LEN_BYTES_MAX, `${body.length} bytes`);
  const { scalars, steps } = JSON.parse(body);
  assert.equal(Math.max(...scalars.loss_d.max), SPIKE);
  assert.ok(steps.length <= 1000, `${steps.length} columns`);
  await page.getByRole("button", { name: "nearer" }).click();
  await page.getByText(/^steps 250,000 to /).waitFor();
  await accessible(page, "a long run");
});
