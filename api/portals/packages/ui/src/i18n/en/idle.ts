/** Before the screen locks. */
export const idle = {
  title: "Are you still there?",
  lead: "Nobody has touched this page for a while. To protect what it shows, you will be signed out within a minute.",
  left: (seconds: number) => (seconds === 1 ? "1 second left" : `${seconds} seconds left`),
  stay: "I am here",
};
