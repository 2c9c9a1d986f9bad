import type { ReactNode } from "react";
import { createRoot } from "react-dom/client";
import { I18nProvider } from "./i18n/I18n.tsx";

/** Puts a portal into its page. */
export function mount(portal: ReactNode): void {
  const root = document.getElementById("root");
  if (root === null) throw new Error("the page has an element #root");
  createRoot(root).render(<I18nProvider>{portal}</I18nProvider>);
}
