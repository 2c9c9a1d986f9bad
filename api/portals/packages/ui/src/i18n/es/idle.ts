import type { idle as english } from "../en/idle.ts";

export const idle: typeof english = {
  title: "¿Sigue ahí?",
  lead: "Nadie ha tocado esta página desde hace un rato. Para proteger lo que muestra, su sesión se cerrará en menos de un minuto.",
  left: (seconds) => (seconds === 1 ? "Queda 1 segundo" : `Quedan ${seconds} segundos`),
  stay: "Aquí estoy",
};
