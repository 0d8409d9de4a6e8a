// Every page and state in both themes, wide, narrow and magnified: axe finds nothing, and nothing sticks out.
import { accessible, check, fits, given, open, same, shot, signIn } from "./browser.mjs";

const home = (name) => `/accounts/${given.namespace}/${name}`;

async function reveal(page) {
  await page.getByRole("button", { name: "Show", exact: true }).click();
  await page.locator("[data-shown]").waitFor();
}

/// Name, path, and what is done before one looks.
const states = [
  ["inventory", "/accounts"],
  ["inventory-one-namespace", `/accounts?namespace=${given.namespace}&size=10`],
  ["inventory-menu", "/accounts?select=all", async (page) => {
    await page.getByRole("checkbox", { name: /^Select / }).nth(1).check();
    await page.locator("summary", { hasText: "Actions" }).click();
  }],
  ["inventory-no-match", "/accounts?q=nothing-is-called-so"],
  ["inventory-deleted", "/accounts?status=deleted"],
  ["add", "/accounts/new"],
  ["add-external", "/accounts/new", (page) => page.getByLabel("Authenticate Externally").check()],
  ["add-preview", "/accounts/new", async (page) => {
    await page.getByRole("button", { name: "Preview YAML" }).click();
    await page.locator("#yaml").waitFor();
  }],
  ["add-refused", "/accounts/new", async (page) => {
    await page.getByLabel("Namespace").fill(given.namespace);
    await page.getByLabel("Client Secret Validity").fill("400");
    await page.getByLabel("Email Address").fill("nobody");
    await page.getByRole("button", { name: "Save" }).click();
    await page.locator("#validity-error").waitFor();
  }],
  ["manage", home("billing")],
  ["manage-shown", home("billing"), reveal],
  ["manage-external", home("crawler")],
  ["manage-expired", home("expired")],
  ["manage-gitops", home("from-git")],
  ["manage-waiting", home("waiting")],
  ["regenerate", home("billing"), async (page) => {
    await reveal(page);
    await page.getByRole("link", { name: "Regenerate client secret" }).click();
    await page.getByRole("heading", { name: "Regenerate the client secret?" }).waitFor();
  }],
  ["groups", `${home("billing")}/groups`],
  ["delete", home("billing"), (page) => page.getByRole("button", { name: "Delete…" }).click()],
  ["nothing-here", "/accounts/nowhere/nothing"],
  ["not-found", "/nowhere"],
];

const screens = [
  ["wide", { viewport: { width: 1440, height: 900 } }],
  ["narrow", { viewport: { width: 320, height: 640 } }],
  // 400 % of a window of 1280 by 1024.
  ["magnified", { viewport: { width: 320, height: 256 }, deviceScaleFactor: 4 }],
];

export default async function () {
  for (const colorScheme of ["light", "dark"]) {
    for (const [screen, options] of screens) {
      const page = await open({ ...options, colorScheme });
      const look = (name, before) => check(`${name}, ${screen}, ${colorScheme}`, async () => {
        await before();
        // The shots of the magnified window are as those of the narrow one, and sixteen times as large.
        if (screen !== "magnified") await shot(page, `${name}-${screen}-${colorScheme}`);
        await fits(page);
        await accessible(page);
      });
      await look("sign-in", () => page.goto(given.url));
      await look("sign-in-refused", async () => {
        await page.getByLabel("Bearer token").fill("nonsense");
        await page.getByRole("button", { name: "Sign in" }).click();
        await page.locator("#token-error").waitFor();
      });
      await check(`sign in, ${screen}, ${colorScheme}`, () => signIn(page));
      for (const [name, path, before] of states) {
        await look(name, async () => {
          await page.goto(given.url + path);
          await before?.(page);
        });
      }
      await check(`no page complained, ${screen}, ${colorScheme}`, async () => same(page.wrong, [], "what went wrong"));
      await page.context().close();
      for (const [who, path, name] of [["viewer", home("billing"), "viewer"], ["nobody", "/accounts", "blind"]]) {
        const other = await open({ ...options, colorScheme });
        await check(`${name}, ${screen}, ${colorScheme}`, async () => {
          await signIn(other, who, path);
          if (screen !== "magnified") await shot(other, `${name}-${screen}-${colorScheme}`);
          await fits(other);
          await accessible(other);
        });
        await other.context().close();
      }
    }
  }
}
