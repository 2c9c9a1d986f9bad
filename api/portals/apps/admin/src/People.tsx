import type { Person, Role } from "@medmesh/client";
import { Avatar, Badge, Button, Card, Empty, errorText, Loading, Notice, SelectField, useAccount, useI18n, useResource } from "@medmesh/ui";
import { useState } from "react";
import { Member } from "./Member.tsx";
import { NewPerson, type Newcomer } from "./NewPerson.tsx";
import { ROLES } from "./roles.ts";

const PAGE = 50;

export function People() {
  const { t } = useI18n();
  const { api, session } = useAccount();
  const [role, setRole] = useState<Role | "">("");
  const [more, setMore] = useState<{ items: readonly Person[]; cursor: string | null } | null>(null);
  const [creating, setCreating] = useState(false);
  const [created, setCreated] = useState<Newcomer | null>(null);
  const [open, setOpen] = useState<Person | null>(null);
  const [changed, setChanged] = useState<Person | null>(null);
  const isAdmin = session.person.roles.includes("admin");
  const query = role === "" ? { limit: PAGE } : { role, limit: PAGE };
  const people = useResource(role, () => api.people(query));
  const cursor = more === null ? people.data?.next_cursor ?? null : more.cursor;
  const shown = [...(people.data?.items ?? []), ...(more?.items ?? [])];

  const again = () => { setMore(null); void people.reload(); };
  const loadMore = async () => {
    if (cursor === null) return;
    const page = await api.people({ ...query, cursor });
    setMore({ items: [...(more?.items ?? []), ...page.items], cursor: page.next_cursor ?? null });
  };

  return (
    <>
      <header className="page-head page-head-row">
        <h1>{t.admin.people}</h1>
        <Button tone="primary" icon="plus" onClick={() => setCreating(true)} data-testid="person-new">{t.admin.newPerson}</Button>
      </header>
      {created !== null && (
        <Notice tone="good" testId="person-created">
          {created.isInvited ? t.clinic.invited(created.person.display_name) : t.admin.personCreated(created.person.display_name)}
          {created.link && <LinkOnce url={created.link.url} until={created.link.expires_at} />}
        </Notice>
      )}
      {changed !== null && <Notice tone="good" testId="member-saved">{t.clinic.member.saved(changed.display_name)}</Notice>}
      <div className="filters">
        <SelectField label={t.admin.filter} value={role} onChange={(event) => { setMore(null); setRole(event.target.value as Role | ""); }}>
          <option value="">{t.admin.all}</option>
          {ROLES.map((known) => <option key={known} value={known}>{t.admin.role[known]}</option>)}
        </SelectField>
      </div>
      {people.error !== null && <Notice tone="error">{errorText(people.error, t)}</Notice>}
      {people.loading && <Loading />}
      {people.data !== null && shown.length === 0 && <Card><Empty icon="people" title={t.admin.noPeople} /></Card>}
      {shown.length > 0 && (
        <div className="table-wrap" role="region" aria-label={t.admin.people} tabIndex={0}>
          <table className="table">
            <thead><tr><th scope="col">{t.admin.name}</th><th scope="col">{t.admin.email}</th><th scope="col">{t.admin.roles}</th><th scope="col">{t.admin.status}</th>{isAdmin && <th scope="col"><span className="visually-hidden">{t.clinic.member.manage}</span></th>}</tr></thead>
            <tbody>
              {shown.map((person) => (
                <tr key={person.id} data-testid="person-row">
                  <th scope="row"><span className="cell-person"><Avatar name={person.display_name} id={person.id} size="small" /> {person.display_name}</span></th>
                  <td data-label={t.admin.email}>{person.email ?? "–"}</td>
                  <td data-label={t.admin.roles}>{person.roles.map((known) => t.admin.role[known]).join(", ")}</td>
                  <td data-label={t.admin.status}><Badge tone={person.active ? "good" : "off"}>{person.active ? t.admin.active : t.admin.inactive}</Badge></td>
                  {isAdmin && <td><Button onClick={() => { setChanged(null); setOpen(person); }} aria-label={t.clinic.member.manageNamed(person.display_name)} data-testid="member-open">{t.clinic.member.manage}</Button></td>}
                </tr>
              ))}
            </tbody>
          </table>
        </div>
      )}
      {cursor !== null && <Button onClick={() => void loadMore()}>{t.common.more}</Button>}
      {open !== null && <Member person={open} onClose={() => { setOpen(null); again(); }} onChanged={(person) => { setOpen(null); setChanged(person); again(); }} />}
      {creating && <NewPerson onClose={() => setCreating(false)} onCreated={(newcomer) => { setCreating(false); setCreated(newcomer); again(); }} />}
    </>
  );
}

/** Where no mail is sent, whoever invites hands the link over. */
function LinkOnce({ url, until }: { readonly url: string; readonly until: string }) {
  const { t, format } = useI18n();
  const [copied, setCopied] = useState(false);
  const copy = async () => {
    await navigator.clipboard.writeText(url);
    setCopied(true);
  };
  return (
    <div className="link-once">
      <p>{t.clinic.handOver(format.moment(until))}</p>
      <code className="secret" data-testid="invitation-link">{url}</code>
      <div className="row"><Button icon="copy" onClick={() => void copy()}>{t.account.copy}</Button> <span role="status">{copied ? t.account.copied : ""}</span></div>
    </div>
  );
}
