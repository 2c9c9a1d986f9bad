import type { ReactNode } from "react";
import { errorText } from "../hooks/errors.ts";
import type { Pages } from "../hooks/pages.ts";
import { useI18n } from "../i18n/I18n.tsx";
import { Button, Card, Empty, Loading, Notice } from "./basics.tsx";
import type { IconName } from "./Icon.tsx";

interface Props {
  readonly pages: Pages<unknown>;
  readonly icon: IconName;
  readonly empty: string;
  readonly emptyHint?: string;
  readonly children: ReactNode;
}

/** Around a list that comes by pages: loading, trouble, nothing there, more. */
export function ListFrame({ pages, icon, empty, emptyHint, children }: Props) {
  const { t } = useI18n();
  return (
    <>
      {pages.error !== null && <Notice tone="error" action={<Button onClick={() => void pages.reload()}>{t.common.retry}</Button>}>{errorText(pages.error, t)}</Notice>}
      {pages.isEmpty ? <Card><Empty icon={icon} title={empty}>{emptyHint}</Empty></Card> : children}
      {pages.loading && <Loading />}
      {pages.more !== null && <div className="row"><Button onClick={pages.more} data-testid="more">{t.common.more}</Button></div>}
    </>
  );
}
