import type { idle as english } from "../en/idle.ts";

export const idle: typeof english = {
  title: "Êtes-vous toujours là ?",
  lead: "Personne n’a touché à cette page depuis un moment. Pour protéger ce qu’elle montre, vous serez déconnecté dans moins d’une minute.",
  left: (seconds) => (seconds <= 1 ? `Encore ${seconds} seconde` : `Encore ${seconds} secondes`),
  stay: "Je suis là",
};
