/**
 * What a keyboard reaches: Tab goes from control to control, each is seen to have the focus, none is left out, and a dialog
 * keeps the focus inside.
 */

/** Runs in the page: what can be seen and used, and what the focus is on. */
function lookAround() {
  const CONTROLS = "a[href], button, input:not([type=hidden]), select, textarea, summary, [tabindex]:not([tabindex='-1']), [contenteditable=true], [role=button], [role=link], [role=tab], [role=menuitem], [role=switch], [role=checkbox]";
  const scope = () => [...document.querySelectorAll("dialog:modal")].at(-1) ?? document;
  const visible = (element) => {
    const box = element.getBoundingClientRect();
    return element.checkVisibility({ visibilityProperty: true, opacityProperty: false }) && box.width > 0 && box.height > 0;
  };
  const usable = (element) => !element.disabled && element.closest("[inert], fieldset:disabled") === null;
  // Of a group of radio buttons one takes the focus, and arrows do the rest.
  const stands = (element) => element.type !== "radio" || element.checked || !document.querySelector(`input[type=radio][name="${CSS.escape(element.name)}"]:checked`);
  const name = (element) => {
    const testId = element.closest("[data-testid]")?.dataset.testid;
    const text = (element.getAttribute("aria-label") ?? element.textContent ?? "").trim().slice(0, 30);
    return `${element.tagName.toLowerCase()}${testId === undefined ? "" : `[${testId}]`} “${text}”`;
  };
  const shows = (element) => {
    const ring = (which) => {
      const style = getComputedStyle(which);
      return style.outlineStyle !== "none" && Number.parseFloat(style.outlineWidth) >= 2;
    };
    return ring(element) || (element.parentElement !== null && ring(element.parentElement));
  };
  const controls = [...scope().querySelectorAll(CONTROLS)].filter((element) => visible(element) && usable(element) && stands(element));
  globalThis.keyboard = {
    controls,
    reached: new Set(),
    /** What has the focus now: its place in the list, and what is wrong with it. */
    async here() {
      const element = document.activeElement;
      if (element === null || element === document.body) return { place: "page" };
      if (scope() !== document && !scope().contains(element)) return { place: "outside", name: name(element) };
      const fresh = !this.reached.has(element);
      this.reached.add(element);
      const inSight = () => {
        const box = element.getBoundingClientRect();
        return box.bottom > 0 && box.right > 0 && box.top < innerHeight && box.left < innerWidth;
      };
      // What slides in is there a picture later.
      for (let frame = 0; frame < 3 && !inSight(); frame += 1) await new Promise(requestAnimationFrame);
      return { place: "control", fresh, name: name(element), seen: shows(element), inSight: inSight() };
    },
    missing: () => controls.filter((element) => element.isConnected && visible(element) && usable(element) && !globalThis.keyboard.reached.has(element)).map(name),
  };
  globalThis.keyboard.before = document.activeElement;
  return controls.length;
}

/** Dates and times have several stops each. */
const STOPS_PER_CONTROL = 5;

/** Tab through everything that is on the page now; what is wrong goes to `report`. The focus is put back after it. */
export async function tabThrough(page, report) {
  const controls = await page.evaluate(lookAround);
  let turns = 0;
  for (let press = 0; press < (controls + 2) * STOPS_PER_CONTROL; press += 1) {
    await page.keyboard.press("Tab");
    const here = await page.evaluate(() => globalThis.keyboard.here());
    if (here.place === "outside") report(`Tab leaves the dialog for ${here.name}`);
    if (here.place === "page") turns += 1;
    // Once to get to the beginning from wherever the focus was, once through everything.
    if (turns > 2) break;
    if (here.place === "control" && here.fresh) {
      if (!here.seen) report(`nothing shows that ${here.name} has the focus`);
      if (!here.inSight) report(`${here.name} has the focus out of sight`);
    } else if (here.place === "control" && (await page.evaluate(() => globalThis.keyboard.missing().length)) === 0) break;
  }
  const missing = await page.evaluate(() => globalThis.keyboard.missing());
  if (missing.length > 0) report(`Tab does not reach ${missing.join(", ")}`);
  await page.evaluate(() => { if (globalThis.keyboard.before?.isConnected) globalThis.keyboard.before.focus(); });
}

/** The test id of what has the focus. */
export const focused = (page) => page.evaluate(() => document.activeElement?.closest("[data-testid]")?.getAttribute("data-testid") ?? document.activeElement?.tagName.toLowerCase());

/** Presses more often than any page has controls. */
const FAR = 120;

/** Goes by Tab to the control with this test id. */
export async function tabTo(page, testId, which = 0) {
  await page.getByTestId(testId).nth(which).waitFor();
  for (let press = 0; press < FAR; press += 1) {
    const there = await page.getByTestId(testId).nth(which).evaluate((element) => element === document.activeElement || (element.contains(document.activeElement) && !element.matches("dialog, main, section, form")));
    if (there) return;
    await page.keyboard.press("Tab");
  }
  throw new Error(`Tab does not come to ${testId}; the focus is on ${await focused(page)}`);
}

/** Goes there and presses a key. */
export async function press(page, testId, key = "Enter", which = 0) {
  await tabTo(page, testId, which);
  await page.keyboard.press(key);
}
