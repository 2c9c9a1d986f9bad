import type { clinic as english } from "../en/clinic.ts";

export const clinic: typeof english = {
  settings: "Réglages",
  name: "Établissement",
  zone: "Fuseau horaire",
  home: "Région d’origine",
  homeHint: "Les dossiers, les clés et les fichiers y résident et nulle part ailleurs. Elle ne se change pas ici.",
  residency: "Où les consultations peuvent passer",
  residencyLead: "Le son et l’image d’une consultation passent par des serveurs de médias. Indiquez dans quelles régions ils peuvent se trouver.",
  anywhere: "Les consultations peuvent passer par toutes les régions.",
  only: (regions) => `Les consultations ne passent que par ${regions}. Sans serveur à cet endroit, elles ne commencent pas.`,
  region: "Région",
  regionHint: "Par exemple eu-central",
  addRegion: "Ajouter",
  saved: "Enregistré. Cela vaut pour les consultations qui commencent désormais.",
  invite: "Envoyer l’invitation",
  invited: (name) => `${name} a reçu une invitation`,
  handOver: (until) => `Cet établissement n’envoie pas de courriel : remettez ce lien vous-même. Il n’est montré que maintenant et sert une fois, jusqu’au ${until}.`,
  givePassword: "Lui donner un premier mot de passe",
  givePasswordHint: "Sinon, la personne reçoit un lien et le choisit elle-même.",
};
