/** The little SDP a WHIP client reads itself: ICE parameters for restarts (RFC 9725 §4.3.2, RFC 8840 fragments). */

export interface IceParameters {
  readonly ufrag: string;
  readonly pwd: string;
}

/** The first `ice-ufrag` and `ice-pwd`; with BUNDLE they are everyone's. */
export function iceParameters(sdp: string): IceParameters | null {
  const ufrag = /^a=ice-ufrag:(\S+)/m.exec(sdp)?.[1];
  const pwd = /^a=ice-pwd:(\S+)/m.exec(sdp)?.[1];
  return ufrag === undefined || pwd === undefined ? null : { ufrag, pwd };
}

/** The body of a PATCH that asks for an ICE restart: new credentials, candidates are found by the checks themselves. */
export function restartFragment(ice: IceParameters): string {
  return [
    `a=ice-ufrag:${ice.ufrag}`,
    `a=ice-pwd:${ice.pwd}`,
    "m=audio 9 UDP/TLS/RTP/SAVPF 0",
    "a=mid:0",
    "a=end-of-candidates",
    "",
  ].join("\r\n");
}

/** The answer in force with the edge's new credentials and, if the fragment has any, its new candidates. */
export function answerAfterRestart(answer: string, fragment: string): string {
  const ice = iceParameters(fragment);
  if (ice === null) return answer;
  const candidates = fragment.split(/\r?\n/).filter((line) => line.startsWith("a=candidate:"));
  let first = true;
  const lines: string[] = [];
  for (const line of answer.split(/\r?\n/)) {
    if (candidates.length > 0 && line.startsWith("a=candidate:")) continue;
    if (line.startsWith("a=ice-ufrag:")) lines.push(`a=ice-ufrag:${ice.ufrag}`);
    else if (line.startsWith("a=ice-pwd:")) {
      lines.push(`a=ice-pwd:${ice.pwd}`);
      if (first) lines.push(...candidates);
      first = false;
    } else lines.push(line);
  }
  return lines.join("\r\n");
}
