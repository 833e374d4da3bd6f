// Headless Chromium, driven by one JSON command a line on stdin; each gets one JSON line as its answer.
//
//   {"do":"open","url":…}                         load a page
//   {"do":"fill","id":…,"value":…}                type into the field with this data-testid
//   {"do":"click","id":…}                         press the button with this data-testid
//   {"do":"status","is":…}                        wait for the status badge's data-state
//   {"do":"text","id":…}                          what the element shows
//   {"do":"rows"}                                 the rows of the event list, oldest first
//   {"do":"listen","url":…,"types":[…]}           open a native EventSource of the page's own; "withCredentials":true
//   {"do":"post","url":…,"body":…}                 fetch() JSON with credentials: the status, or null where CORS forbids it
//   {"do":"heard"}                                what that EventSource has dispatched so far
//   {"do":"state"}                                whether it is connecting, open or closed
//   {"do":"complaints"}                           errors that scripts threw or the console showed
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import { chromium } from "playwright-core";

const WAIT_MS = 20_000;
const profile = mkdtempSync(join(tmpdir(), "towncrier-chromium-"));
const context = await chromium.launchPersistentContext(profile, {
  executablePath: process.env.CHROMIUM ?? "/usr/bin/chromium",
  headless: true,
  args: [
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
  ],
});
const page = context.pages()[0] ?? (await context.newPage());
page.setDefaultTimeout(WAIT_MS);
const complaints = [];
page.on("pageerror", (error) => complaints.push(String(error)));
page.on("console", (line) => line.type() === "error" && complaints.push(line.text()));

const commands = {
  open: async ({ url }) => void (await page.goto(url, { waitUntil: "load" })),
  fill: async ({ id, value }) => void (await page.getByTestId(id).fill(value)),
  click: async ({ id }) => void (await page.getByTestId(id).click()),
  text: async ({ id }) => await page.getByTestId(id).textContent(),
  complaints: async () => complaints,
  status: async ({ is }) => {
    const badge = page.getByTestId("status");
    const wanted = page.locator(`[data-testid="status"][data-state="${is}"]`);
    await wanted.waitFor({ state: "visible" }).catch(async () => {
      throw new Error(`status stayed ${await badge.getAttribute("data-state")}, not ${is}`);
    });
  },
  rows: async () =>
    await page.getByTestId("events").evaluate((list) =>
      [...list.querySelectorAll("[data-kind]")].map((row) => ({
        kind: row.dataset.kind,
        id: row.dataset.id ?? null,
        type: row.dataset.type ?? null,
        data: row.querySelector(".data")?.textContent ?? null,
      })),
    ),
  listen: async ({ url, types, withCredentials }) =>
    await page.evaluate(
      ([url, types, withCredentials]) => {
        const heard = (window.heard = []);
        const source = (window.source = new EventSource(url, { withCredentials }));
        const hear = ({ lastEventId: id, type, data }) => heard.push({ id, type, data });
        for (const type of ["message", "connected", "gap", "close", ...types]) source.addEventListener(type, hear);
      },
      [url, types ?? [], withCredentials ?? false],
    ),
  post: async ({ url, body }) =>
    await page.evaluate(
      async ([url, body]) => {
        const headers = { "Content-Type": "application/json", "Cache-Control": "no-store", "Last-Event-ID": "1-0" };
        const options = { method: "POST", credentials: "include", headers, body };
        return await fetch(url, options).then(
          ({ status }) => status,
          () => null,
        );
      },
      [url, body],
    ),
  heard: async () => await page.evaluate(() => window.heard),
  state: async () => ["connecting", "open", "closed"][await page.evaluate(() => window.source.readyState)],
};

const answer = (line) => process.stdout.write(JSON.stringify(line) + "\n");
answer({ ok: "ready" });
for await (const line of createInterface({ input: process.stdin })) {
  const command = JSON.parse(line);
  try {
    answer({ ok: (await commands[command.do](command)) ?? null });
  } catch (error) {
    answer({ error: String(error.message ?? error), complaints });
  }
}
await context.close();
rmSync(profile, { recursive: true, force: true });
