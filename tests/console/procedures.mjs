// The manual's procedures, each step by step.
import { readFileSync } from "node:fs";
import { check, given, hold, open, same, shot, signIn } from "./browser.mjs";

const columns = ["Name", "Client ID", "Description", "Authentication mode", "Last access time", "Account status",
  "Client Secret Status", "Email address", "Created time", "Client Secret Expiry", "Created by"];

async function settled(page) {
  await page.getByText("This page looks again by itself").waitFor({ state: "detached" });
}

export default async function () {
  const page = await open();
  const title = (name) => page.getByRole("heading", { level: 1, name });

  await check("a wrong token is refused beside its field, the right one signs in", async () => {
    await page.goto(given.url);
    await shot(page, "sign-in");
    await page.getByLabel("Bearer token").fill("nonsense");
    await page.getByRole("button", { name: "Sign in" }).click();
    await page.getByText("The API server does not accept this token").waitFor();
    await shot(page, "sign-in-refused");
    await signIn(page);
    await title("Service Account").waitFor();
  });

  await check("the inventory has the manual's columns in its order and words", async () => {
    const found = await page.getByRole("columnheader").locator("a").evaluateAll((all) => all.map((a) => a.firstChild.textContent));
    same(found, columns, "columns");
    await shot(page, "inventory");
  });

  await check("create: the sections follow Authenticate Externally, and the account gets its credential", async () => {
    await page.getByRole("link", { name: "+ Add Account" }).click();
    await title("Add service account").waitFor();
    const secretSettings = page.getByRole("heading", { name: "Client Secret Settings" });
    const contact = page.getByRole("heading", { name: "Contact Information" });
    const clientId = page.getByLabel("Client Id");
    hold(await secretSettings.isVisible() && await contact.isVisible() && !await clientId.isVisible(), "internal");
    await shot(page, "add");
    await page.getByLabel("Authenticate Externally").check();
    hold(!await secretSettings.isVisible() && !await contact.isVisible() && await clientId.isVisible(), "external");
    await shot(page, "add-external");
    await page.getByLabel("Authenticate Externally").uncheck();
    await page.getByLabel("Namespace").fill(given.namespace);
    await page.getByLabel("Name", { exact: false }).nth(1).fill("reporter");
    await page.getByLabel("Description").fill("Monthly reports");
    same(await page.getByLabel("Client Secret Validity").inputValue(), "180", "default validity");
    await page.getByLabel("Client Secret Validity").fill("400");
    await page.getByLabel("Email Address").fill("reports@example.com");
    await page.getByRole("button", { name: "Preview YAML" }).click();
    await page.getByText("validityDays: 400").waitFor();
    await shot(page, "add-preview");
    await page.getByRole("button", { name: "Save" }).click();
    const error = page.locator("#validity-error");
    hold((await error.textContent()).includes("should be less than or equal to 365"), "the API server's words");
    same(await page.getByLabel("Email Address").inputValue(), "reports@example.com", "what was typed");
    await shot(page, "add-refused");
    await page.getByLabel("Client Secret Validity").fill("90");
    await page.getByRole("button", { name: "Save" }).click();
    await title("reporter").waitFor();
    await settled(page);
    hold(/^[0-9a-f-]{36}$/.test(await page.locator("#client-id").inputValue()), "a client ID");
    hold(/^•+$/.test(await page.locator("#client-secret").inputValue()), "masked");
    await shot(page, "created");
  });

  await check("the User Group tab: tick a group, Assign group", async () => {
    await page.getByRole("link", { name: /^User Group/ }).click();
    await page.getByRole("checkbox", { name: given.group }).check();
    await shot(page, "groups");
    await page.getByRole("button", { name: "Assign group" }).click();
    await page.getByText(`The account is in ${given.group} now.`).waitFor();
    hold(await page.getByRole("checkbox", { name: given.group }).isChecked(), "assigned");
    await shot(page, "groups-assigned");
    await page.getByRole("link", { name: "Account", exact: true }).click();
  });

  let secret;
  await check("manage: Show, Copy, and hidden again after 30 seconds", async () => {
    await page.clock.install();
    await page.reload();
    const field = page.locator("#client-secret");
    hold(await page.getByRole("button", { name: "Regenerate client secret" }).isDisabled(), "first Show");
    await page.getByRole("button", { name: "Show" }).click();
    await page.locator("[data-shown]").waitFor();
    secret = await field.inputValue();
    hold(/^[A-Za-z0-9][A-Za-z0-9._-]{30}[A-Za-z0-9]$/.test(secret), "32 characters");
    await shot(page, "shown");
    await page.getByRole("button", { name: "Copy client secret" }).click();
    await page.getByText("Copied").waitFor();
    same(await page.evaluate(() => navigator.clipboard.readText()), secret, "the clipboard");
    await page.clock.fastForward(29_000);
    same(await field.inputValue(), secret, "29 seconds later");
    await page.clock.fastForward(2_000);
    await page.locator("[data-shown]").waitFor({ state: "detached" });
    hold(/^•+$/.test(await field.inputValue()), "masked again");
    await page.clock.resume();
  });

  for (const [what, button] of [["client-secret", "Regenerate client secret"], ["client-id", "Regenerate client ID"]]) {
    await check(`manage: regenerate ${what} after Show, with a confirmation`, async () => {
      await page.reload();
      const id = await page.locator("#client-id").inputValue();
      await page.getByRole("button", { name: "Show" }).click();
      await page.locator("[data-shown]").waitFor();
      const before = await page.locator("#client-secret").inputValue();
      await page.getByRole("link", { name: button }).click();
      await page.getByText("stops working at once").waitFor();
      await shot(page, `regenerate-${what}`);
      await page.getByRole("button", { name: "Regenerate" }).click();
      await title("reporter").waitFor();
      await shot(page, `regenerating-${what}`);
      await settled(page);
      await page.getByRole("button", { name: "Show" }).click();
      await page.locator("[data-shown]").waitFor();
      hold(await page.locator("#client-secret").inputValue() !== before, "another secret");
      hold((await page.locator("#client-id").inputValue() !== id) === (what === "client-id"), "client ID");
    });
  }

  await check("manage: downloads hold the secret", async () => {
    for (const [name, file, line] of [["Download .env", "reporter.env", "CLIENT_SECRET="], ["Download for kubectl", "reporter.sh", "kubectl apply"]]) {
      const [download] = await Promise.all([page.waitForEvent("download"), page.getByRole("button", { name }).click()]);
      same(download.suggestedFilename(), file, "name");
      hold(readFileSync(await download.path(), "utf8").includes(line), line);
    }
  });

  await check("manage: Name and Authenticate Externally are fixed, the rest is edited", async () => {
    hold(await page.locator("#name").isDisabled() && await page.locator("#external").isDisabled(), "fixed");
    await page.getByLabel("Description").fill("Monthly reports for the board");
    await page.getByLabel("Email Address").fill("nobody");
    await page.getByRole("button", { name: "Update" }).click();
    hold((await page.locator("#email-error").textContent()).includes("spec.contact.email"), "the API server's words");
    same(await page.getByLabel("Description").inputValue(), "Monthly reports for the board", "what was typed");
    await shot(page, "manage-refused");
    await page.getByLabel("Email Address").fill("board@example.com");
    await page.getByLabel("Enable Secret Expiry Notification").uncheck();
    await page.getByLabel("Client Secret Validity").fill("60");
    await page.getByRole("button", { name: "Update" }).click();
    await page.getByText("Updated").waitFor();
    same(await page.getByLabel("Client Secret Validity").inputValue(), "60", "validity");
    hold(!await page.getByLabel("Enable Secret Expiry Notification").isChecked(), "notification");
    await settled(page);
    await shot(page, "updated");
  });

  await check("inventory: search as one types, filters and order, all in the address", async () => {
    await page.goto(`${given.url}/accounts?size=10`);
    await page.getByLabel("Search").pressSequentially("board");
    await page.getByText("1–1 of 1").waitFor();
    hold(page.url().includes("q=board"), page.url());
    await page.reload();
    await page.getByText("1–1 of 1").waitFor();
    await page.getByLabel("Search").fill("");
    await page.getByLabel("Authentication mode", { exact: true }).selectOption("External");
    await page.waitForURL(/mode=external/);
    hold(await page.getByRole("row").count() > 1, "external ones");
    await page.getByLabel("Search").fill("nothing is called so");
    await page.getByText("No account matches").waitFor();
    await shot(page, "inventory-no-match");
    await page.getByRole("link", { name: "Clear search and filters" }).click();
    await page.getByRole("link", { name: "Name" }).first().click();
    await page.waitForURL(/sort=-name/);
    const names = await page.getByRole("rowheader").locator("a").allTextContents();
    same(names, [...names].sort().reverse(), "descending");
  });

  await check("inventory: Show Records, page navigation and Refresh", async () => {
    await page.goto(`${given.url}/accounts`);
    await page.getByLabel("Show Records").selectOption("10");
    await page.waitForURL(/size=10/);
    const total = Number((await page.locator(".count").textContent()).split(" of ")[1]);
    await page.getByText(`1–10 of ${total}`).waitFor();
    await page.getByRole("link", { name: "Next page" }).click();
    await page.getByText(`11–${Math.min(20, total)} of ${total}`).waitFor();
    await page.getByRole("link", { name: "Previous page" }).click();
    await page.getByText(`1–10 of ${total}`).waitFor();
    await page.getByRole("link", { name: "Last page" }).click();
    await page.getByRole("link", { name: "First page" }).click();
    await page.getByRole("link", { name: "Refresh" }).click();
    await page.locator(".count").waitFor();
    await shot(page, "inventory-page");
  });

  await check("inventory: check boxes enable Actions; Disable, Enable and Delete tell what they did", async () => {
    await page.goto(`${given.url}/accounts?q=job-&size=10`);
    const actions = page.locator("summary", { hasText: "Actions" });
    const boxes = page.getByRole("checkbox", { name: /^Select job/ });
    same(await actions.getAttribute("aria-disabled"), "true", "nothing ticked");
    await page.getByRole("checkbox", { name: "Select all on this page" }).check();
    hold(await boxes.count() > 2 && (await boxes.evaluateAll((all) => all.every((box) => box.checked))), "all ticked");
    const number = await boxes.count();
    await page.getByText(`${number} selected`).waitFor();
    await actions.click();
    await shot(page, "inventory-actions");
    await page.getByRole("button", { name: "Disable" }).click();
    await page.getByText(`Disabled ${number} accounts.`).waitFor();
    await shot(page, "inventory-disabled");
    await page.getByRole("link", { name: "Refresh" }).click();
    same(await page.locator("tbody .badge.inactive", { hasText: "Inactive" }).count() >= number, true, "inactive");
    await page.getByRole("checkbox", { name: "Select all on this page" }).check();
    await actions.click();
    await page.getByRole("button", { name: "Enable" }).click();
    await page.getByText(`Enabled ${number} accounts.`).waitFor();
    await boxes.first().check();
    await actions.click();
    await page.getByRole("button", { name: "Delete…" }).click();
    await title("Delete this account?").waitFor();
    await shot(page, "delete");
    await page.getByRole("button", { name: "Delete" }).click();
    await page.getByText(/^Deleted .*\.$/).first().waitFor();
    for (let tries = 0; ; tries += 1) {
      await page.goto(`${given.url}/accounts?status=deleted`);
      if (await page.locator("tr.gone").count()) break;
      hold(tries < 50, "the deleted account is remembered");
      await page.waitForTimeout(100);
    }
    hold(await page.locator("tr.gone input").first().isDisabled(), "it cannot be ticked");
    await shot(page, "inventory-deleted");
  });

  await check("inventory: the export is a file", async () => {
    await page.goto(`${given.url}/accounts?q=board`);
    const [download] = await Promise.all([page.waitForEvent("download"), page.getByRole("link", { name: "Export CSV" }).click()]);
    const lines = readFileSync(await download.path(), "utf8").trim().split("\r\n");
    same([lines.length, lines[0]], [2, [...columns, "Namespace"].join(",")], "export");
  });

  await check("the theme is chosen and kept", async () => {
    await page.getByRole("button", { name: "Dark" }).click();
    same(await page.evaluate(() => [document.documentElement.dataset.theme, getComputedStyle(document.body).backgroundColor]),
      ["dark", "rgb(16, 20, 27)"], "dark");
    hold(page.url().includes("q=board"), "back where one was");
    await shot(page, "inventory-dark");
    await page.getByRole("button", { name: "Like the system" }).click();
  });

  await check("who may only look is told so", async () => {
    const viewer = await open();
    await signIn(viewer, "viewer", `/accounts/${given.namespace}/reporter`);
    await viewer.getByText("You may look, but not change anything.").waitFor();
    for (const name of ["Update", "Show", "Disable", "Delete…"]) {
      hold(await viewer.getByRole("button", { name, exact: true }).isDisabled(), name);
    }
    await shot(viewer, "viewer");
    same(viewer.wrong, [], "what went wrong on the pages");
    await viewer.context().close();
  });

  await check("text that tries to be more stays text", async () => {
    for (const path of ["/accounts?q=hostile", `/accounts/${given.namespace}/hostile`, `/accounts/${given.namespace}/hostile/groups`]) {
      await page.goto(given.url + path);
      hold(await page.getByText("<script>alert(1)</script>").count() + await page.locator("textarea").count() > 0 || path.endsWith("groups"), path);
    }
    await page.goto(`${given.url}/accounts/${given.namespace}/hostile`);
    await page.getByRole("button", { name: "Preview YAML" }).click();
    await page.locator("#yaml").waitFor();
    hold((await page.locator("#yaml").textContent()).includes("<script>alert(1)</script>"), "YAML");
    await shot(page, "hostile");
  });

  await check("what cannot be had is said above the page, and what was typed stays", async () => {
    await page.goto(`${given.url}/accounts/${given.namespace}/reporter`);
    await page.getByLabel("Description").fill("typed meanwhile");
    await page.evaluate(() => globalThis.htmx.ajax("GET", "/accounts/nowhere/nothing", "#credential"));
    await page.locator("#problem").getByText("You may not do this").waitFor();
    await page.route("**/accounts/**", (route) => route.abort());
    await page.getByRole("button", { name: "Preview YAML" }).click();
    await page.getByText("The console does not answer.").waitFor();
    await shot(page, "no-answer");
    await page.unroute("**/accounts/**");
    await page.getByRole("button", { name: "Preview YAML" }).click();
    await page.locator("#yaml").waitFor();
    same(await page.locator("#problem").textContent(), "", "what is over is no longer said");
    same(await page.getByLabel("Description").inputValue(), "typed meanwhile", "typed");
    hold(await page.locator("#client-secret").count() === 1, "the credential is still there");
    // What was broken on purpose is no complaint.
    page.wrong = page.wrong.filter((said) => !said.includes("Failed to fetch"));
  });

  await check("sign out: the session is over, and back shows nothing", async () => {
    await page.goto(`${given.url}/accounts/${given.namespace}/reporter`);
    await page.getByRole("button", { name: "Sign out" }).click();
    await page.getByText("You are signed out.").waitFor();
    await page.goBack();
    await page.waitForURL(/\/signin/);
    await shot(page, "signed-out");
  });

  await check("no page complained, of a script, a style or the policy", async () => same(page.wrong, [], "what went wrong"));
}
