import { useId, useLayoutEffect, useRef, type ButtonHTMLAttributes, type InputHTMLAttributes, type ReactNode, type SelectHTMLAttributes, type TextareaHTMLAttributes } from "react";
import { giveFocusBack } from "../hooks/focus.ts";
import { useI18n } from "../i18n/I18n.tsx";
import { Icon, type IconName } from "./Icon.tsx";

type Tone = "primary" | "plain" | "quiet" | "danger";

interface ButtonProps extends ButtonHTMLAttributes<HTMLButtonElement> {
  readonly tone?: Tone;
  readonly icon?: IconName;
  readonly busy?: boolean;
  readonly large?: boolean;
}

export function Button({ tone = "plain", icon, busy = false, large = false, children, className = "", disabled, ...rest }: ButtonProps) {
  const names = `button button-${tone}${large ? " button-large" : ""} ${className}`;
  return (
    <button type="button" className={names} aria-busy={busy || undefined} disabled={disabled || busy} {...rest}>
      {busy ? <span className="spinner" aria-hidden="true" /> : icon && <Icon name={icon} />}
      {children !== undefined && <span>{children}</span>}
    </button>
  );
}

interface FieldProps {
  readonly label: string;
  readonly hint?: string | undefined;
  readonly error?: string | null | undefined;
}

function Field({ id, label, hint, error, required, children }: FieldProps & { readonly id: string; readonly required?: boolean | undefined; readonly children: ReactNode }) {
  const { t } = useI18n();
  return (
    <div className="field">
      <label htmlFor={id}>
        {label}
        {required === false && <span className="field-optional"> ({t.common.optional})</span>}
      </label>
      {children}
      {hint && !error && <p className="field-hint" id={`${id}-hint`}>{hint}</p>}
      {error && <p className="field-error" id={`${id}-error`}><Icon name="warning" size={16} /> {error}</p>}
    </div>
  );
}

const describedBy = (id: string, { hint, error }: FieldProps) => (error ? `${id}-error` : hint ? `${id}-hint` : undefined);

export function TextField({ label, hint, error, trailing, ...rest }: FieldProps & { readonly trailing?: ReactNode } & InputHTMLAttributes<HTMLInputElement>) {
  const id = useId();
  const described = describedBy(id, { label, hint, error });
  return (
    <Field id={id} label={label} hint={hint} error={error} required={rest.required ?? false}>
      <span className="input-row">
        <input id={id} className="input" aria-invalid={error ? true : undefined} aria-describedby={described} {...rest} />
        {trailing}
      </span>
    </Field>
  );
}

/** A text of several lines. */
export function TextArea({ label, hint, error, ...rest }: FieldProps & TextareaHTMLAttributes<HTMLTextAreaElement>) {
  const id = useId();
  return (
    <Field id={id} label={label} hint={hint} error={error} required={rest.required ?? false}>
      <textarea id={id} className="input" rows={3} aria-invalid={error ? true : undefined} aria-describedby={describedBy(id, { label, hint, error })} {...rest} />
    </Field>
  );
}

export function SelectField({ label, hint, error, children, ...rest }: FieldProps & SelectHTMLAttributes<HTMLSelectElement>) {
  const id = useId();
  return (
    <Field id={id} label={label} hint={hint} error={error}>
      <select id={id} className="input select" aria-describedby={describedBy(id, { label, hint, error })} {...rest}>
        {children}
      </select>
    </Field>
  );
}

export function Check({ label, hint, ...rest }: { readonly label: string; readonly hint?: string } & InputHTMLAttributes<HTMLInputElement>) {
  const id = useId();
  return (
    <div className="check">
      <input type="checkbox" id={id} aria-describedby={hint ? `${id}-hint` : undefined} {...rest} />
      <div>
        <label htmlFor={id}>{label}</label>
        {hint && <p className="field-hint" id={`${id}-hint`}>{hint}</p>}
      </div>
    </div>
  );
}

