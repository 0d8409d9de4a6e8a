// The pictures of the documentation: as wide as a window, as high as what they show.
import { check, given, open, signIn } from "./browser.mjs";

const home = (name) => `/accounts/${given.namespace}/${name}`;

const pictures = [
  ["inventory", "light", "/accounts?size=10"],
  ["inventory-dark", "dark", "/accounts?size=10&sort=expiry"],
  ["add", "light", `/accounts/new?namespace=${given.namespace}`, async (page) => {
    await page.getByLabel("Name", { exact: false }).nth(1).fill("reporter");
    await page.getByLabel("Description").fill("Monthly reports for the board");
    await page.getByLabel("Email Address").fill("reports@example.com");
  }],
  ["manage", "light", home("billing")],
];

export default async function () {
  for (const [name, colorScheme, path, before] of pictures) {
    const page = await open({ colorScheme });
    await check(name, async () => {
      await signIn(page, "owner", path);
      await before?.(page);
      // Nothing has the focus, and the pointer is nowhere.
      await page.evaluate(() => document.activeElement.blur());
      await page.screenshot({ path: `${given.shots}/${name}.png`, fullPage: true, caret: "initial", animations: "allow" });
    });
    await page.context().close();
  }
}
