/** Long enough for the browser to have taken the file over. */
const KEEP_MS = 60_000;

/** Hands a file to the browser to save. It never leaves this computer. */
export function saveFile(file: Blob, name: string): void {
  const url = URL.createObjectURL(file);
  const link = document.createElement("a");
  link.href = url;
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(url), KEEP_MS);
}
