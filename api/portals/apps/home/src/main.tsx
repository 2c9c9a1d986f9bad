import { Icon, LanguageSwitch, Mark, mount, Notice, refusalText, takeRefusal, useI18n, useTitle } from "@medmesh/ui";
import "@medmesh/ui/styles.css";
import { useState } from "react";

function Home() {
  const { t } = useI18n();
  const [refusal] = useState(takeRefusal);
  useTitle(t.home.title);
  const doors = [
    { href: "/patient/", icon: "heart", title: t.home.patient, hint: t.home.patientHint },
    { href: "/clinician/", icon: "stethoscope", title: t.home.clinician, hint: t.home.clinicianHint },
    { href: "/admin/", icon: "building", title: t.home.admin, hint: t.home.adminHint },
  ] as const;
  return (
    <div className="home">
      <header className="top top-bare">
        <span className="brand"><Mark /> {t.brand}</span>
        <div className="top-end"><LanguageSwitch /></div>
      </header>
      <main className="home-main">
        <h1>{t.home.title}</h1>
        <p className="lead">{t.home.lead}</p>
        {refusal !== null && <Notice tone="error" testId="home-refusal">{refusalText(refusal, t)}</Notice>}
        <ul className="doors">
          {doors.map((door) => (
            <li key={door.href}>
              <a className="door" href={door.href}>
                <span className="door-icon"><Icon name={door.icon} size={26} /></span>
                <span><strong>{door.title}</strong><small>{door.hint}</small></span>
                <Icon name="right" />
              </a>
            </li>
          ))}
        </ul>
      </main>
    </div>
  );
}

mount(<Home />);
