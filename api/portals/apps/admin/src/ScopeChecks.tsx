import { CLIENT_SCOPES } from "@medmesh/client";
import { Check, useI18n } from "@medmesh/ui";

/** What a system may, one by one; words added later stay as they are. */
export function ScopeChecks({ scopes, onChange }: { readonly scopes: readonly string[]; readonly onChange: (scopes: readonly string[]) => void }) {
  const { t } = useI18n();
  const shown = [...CLIENT_SCOPES, ...scopes.filter((scope) => !(CLIENT_SCOPES as readonly string[]).includes(scope))];
  return (
    <fieldset className="fieldset">
      <legend>{t.systems.may}</legend>
      {shown.map((scope) => (
        <Check
          key={scope} label={t.systems.scopes[scope] ?? scope} checked={scopes.includes(scope)} data-testid={`system-scope-${scope}`}
          onChange={(event) => onChange(event.target.checked ? [...scopes, scope] : scopes.filter((known) => known !== scope))}
        />
      ))}
    </fieldset>
  );
}
