import { done, given } from "./browser.mjs";

await (await import(`./${given.part}.mjs`)).default();
await done();
