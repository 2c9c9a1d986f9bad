const lost = () => document.activeElement === null || document.activeElement === document.body;

/**
 * Something that had the focus goes away: the focus goes back to where it was before, or, when that has gone as well, to the
 * page's content. Whoever has put it somewhere else in the meantime keeps it there.
 */
export function giveFocusBack(before: Element | null): void {
  // After React has taken away all that goes with it.
  queueMicrotask(() => {
    if (lost() && before instanceof HTMLElement) before.focus();
    if (lost()) document.querySelector<HTMLElement>("main")?.focus({ preventScroll: true });
  });
}
