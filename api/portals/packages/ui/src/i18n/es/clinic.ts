import type { clinic as english } from "../en/clinic.ts";

export const clinic: typeof english = {
  settings: "Ajustes",
  name: "Clínica",
  zone: "Zona horaria",
  home: "Región de origen",
  homeHint: "Los historiales, las claves y los archivos viven allí y en ningún otro sitio. No se puede cambiar aquí.",
  residency: "Dónde pueden tener lugar las visitas",
  residencyLead: "El sonido y la imagen de una visita pasan por servidores de medios. Indique en qué regiones pueden estar.",
  anywhere: "Las visitas pueden pasar por cualquier región.",
  only: (regions) => `Las visitas solo pasan por ${regions}. Si allí no hay ningún servidor, no empiezan.`,
  region: "Región",
  regionHint: "Por ejemplo, eu-central",
  addRegion: "Añadir",
  saved: "Guardado. Vale para las visitas que empiecen a partir de ahora.",
  invite: "Enviar invitación",
  invited: (name) => `Se ha invitado a ${name}`,
  handOver: (until) => `Esta clínica no envía correo: entregue usted este enlace. Solo se muestra ahora y sirve una vez, hasta ${until}.`,
  givePassword: "Darle una primera contraseña",
  givePasswordHint: "Si no, recibe un enlace y la elige por su cuenta.",
};
