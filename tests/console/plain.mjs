// The same without JavaScript.
import { check, given, hold, open, same, shot, signIn } from "./browser.mjs";

export default async function () {
  const page = await open({ javaScriptEnabled: false });
  const title = (name) => page.getByRole("heading", { level: 1, name });

  await check("sign in, create, and wait for the credential", async () => {
    await signIn(page);
    await page.getByRole("link", { name: "+ Add Account" }).click();
    hold(!await page.getByLabel("Client Id").isVisible(), "internal");
    await page.getByLabel("Authenticate Externally").check();
    hold(await page.getByLabel("Client Id").isVisible(), "external, by the style sheet alone");
    await page.getByLabel("Authenticate Externally").uncheck();
    await page.getByLabel("Namespace").fill(given.namespace);
    await page.locator("#name").fill("plain");
    await page.getByRole("button", { name: "Preview YAML" }).click();
    await page.getByText("validityDays: 180").waitFor();
    await page.getByRole("button", { name: "Save" }).click();
    await title("plain").waitFor();
    await page.getByText("This page looks again by itself").waitFor({ state: "detached" });
    hold(/^[0-9a-f-]{36}$/.test(await page.locator("#client-id").inputValue()), "a client ID");
  });

  await check("Show keeps what was typed, and hides again by itself", async () => {
    await page.getByLabel("Description").fill("typed before the look");
    await page.getByRole("button", { name: "Show" }).click();
    await page.locator("[data-shown]").waitFor();
    same(await page.getByLabel("Description").inputValue(), "typed before the look", "typed");
    same((await page.locator("#client-secret").inputValue()).length, 32, "secret");
    hold(!await page.getByRole("button", { name: /^Copy/ }).first().isVisible(), "nothing that needs a script");
    await shot(page, "shown");
    await page.waitForURL(new RegExp(`/accounts/${given.namespace}/plain$`), { timeout: 45_000 });
    hold(/^•+$/.test(await page.locator("#client-secret").inputValue()), "masked");
  });

  await check("regenerate, and edit", async () => {
    await page.getByRole("button", { name: "Show" }).click();
    await page.getByRole("link", { name: "Regenerate client secret" }).click();
    await page.getByRole("button", { name: "Regenerate" }).click();
    await page.getByText("A new client secret was asked for.").waitFor();
    await page.getByText("This page looks again by itself").waitFor({ state: "detached" });
    await page.getByLabel("Description").fill("without scripts");
    await page.getByRole("button", { name: "Update" }).click();
    await page.getByText("Updated").waitFor();
  });

  await check("filter, select all, disable, records per page", async () => {
    await page.goto(`${given.url}/accounts`);
    await page.getByLabel("Search").fill("without scripts");
    await page.getByRole("button", { name: "Search" }).click();
    await page.getByText("1–1 of 1").waitFor();
    await page.getByRole("link", { name: "Select all on this page" }).click();
    hold(await page.getByRole("checkbox", { name: /^Select plain/ }).isChecked(), "ticked");
    await page.locator("summary", { hasText: "Actions" }).click();
    await page.getByRole("button", { name: "Disable" }).click();
    await page.getByText("Disabled").first().waitFor();
    await page.goto(`${given.url}/accounts`);
    await page.getByLabel("Show Records").selectOption("50");
    await page.getByRole("button", { name: "Show", exact: true }).click();
    await page.waitForURL(/size=50/);
    await shot(page, "inventory");
  });

  await check("dark, and out", async () => {
    await page.getByRole("button", { name: "Dark" }).click();
    hold(page.url().includes("size=50"), "back where one was");
    await page.getByRole("button", { name: "Sign out" }).click();
    await page.getByText("You are signed out.").waitFor();
  });
}
