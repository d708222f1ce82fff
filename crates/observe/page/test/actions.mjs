// node actions.mjs URL: the page of a run that takes actions.

import assert from "node:assert/strict";
import { accessible, inBrowser, keep, until } from "./browser.mjs";

const [url] = process.argv.slice(2);
const run = async () => (await (await fetch(new URL("/api/runs", url))).json())[0];

await inBrowser({}, async (page) => {
  await page.goto(url);
  await page.locator(".state.stepping").waitFor();
  const button = (name) => page.locator(".actions").getByRole("button", { name, exact: true });
  const dialog = page.locator("dialog[open]");
  const told = (words) => page.locator(".actions").getByText(words).waitFor();

  // A question first, and nothing happens without an answer: by mouse and by keyboard.
  const asked = [];
  page.on("request", (request) => {
    if (request.method() === "POST") asked.push(new URL(request.url()).pathname.split("/").at(-1));
  });
  await button("Stop").click();
  await dialog.getByText("The run ends after the step that it is doing").waitFor();
  await accessible(page, "a question");
  await keep(page, "actions");
  await dialog.getByRole("button", { name: "Cancel" }).click();
  await button("Stop").focus();
  await page.keyboard.press("Enter");
  await dialog.waitFor();
  await page.keyboard.press("Escape");
  await dialog.waitFor({ state: "detached" });
  assert.deepEqual(asked, []);

  await button("Write a snapshot").click();
  await dialog.getByRole("button", { name: "Write a snapshot" }).click();
  await told("Asked for: write a snapshot.");
  await until("a snapshot", async () => (await run()).snapshot_step > 0);

  await button("Pause").click();
  await dialog.getByRole("button", { name: "Pause" }).click();
  await page.locator(".state.paused").waitFor();
  await button("Resume").click();
  await dialog.getByRole("button", { name: "Resume" }).click();
  await page.locator(".state.stepping").waitFor();

  await button("Scale").click();
  await dialog.getByRole("spinbutton").fill("2");
  await page.keyboard.press("Enter");
  await until("another worker", async () => (await run()).workers === 2);
  assert.deepEqual(asked, ["snapshot", "pause", "resume", "scale"]);
});

// A page of another site cannot ask: the browser asks first whether it may, and is not told so.
for (const headers of [{}, { "X-Lsgan-Action": "1" }, { "X-Lsgan-Action": "1", Origin: "http://evil.example" }]) {
  const { id } = await run();
  const answer = await fetch(new URL(`/api/runs/${id}/actions/stop`, url), { method: "POST", headers });
  assert.equal(answer.status, 403);
}
