/** Line icons on a 24-unit grid, 1.75 units wide; always beside a text or inside something that has a name. */
const PATHS = {
  mic: "M12 3a3 3 0 0 0-3 3v5a3 3 0 0 0 6 0V6a3 3 0 0 0-3-3ZM5.5 11a6.5 6.5 0 0 0 13 0M12 17.5V21M9 21h6",
  micOff: "M4 4l16 16M9 9v2a3 3 0 0 0 4.6 2.5M15 11V6a3 3 0 0 0-5.7-1.3M5.5 11a6.5 6.5 0 0 0 10.2 5.3M18.5 11a6.4 6.4 0 0 1-.6 2.7M12 17.5V21M9 21h6",
  camera: "M4 7h9a2 2 0 0 1 2 2v6a2 2 0 0 1-2 2H4a1.5 1.5 0 0 1-1.5-1.5v-7A1.5 1.5 0 0 1 4 7ZM15 10.5l6-3.5v10l-6-3.5",
  cameraOff: "M3 4l17 17M9.5 7H13a2 2 0 0 1 2 2v3.5M15 15.5A2 2 0 0 1 13 17H4a1.5 1.5 0 0 1-1.5-1.5v-7c0-.7.5-1.3 1.2-1.5M15 10.5l6-3.5v10l-3-1.75",
  screen: "M4 4.5h16a1 1 0 0 1 1 1v10a1 1 0 0 1-1 1H4a1 1 0 0 1-1-1v-10a1 1 0 0 1 1-1ZM8.5 20h7M12 13.5V8M9.5 10.2 12 7.7l2.5 2.5",
  chat: "M4.5 5h15A1.5 1.5 0 0 1 21 6.5v9a1.5 1.5 0 0 1-1.5 1.5H11l-4.5 3.5V17h-2A1.5 1.5 0 0 1 3 15.5v-9A1.5 1.5 0 0 1 4.5 5ZM7.5 9.5h9M7.5 12.7h6",
  people: "M9 11.5a3.5 3.5 0 1 0 0-7 3.5 3.5 0 0 0 0 7ZM2.5 20a6.5 6.5 0 0 1 13 0M16 5a3.3 3.3 0 0 1 0 6.2M18 14.5a6.3 6.3 0 0 1 3.5 5.5",
  settings: "M4 7h9M17 7h3M4 17h3M11 17h9M15 9a2 2 0 1 0 0-4 2 2 0 0 0 0 4ZM9 19a2 2 0 1 0 0-4 2 2 0 0 0 0 4Z",
  leave: "M3.2 14.8c-.9-.9-.9-2.3.1-3.1C5.7 9.7 8.7 8.6 12 8.6s6.3 1.1 8.7 3.1c1 .8 1 2.2.1 3.1l-1 1c-.6.6-1.6.7-2.3.2l-2-1.4a1.7 1.7 0 0 1-.7-1.6l.1-.9a11 11 0 0 0-5.8 0l.1.9c.1.6-.2 1.2-.7 1.6l-2 1.4c-.7.5-1.7.4-2.3-.2l-1-1Z",
  close: "M6 6l12 12M18 6 6 18",
  check: "M5 12.5l4.5 4.5L19 7.5",
  plus: "M12 5v14M5 12h14",
  send: "M4 12 20 4.5 16.5 20l-4.8-5.7L4 12ZM11.7 14.3 20 4.5",
  left: "M14.5 5.5 8 12l6.5 6.5",
  right: "M9.5 5.5 16 12l-6.5 6.5",
  calendar: "M4.5 6h15v13.5h-15V6ZM4.5 10.2h15M8.5 3.5V7M15.5 3.5V7",
  clock: "M12 20.5a8.5 8.5 0 1 0 0-17 8.5 8.5 0 0 0 0 17ZM12 7.5V12l3 2",
  warning: "M12 4 2.8 19.5h18.4L12 4ZM12 10v4.5M12 17v.1",
  info: "M12 20.5a8.5 8.5 0 1 0 0-17 8.5 8.5 0 0 0 0 17ZM12 11v5M12 8v.1",
  heart: "M12 20S3.5 15 3.5 9a4.5 4.5 0 0 1 8.5-2 4.5 4.5 0 0 1 8.5 2c0 6-8.5 11-8.5 11Z",
  stethoscope: "M5.5 3.5H4V9a4.5 4.5 0 0 0 9 0V3.5h-1.5M8.5 13.5V16a4.5 4.5 0 0 0 9 0v-2.5M17.5 13.5a2 2 0 1 0 0-4 2 2 0 0 0 0 4Z",
  building: "M5 20.5v-16h9v16M14 9.5h5v11M3 20.5h18M8 8h3M8 11.5h3M8 15h3",
  sound: "M4 9.5v5h3.5L12 18.5v-13L7.5 9.5H4ZM15.5 9a4.2 4.2 0 0 1 0 6M18 6.5a7.7 7.7 0 0 1 0 11",
  chart: "M4.5 19.5h15M7 16v-4M12 16V6.5M17 16v-6.5",
  eye: "M2.5 12S6 5.5 12 5.5 21.5 12 21.5 12 18 18.5 12 18.5 2.5 12 2.5 12ZM12 15a3 3 0 1 0 0-6 3 3 0 0 0 0 6Z",
  person: "M12 11.5a4 4 0 1 0 0-8 4 4 0 0 0 0 8ZM4.5 20.5a7.5 7.5 0 0 1 15 0",
  exit: "M14 4.5h4.5v15H14M10.5 8 6.5 12l4 4M6.5 12H15",
  key: "M8 15.5a4 4 0 1 0 0-8 4 4 0 0 0 0 8ZM11.7 10.2 21 10.5M17.5 10.5v3.5M20.5 10.5v2.5",
  device: "M4.5 5.5h15v10h-15v-10ZM9 19.5h6M12 15.5v4",
  list: "M8.5 6.5h11M8.5 12h11M8.5 17.5h11M4.5 6.5h.1M4.5 12h.1M4.5 17.5h.1",
  copy: "M9 9h10.5v10.5H9V9ZM15 9V4.5H4.5V15H9",
  print: "M7 9V4h10v5M7 17H4.5V9.5h15V17H17M7 14h10v6H7v-6Z",
  shield: "M12 3.5 5 6v5.5c0 4.2 2.8 7.3 7 9 4.2-1.7 7-4.8 7-9V6l-7-2.5ZM9 12l2.2 2.2L15.2 10",
  flag: "M6 20.5v-16M6 5h12l-2.5 4L18 13H6",
  document: "M6 3.5h8l4 4v13H6v-17ZM14 3.5v4h4M9 12h6M9 15.5h6",
} as const;

export type IconName = keyof typeof PATHS;

export function Icon({ name, size = 20 }: { readonly name: IconName; readonly size?: number }) {
  return (
    <svg className="icon" width={size} height={size} viewBox="0 0 24 24" aria-hidden="true" focusable="false">
      <path d={PATHS[name]} />
    </svg>
  );
}

/** The mark: two places joined by one calm line. */
export function Mark({ size = 28 }: { readonly size?: number }) {
  return (
    <svg className="mark" width={size} height={size} viewBox="0 0 32 32" aria-hidden="true" focusable="false">
      <path className="mark-line" d="M6 21c3.5 0 4.5-10 10-10s6.5 10 10 10" />
      <circle className="mark-here" cx="6" cy="21" r="3.6" />
      <circle className="mark-there" cx="26" cy="21" r="3.6" />
      <circle className="mark-edge" cx="16" cy="11" r="2.8" />
    </svg>
  );
}