export function Card({ children, className = "", ...rest }: { readonly children: ReactNode; readonly className?: string; readonly "data-testid"?: string }) {
  return <div className={`card ${className}`} {...rest}>{children}</div>;
}

export function Badge({ tone = "calm", children }: { readonly tone?: "calm" | "good" | "attention" | "off"; readonly children: ReactNode }) {
  return <span className={`badge badge-${tone}`}>{children}</span>;
}

/** Something to know now. Errors interrupt a screen reader, the rest waits its turn. */
export function Notice({ tone = "info", children, action, testId }: { readonly tone?: "info" | "good" | "warning" | "error"; readonly children: ReactNode; readonly action?: ReactNode; readonly testId?: string }) {
  const icon: IconName = tone === "good" ? "check" : tone === "info" ? "info" : "warning";
  return (
    <div className={`notice notice-${tone}`} role={tone === "error" ? "alert" : "status"} data-testid={testId}>
      <Icon name={icon} />
      <div className="notice-text">{children}</div>
      {action}
    </div>
  );
}

export function Loading() {
  const { t } = useI18n();
  return (
    <div className="loading" role="status">
      <span className="spinner" aria-hidden="true" />
      <span>{t.common.loading}</span>
    </div>
  );
}

export function Empty({ icon, title, children }: { readonly icon: IconName; readonly title: string; readonly children?: ReactNode }) {
  return (
    <div className="empty">
      <span className="empty-icon"><Icon name={icon} size={28} /></span>
      <p className="empty-title">{title}</p>
      {children && <p className="empty-hint">{children}</p>}
    </div>
  );
}

/** Initials on a colour that stays the same for the same person. */
export function Avatar({ name, id, size = "medium" }: { readonly name: string; readonly id: string; readonly size?: "small" | "medium" | "large" }) {
  const initials = name.split(/\s+/).filter((word) => /^\p{L}/u.test(word)).map((word) => word[0] ?? "");
  const shown = `${initials[0] ?? ""}${initials.length > 1 ? initials.at(-1) : ""}`.toUpperCase();
  let hue = 0;
  for (const character of id) hue = (hue * 31 + character.charCodeAt(0)) % 6;
  return <span className={`avatar avatar-${size} avatar-hue-${hue}`} aria-hidden="true">{shown}</span>;
}

/** A modal on the platform's own dialog element: focus inside, Escape and the backdrop are the browser's. An `urgent` one is read out whole. */
export function Dialog({ title, onClose, children, testId, wide = false, urgent = false }: { readonly title: string; readonly onClose: () => void; readonly children: ReactNode; readonly testId?: string; readonly wide?: boolean; readonly urgent?: boolean }) {
  const { t } = useI18n();
  const dialog = useRef<HTMLDialogElement>(null);
  const titleId = useId();
  const bodyId = useId();
  // Before it leaves the document: what is out of it cannot be closed, and gives no focus back.
  useLayoutEffect(() => {
    const element = dialog.current;
    const before = document.activeElement;
    if (element !== null && !element.open) element.showModal();
    // The likely answer, or the first thing to type, if there is one; else the browser's choice.
    element?.querySelector<HTMLElement>("[data-first], input:not([type=checkbox]), textarea")?.focus();
    return () => {
      element?.close();
      giveFocusBack(before);
    };
  }, []);
  return (
    <dialog
      ref={dialog}
      className={`dialog${wide ? " dialog-wide" : ""}`}
      role={urgent ? "alertdialog" : undefined}
      aria-labelledby={titleId}
      aria-describedby={urgent ? bodyId : undefined}
      data-testid={testId}
      onCancel={(event) => { event.preventDefault(); onClose(); }}
      onClick={(event) => { if (event.target === dialog.current) onClose(); }}
    >
      <div className="dialog-body">
        <header className="dialog-head">
          <h2 id={titleId}>{title}</h2>
          <button type="button" className="icon-button" aria-label={t.common.close} onClick={onClose}><Icon name="close" /></button>
        </header>
        {urgent ? <div id={bodyId} className="dialog-said">{children}</div> : children}
      </div>
    </dialog>
  );
}
