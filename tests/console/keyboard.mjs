// Everything by keyboard: what has the focus is seen, and nothing needs a mouse.
import { check, given, hold, open, same, shot } from "./browser.mjs";

export default async function () {
  const page = await open();
  const press = (...keys) => keys.reduce((before, key) => before.then(() => page.keyboard.press(key)), Promise.resolve());
  const focused = () => page.evaluate(() => {
    const e = document.activeElement;
    return (e.labels?.[0] ?? e).textContent.trim().split("\n")[0] || e.getAttribute("aria-label") || e.id;
  });
  const visible = () => page.evaluate(() => {
    const style = getComputedStyle(document.activeElement);
    return style.outlineStyle !== "none" && parseFloat(style.outlineWidth) >= 2;
  });
  // Tabs until the element of that name has the focus; every stop on the way must be visible.
  async function to(name, key = "Tab") {
    for (let stops = 0; stops < 80; stops += 1) {
      await press(key);
      hold(await visible(), `the focus on ${await focused()} cannot be seen`);
      if ((await focused()).startsWith(name)) return;
    }
    throw new Error(`${name} is not reached`);
  }

  await check("sign in", async () => {
    await page.goto(given.url);
    await page.keyboard.insertText(given.tokens.owner);
    await press("Enter");
    await page.getByRole("heading", { level: 1, name: "Service Account" }).waitFor();
  });

  await check("the first stop skips to the content", async () => {
    await press("Tab");
    same(await focused(), "Skip to the content", "first");
    await shot(page, "skip");
    await press("Enter");
    same(await page.evaluate(() => document.activeElement.id), "main", "main");
  });

  await check("add an account", async () => {
    await to("+ Add Account");
    await press("Enter");
    await page.getByRole("heading", { level: 1, name: "Add service account" }).waitFor();
    await to("Namespace");
    await page.keyboard.insertText(given.namespace);
    await press("Escape");
    await to("Name");
    await page.keyboard.insertText("typed");
    await to("Authenticate Externally");
    await press("Space");
    await to("Client Id");
    await shot(page, "external");
    await to("Authenticate Externally", "Shift+Tab");
    await press("Space");
    await to("Client Secret Validity");
    await press("Control+a");
    await page.keyboard.insertText("30");
    await to("Save");
    await press("Enter");
    await page.getByRole("heading", { level: 1, name: "typed" }).waitFor();
    await page.getByText("This page looks again by itself").waitFor({ state: "detached" });
  });

  await check("show and hide the secret", async () => {
    await to("Show");
    await press("Enter");
    await page.locator("[data-shown]").waitFor();
    await to("Hide");
    await press("Enter");
    await page.locator("[data-shown]").waitFor({ state: "detached" });
  });

  await check("tick, open the menu, close it with Escape, disable", async () => {
    await page.goto(`${given.url}/accounts?q=typed`);
    await to("Select typed");
    await press("Space");
    await to("Actions", "Shift+Tab");
    await press("Enter");
    hold(await page.locator("details.menu").evaluate((menu) => menu.open), "open");
    await shot(page, "menu");
    await press("Escape");
    hold(!await page.locator("details.menu").evaluate((menu) => menu.open), "closed");
    same(await focused(), "Actions", "the focus comes back");
    await press("Enter");
    await to("Disable");
    await press("Enter");
    await page.getByText("Disabled").first().waitFor();
  });

  await check("no page complained", async () => same(page.wrong, [], "what went wrong"));
}
