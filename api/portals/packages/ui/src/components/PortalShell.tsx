import { useEffect, useRef, type MouseEvent, type ReactNode } from "react";
import { useAccount } from "../account/Gate.tsx";
import { go } from "../hooks/path.ts";
import { useI18n } from "../i18n/I18n.tsx";
import { Icon } from "./Icon.tsx";
import { Shell } from "./Shell.tsx";

export interface Place {
  /** First part of the path; empty for the portal's first page. */
  readonly path: string;
  readonly name: string;
  readonly testId: string;
}

interface Props {
  readonly title: string;
  readonly view?: string;
  readonly places: readonly Place[];
  /** Path of the place that is shown. */
  readonly here: string;
  readonly children: ReactNode;
}

/** The path of one's own account, in every portal. */
export const ACCOUNT = "account";

/** A portal's pages: where one can go, one's account, the way out. */
export function PortalShell({ title, view = title, places, here, children }: Props) {
  const { t } = useI18n();
  const { session, signOut } = useAccount();
  const nav = places.length > 1 && (
    <nav className="nav" aria-label={t.common.pages}>
      {places.map((place) => <PlaceLink key={place.path} place={place} isHere={place.path === here} />)}
    </nav>
  );
  const end = (
    <>
      <a
        className="icon-button" href={href(ACCOUNT)} aria-label={t.account.of(session.person.display_name)} title={t.account.title}
        aria-current={here === ACCOUNT ? "page" : undefined} onClick={(event) => follow(event, ACCOUNT)} data-testid="nav-account"
      >
        <Icon name="person" />
      </a>
      <button type="button" className="button button-quiet sign-out" onClick={signOut} data-testid="sign-out"><Icon name="exit" /> <span>{t.common.signOut}</span></button>
    </>
  );
  return <Shell title={title} view={view} nav={nav} end={end}>{children}</Shell>;
}

function PlaceLink({ place, isHere }: { readonly place: Place; readonly isHere: boolean }) {
  const element = useRef<HTMLAnchorElement>(null);
  useEffect(() => {
    if (isHere) element.current?.scrollIntoView({ block: "nearest", inline: "nearest" });
  }, [isHere]);
  return (
    <a
      ref={element} className="nav-link" href={href(place.path)} aria-current={isHere ? "page" : undefined}
      onClick={(event) => follow(event, place.path)} data-testid={place.testId}
    >
      {place.name}
    </a>
  );
}

const href = (path: string) => `/${location.pathname.split("/")[1] ?? ""}/${path}`;

/** Stays in the page, unless another window is wanted. */
function follow(event: MouseEvent, path: string): void {
  if (event.metaKey || event.ctrlKey || event.shiftKey || event.altKey) return;
  event.preventDefault();
  go(path === "" ? [] : [path]);
}
