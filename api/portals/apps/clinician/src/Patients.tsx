import type { Person } from "@medmesh/client";
import { go, PatientFinder, useI18n, usePath } from "@medmesh/ui";
import { useState } from "react";
import { PatientPage } from "./PatientPage.tsx";

/** Finding a patient by name, then what is known of their care. */
export function Patients() {
  const { t } = useI18n();
  const [, patientId] = usePath();
  const [found, setFound] = useState<readonly Person[] | null>(null);
  if (patientId !== undefined) return <PatientPage key={patientId} patientId={patientId} name={found?.find((person) => person.id === patientId)?.display_name ?? null} />;
  return (
    <>
      <header className="page-head">
        <h1>{t.care.patients}</h1>
        <p className="lead">{t.care.lead}</p>
      </header>
      <PatientFinder found={found} onFound={setFound} onPick={(person) => go(["patients", person.id])} urgent />
    </>
  );
}
