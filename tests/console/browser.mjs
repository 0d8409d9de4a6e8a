// A browser that minds what goes wrong on its pages, and checks that say what they hold.
import { readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { chromium } from "playwright-core";

const axeSource = readFileSync(createRequire(import.meta.url).resolve("axe-core/axe.min.js"), "utf8");

export const given = JSON.parse(readFileSync(0, "utf8"));
const browser = await chromium.launch({ executablePath: given.chromium, args: ["--no-sandbox", "--no-proxy-server"] });

export async function open(options = {}) {
  const context = await browser.newContext({
    ignoreHTTPSErrors: true, viewport: { width: 1440, height: 900 }, acceptDownloads: true,
    permissions: ["clipboard-read", "clipboard-write"], ...options,
  });
  const page = await context.newPage();
  // Long: on a busy machine a page that works is not to fail.
  page.setDefaultTimeout(60_000);
  page.wrong = [];
  page.on("pageerror", (error) => page.wrong.push(`script: ${error.message}`));
  page.on("dialog", (dialog) => { page.wrong.push(`dialog: ${dialog.message()}`); dialog.dismiss(); });
  page.on("console", (said) => {
    // A status of 4xx is told as an error, and wanted here and there.
    if (said.type() === "error" && !said.text().includes("Failed to load resource")) page.wrong.push(said.text());
  });
  return page;
}

export async function signIn(page, who = "owner", path = "/accounts") {
  await page.goto(given.url + path);
  await page.getByLabel("Bearer token").fill(given.tokens[who]);
  await page.getByRole("button", { name: "Sign in" }).click();
  // A sign-in that fails stays where it is: say why, instead of waiting for what will not come.
  await page.waitForURL((url) => !url.pathname.startsWith("/signin")).catch(async (error) => {
    throw new Error(`${who} is not signed in: ${await page.locator("main").innerText()}`, { cause: error });
  });
}

let shots = 0;
export async function shot(page, name) {
  shots += 1;
  const path = `${given.shots}/${given.part}-${String(shots).padStart(2, "0")}-${name}.png`;
  // Hiding the caret would be an inline style.
  await page.screenshot({ path, fullPage: true, caret: "initial", animations: "allow" });
}

export function hold(condition, what) {
  if (!condition) throw new Error(what);
}

export function same(found, wanted, what) {
  const [a, b] = [JSON.stringify(found), JSON.stringify(wanted)];
  if (a !== b) throw new Error(`${what}: ${a}, not ${b}`);
}

export async function check(name, body) {
  try {
    await body();
    console.log(JSON.stringify({ check: name }));
  } catch (error) {
    console.log(JSON.stringify({ check: name, error: String(error.stack ?? error).slice(0, 4000) }));
  }
}

/// What axe finds against WCAG 2.2 AA and its own good practice.
export async function accessible(page) {
  await page.evaluate(axeSource);
  const result = await page.evaluate(() => globalThis.axe.run(document, { resultTypes: ["violations"] }));
  const told = result.violations.map((v) => `${v.id}: ${v.nodes.map((node) => `${node.target} ${node.failureSummary}`).join("; ")}`);
  hold(told.length === 0, told.join("\n"));
}

/// Nothing makes the page itself wider than the window.
export async function fits(page) {
  const [wide, window_] = await page.evaluate(() => [document.scrollingElement.scrollWidth, innerWidth]);
  if (wide <= window_) return;
  const culprits = await page.evaluate(() => [...document.querySelectorAll("main *, header *")]
    .filter((e) => e.getBoundingClientRect().right > innerWidth + 1).slice(0, 5).map((e) => e.outerHTML.slice(0, 120)));
  throw new Error(`${wide} px in ${window_}: ${culprits.join(" | ")}`);
}

export async function done() {
  await browser.close();
}
